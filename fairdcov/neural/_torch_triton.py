"""The signed sums of profiles in Triton: block totals, their running sums, and a scan within each block.

Exact, in double precision, and the same bits each time: no atomic operations.
"""

from fairdcov._checks import import_optional

torch = import_optional("torch", "fairdcov.neural.DependenceLoss")

try:
    import triton
    import triton.language as tl
except ImportError as error:  # no package that an extra names: it comes with PyTorch where it can run
    raise ImportError("these kernels need Triton: pip install torch brings it on Linux, in its CUDA builds") from error

from fairdcov.neural._torch_device import LONGEST_RUN  # noqa: E402 - which needs torch

__all__ = ["SortedSums"]

# Rows of a block, and profiles that are looked at together: a tile of them is held in registers.
_ROWS = 128
_PROFILES = 16


class SortedSums:
    """The sums of :class:`fairdcov.neural._torch_device.PlainSums` by kernels that pass over the rows twice."""

    def __init__(self, values, codes, weights, matrix, ties):
        n, n_profiles = len(codes), len(matrix)
        n_blocks = triton.cdiv(n, _ROWS)
        empty = {"dtype": torch.float64, "device": codes.device}
        totals = torch.empty((n_profiles, n_blocks), **empty)
        self.products, self.weight_products = torch.empty(n, **empty), torch.empty(n, **empty)
        parts = torch.empty((2, n_blocks), **empty)
        options = {"WEIGHTED": weights is not None, "ROWS": _ROWS}
        # The last tile is as narrow as it can be.
        whole = n_profiles // _PROFILES * _PROFILES
        rest = triton.next_power_of_2(n_profiles - whole) if n_profiles > whole else 0
        given = codes, codes if weights is None else weights
        with torch.cuda.device(codes.device):
            _block_totals[(n_blocks, triton.cdiv(n_profiles, _PROFILES))](
                *given, totals, n, n_blocks, n_profiles, PROFILES=_PROFILES, **options
            )
            reached = torch.cumsum(totals, 1)
            _signed_sums[(n_blocks,)](
                *given,
                values,
                matrix,
                reached,
                totals,
                self.products,
                self.weight_products,
                parts,
                n,
                n_blocks,
                n_profiles,
                whole,
                PROFILES=_PROFILES,
                REST=rest,
                TIES=ties,
                LONGEST=LONGEST_RUN,
                **options,
            )
        self._values_of_both = parts.sum(1)

    def products_value(self):
        """``u . products``."""
        return self._values_of_both[0]

    def weights_value(self):
        """``u . weight_products``."""
        return self._values_of_both[1]

    def gradient(self, order, value_part, spread_part):
        """``value_part * products + spread_part * weight_products`` in the order that the rows came in."""
        found = torch.empty_like(self.products)
        factors = torch.stack(
            [torch.as_tensor(part, device=found.device).double() for part in (value_part, spread_part)]
        )
        n = len(found)
        with torch.cuda.device(found.device):
            _combine[(triton.cdiv(n, 1024),)](self.products, self.weight_products, order, factors, found, n, ROWS=1024)
        return found


@triton.jit
def _weights_of(weights, rows, inside, WEIGHTED: tl.constexpr):
    if WEIGHTED:
        return tl.load(weights + rows, mask=inside, other=0.0)
    return inside.to(tl.float64)


@triton.jit
def _block_totals(
    codes, weights, totals, n, n_blocks, n_profiles, WEIGHTED: tl.constexpr, ROWS: tl.constexpr, PROFILES: tl.constexpr
):
    block = tl.program_id(0).to(tl.int64)
    rows = block * ROWS + tl.arange(0, ROWS)
    profiles = tl.program_id(1) * PROFILES + tl.arange(0, PROFILES)
    code = tl.load(codes + rows, mask=rows < n, other=0).to(tl.int32)
    weight = _weights_of(weights, rows, rows < n, WEIGHTED)
    member = tl.where(code[:, None] == profiles[None, :], weight[:, None], 0.0)
    tl.store(totals + profiles.to(tl.int64) * n_blocks + block, tl.sum(member, axis=0), mask=profiles < n_profiles)


@triton.jit
def _tile(code, weight, inside, matrix, reached, totals, block, n_blocks, n_profiles, start, WIDTH: tl.constexpr):
    """Parts of the products, (ROWS,), and of the weight below less that above the block, that some profiles have."""
    profiles = start + tl.arange(0, WIDTH)
    known = profiles < n_profiles
    member = tl.where(code[:, None] == profiles[None, :], weight[:, None], 0.0)
    place = profiles.to(tl.int64) * n_blocks
    # Blocks up to this one, this one, and all.
    up_to = tl.load(reached + place + block, mask=known, other=0.0)
    own = tl.load(totals + place + block, mask=known, other=0.0)
    total = tl.load(reached + place + n_blocks - 1, mask=known, other=0.0)
    outside = 2 * (up_to - own) - total
    below_less_above = 2 * tl.cumsum(member, axis=0) - member + outside[None, :]
    pulls = tl.load(
        matrix + code[:, None] * n_profiles + profiles[None, :], mask=inside[:, None] & known[None, :], other=0.0
    )
    return tl.sum(pulls * below_less_above, axis=1), tl.sum(outside)


@triton.jit
def _signed_sums(
    codes,
    weights,
    values,
    matrix,
    reached,
    totals,
    products,
    weight_products,
    parts,
    n,
    n_blocks,
    n_profiles,
    whole,
    WEIGHTED: tl.constexpr,
    ROWS: tl.constexpr,
    PROFILES: tl.constexpr,
    REST: tl.constexpr,
    TIES: tl.constexpr,
    LONGEST: tl.constexpr,
):
    block = tl.program_id(0).to(tl.int64)
    rows = block * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    code = tl.load(codes + rows, mask=inside, other=0).to(tl.int32)
    weight = _weights_of(weights, rows, inside, WEIGHTED)
    value = tl.load(values + rows, mask=inside, other=0.0)
    product = tl.zeros((ROWS,), dtype=tl.float64)
    weight_product = 2 * tl.cumsum(weight, axis=0) - weight
    for start in range(0, whole, PROFILES):
        part, outside = _tile(
            code, weight, inside, matrix, reached, totals, block, n_blocks, n_profiles, start, PROFILES
        )
        product += part
        weight_product += outside
    if REST > 0:
        part, outside = _tile(code, weight, inside, matrix, reached, totals, block, n_blocks, n_profiles, whole, REST)
        product += part
        weight_product += outside
    if TIES:
        # Rows with the same prediction counted as above or below, by their place: that is taken back.
        distance = 1
        some = 1
        while some > 0:
            some = 0
            for side in tl.static_range(2):
                sign = 1 - 2 * side
                other = rows + sign * distance
                there = inside & (other >= 0) & (other < n)
                equal = there & (tl.load(values + other, mask=there, other=0.0) == value)
                other_code = tl.load(codes + other, mask=equal, other=0).to(tl.int32)
                other_weight = tl.where(equal, _weights_of(weights, other, equal, WEIGHTED), 0.0)
                pull = tl.load(matrix + code * n_profiles + other_code, mask=equal, other=0.0)
                product += sign * pull * other_weight
                weight_product += sign * other_weight
                some += tl.sum(equal.to(tl.int32))
            distance += 1
            some = tl.where(distance > LONGEST, 0, some)
    product *= weight
    weight_product *= weight
    tl.store(products + rows, product, mask=inside)
    tl.store(weight_products + rows, weight_product, mask=inside)
    # About the middle of the predictions, to lose no digits.
    centred = tl.where(inside, value - tl.load(values + n // 2), 0.0)
    tl.store(parts + block, tl.sum(centred * product))
    tl.store(parts + n_blocks + block, tl.sum(centred * weight_product))


@triton.jit
def _combine(products, weight_products, order, factors, found, n, ROWS: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    place = tl.load(order + rows, mask=inside, other=0)
    product = tl.load(products + rows, mask=inside, other=0.0)
    weight_product = tl.load(weight_products + rows, mask=inside, other=0.0)
    tl.store(found + place, tl.load(factors) * product + tl.load(factors + 1) * weight_product, mask=inside)

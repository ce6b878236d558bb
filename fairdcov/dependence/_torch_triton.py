"""The signed sums of profiles in Triton: block totals, their running sums, and a scan within each block.

Exact, in double precision, and the same bits each time: no atomic operations.
"""

from contextlib import nullcontext

from fairdcov._checks import import_optional

torch = import_optional("torch", "a dependence penalty on a device")

try:
    import triton
    import triton.language as tl
except ImportError as error:  # no package that an extra names: it comes with PyTorch where it can run
    raise ImportError("these kernels need Triton: pip install torch brings it on Linux, in its CUDA builds") from error

from fairdcov.dependence._torch_device import LONGEST_RUN  # noqa: E402 - which needs torch

__all__ = ["SortedSums"]

# Rows of a block, and profiles that are looked at together: a tile of them is held in registers.
_ROWS = 128
_PROFILES = 16


class SortedSums:
    """The sums of :class:`fairdcov.dependence._torch_device.PlainSums` by kernels that pass over the rows twice."""

    def __init__(self, values, codes, weights, matrix, ties):
        n, n_profiles = len(codes), len(matrix)
        n_blocks = triton.cdiv(n, _ROWS)
        empty = {"dtype": torch.float64, "device": codes.device}
        totals = torch.empty((n_profiles, n_blocks), **empty)
        self.products, self.weight_products = torch.empty(n, **empty), torch.empty(n, **empty)
        parts = torch.empty((3, n_blocks), **empty)
        options = {"WEIGHTED": weights is not None, "ROWS": _ROWS}
        # The last tile is as narrow as it can be.
        whole = n_profiles // _PROFILES * _PROFILES
        rest = triton.next_power_of_2(n_profiles - whole) if n_profiles > whole else 0
        given = codes, codes if weights is None else weights
        self._values = values
        with _current(codes.device):
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
        self._sums = parts.sum(1)

    def products_value(self):
        """``u . products``."""
        return self._sums[0]

    def weights_value(self):
        """``u . weight_products``."""
        return self._sums[1]

    def gradient_value(self, order, scale, dtype):
        """Gradient of the penalty in the order that the rows came in, and what the host is to know.

        Parameters
        ----------
        order : (n,) int64 tensor
            Rows, ascending by prediction.
        scale : (1,) float64 tensor or None
            Multiplier of the Gini mean difference that the value is divided by; None where it is not divided.
        dtype : torch.dtype
            Of the gradient.

        Returns
        -------
        gradient : (n,) tensor
        looked_at : (4,) float64 tensor
            The value, the smallest and the largest prediction, and how many blocks have longer runs of equal rows than
            the kernels look up: all is of no use then.
        """
        n = len(self.products)
        gradient = torch.empty(n, dtype=dtype, device=order.device)
        looked_at = torch.empty(4, dtype=torch.float64, device=order.device)
        with _current(order.device):
            _combine[(triton.cdiv(n, 1024),)](
                self.products,
                self.weight_products,
                order,
                self._values,
                self._sums,
                gradient,
                looked_at,
                n,
                looked_at if scale is None else scale,
                SCALE_FREE=scale is not None,
                ROWS=1024,
            )
        return gradient, looked_at


def _current(device):
    """The device that kernels start on; none where Triton's interpreter runs them."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


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
    value = tl.load(values + rows, mask=inside, other=0.0).to(tl.float64)
    n_long = tl.sum(tl.zeros((ROWS,), dtype=tl.int32))
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
                equal = there & (tl.load(values + other, mask=there, other=0.0).to(tl.float64) == value)
                other_code = tl.load(codes + other, mask=equal, other=0).to(tl.int32)
                other_weight = tl.where(equal, _weights_of(weights, other, equal, WEIGHTED), 0.0)
                pull = tl.load(matrix + code * n_profiles + other_code, mask=equal, other=0.0)
                product += sign * pull * other_weight
                weight_product += sign * other_weight
                some += tl.sum(equal.to(tl.int32))
            distance += 1
            n_long = tl.where(distance > LONGEST, some, 0)
            some = tl.where(distance > LONGEST, 0, some)
    product *= weight
    weight_product *= weight
    tl.store(products + rows, product, mask=inside)
    tl.store(weight_products + rows, weight_product, mask=inside)
    # About the middle of the predictions, to lose no digits.
    centred = tl.where(inside, value - tl.load(values + n // 2).to(tl.float64), 0.0)
    tl.store(parts + block, tl.sum(centred * product))
    tl.store(parts + n_blocks + block, tl.sum(centred * weight_product))
    tl.store(parts + 2 * n_blocks + block, n_long.to(tl.float64))


@triton.jit
def _combine(
    products,
    weight_products,
    order,
    values,
    sums,
    found,
    looked_at,
    n,
    scale,
    SCALE_FREE: tl.constexpr,
    ROWS: tl.constexpr,
):
    penalty = 2.0 * tl.load(sums)
    value_part = penalty * 0.0 + 2.0
    spread_part = penalty * 0.0
    if SCALE_FREE:
        # Predictions that are all equal have no spread; what comes of that is thrown away.
        multiplier = tl.load(scale)
        spread = 2.0 * multiplier * tl.load(sums + 1)
        penalty = penalty / spread
        value_part = 2.0 / spread
        spread_part = -2.0 * multiplier * penalty / spread
    if tl.program_id(0) == 0:
        tl.store(looked_at, penalty)
        tl.store(looked_at + 1, tl.load(values).to(tl.float64))
        tl.store(looked_at + 2, tl.load(values + n - 1).to(tl.float64))
        tl.store(looked_at + 3, tl.load(sums + 2))
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = rows < n
    place = tl.load(order + rows, mask=inside, other=0)
    product = tl.load(products + rows, mask=inside, other=0.0)
    weight_product = tl.load(weight_products + rows, mask=inside, other=0.0)
    tl.store(found + place, value_part * product + spread_part * weight_product, mask=inside)

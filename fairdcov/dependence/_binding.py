"""From factorised attributes to a form: which measure, which statistic, which method."""

import math
from dataclasses import dataclass, replace

import numpy as np
import sklearn

from fairdcov import _kernels
from fairdcov._checks import (
    check_choice,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
    resolve_n_threads,
    row_probabilities,
    within_range,
)
from fairdcov.dependence._forms import ROUNDING, FeatureForm, ProfileForm, SumForm, TileForm, UnivariateForm
from fairdcov.dependence._grid import GridForm
from fairdcov.dependence._nodes import ATTRIBUTE_NODES, NodeBlocks, NodeForm, NodeSample
from fairdcov.dependence._reduction import Reduction
from fairdcov.dependence._sample import (
    FEW_PROFILES,
    STATISTICS,
    Factor,
    Sample,
    distance_factor,
    distances,
    product_of_factors,
)
from fairdcov.dependence._soft import SoftForm, SoftSample
from fairdcov.encoding import SoftBlocks, combine_codes, factorise

__all__ = ["GRID_SIZE", "MANY_ROWS", "MEASURES", "METHODS", "bind_dependence"]

MEASURES = ("dcov", "jdcov", "ccdcov")
METHODS = ("auto", "profiles", "univariate", "tiles", "approximate")
# For many rows and one evaluation after the other: what is interpolated has no closed form to be permuted.
GRID_METHODS = ("nodes", "grid")
GRID_SIZE = 4096

# Up to this many profiles the plain definition is quicker than anything clever.
_HANDFUL = 64
# Up to this many (32 MiB) it is worth it as soon as profiles repeat at all, beyond only where they repeat a lot.
_MANY_PROFILES = 2048
# Beyond this many rows a penalised fit no longer pays O(n^2) tiles for every evaluation.
MANY_ROWS = 20_000
# Shares of rows in profiles from which on nodes of the attributes go with nodes of the predictions, so many: a sweep
# over the profiles for every share takes longer than the matrix product over the profiles for every node.
_SHARES_OF_A_GRID = 400_000
_FEWER_NODES = 1024


def _distance_sums(points, weights, n_threads):
    """``sum_h w_h |x_k - x_h|`` for every profile."""
    if len(points) <= _HANDFUL:
        return distances(points, points) @ weights
    if points.shape[1] == 1:
        return _kernels.univariate_distance_sums(points[:, 0] - points[:, 0].mean(), weights)
    # One block has far fewer distinct points than all blocks together have profiles, and this is quadratic in them.
    codes, first = combine_codes([factorise(column)[0] for column in points.T])
    points, weights = points[first], np.bincount(codes, weights=weights)
    if points.shape[1] > max(_HANDFUL, len(points) / 2) and _profile_bytes(len(points)) <= _working_memory_bytes():
        # Nearly a level for each of them: the tiles would go through all columns for each pair.
        return (distances(points, points) @ weights)[codes]
    nothing = np.zeros((1, len(points)))
    return -_kernels.tile_row_sums([points], nothing, np.ones(1), weights, n_threads=n_threads)[codes]


def _working_memory_bytes():
    return sklearn.get_config()["working_memory"] * 2**20


def _profile_bytes(n_profiles):
    # distances, product and the padded matrix are alive at the same time
    return 3 * 8 * n_profiles**2


def _choose_method(blocks, options, *, univariate):
    """The method to use for one set of factors; an impossible wish raises."""
    method, n_profiles, n_samples = options.method, blocks.n_profiles, blocks.n_samples
    affordable = _profile_bytes(n_profiles) <= _working_memory_bytes()
    if isinstance(blocks, SoftBlocks):
        if not affordable:
            _reject_many_soft_profiles(blocks)
        return "memberships"
    if isinstance(blocks, NodeBlocks):
        return "nodes"
    if method == "grid":
        return "profiles"
    if method == "profiles" and not affordable:
        raise ValueError(
            f"method='profiles' needs a {n_profiles} x {n_profiles} matrix, about "
            f"{_profile_bytes(n_profiles) / 2**20:,.0f} MiB, more than scikit-learn's working_memory of "
            f"{sklearn.get_config()['working_memory']} MiB: round continuous attributes, use method='tiles' or "
            "'approximate', or raise sklearn.set_config(working_memory=...)"
        )
    if method == "univariate" and not univariate:
        raise ValueError(
            "method='univariate' takes one continuous attribute of one column; found "
            f"{len(blocks.points)} block(s) with {sum(p.shape[1] for p in blocks.points)} column(s)"
        )
    if method != "auto":
        return method
    repeats = 2 if n_profiles <= _MANY_PROFILES else 8
    if affordable and n_profiles <= FEW_PROFILES:
        return "profiles"
    if univariate:
        return "univariate"
    if affordable and repeats * n_profiles <= n_samples:
        return "profiles"
    return "approximate" if options.approximate and n_samples > options.many_rows else "tiles"


def _reject_many_soft_profiles(blocks):
    many = max(range(len(blocks.points)), key=lambda b: len(np.unique(blocks.points[b], axis=0)))
    raise ValueError(
        f"the protected attributes {list(blocks.names)} are probabilities and have {blocks.n_profiles:,} combinations "
        f"of levels together, whose matrix needs about {_profile_bytes(blocks.n_profiles) / 2**20:,.0f} MiB, more than "
        f"scikit-learn's working_memory of {sklearn.get_config()['working_memory']} MiB: cut or round the attribute of "
        f"most values ({blocks.names[many]!r}), use measure 'dcov', which takes one attribute at a time, or raise "
        "sklearn.set_config(working_memory=...)"
    )


@dataclass(frozen=True)
class _Options:
    method: str
    n_threads: int
    approximate: bool
    n_components: int
    random_state: int
    many_rows: float = MANY_ROWS
    attribute_nodes: bool = False
    sweep_threads: int = 1


def _n_components(n_components, n_profiles):
    """Features that fit into the working memory together with the copies made while they are built."""
    return max(1, min(n_components, int(_working_memory_bytes() / (3 * 8 * n_profiles))))


def _counted_profiles(blocks, weights):
    """Blocks without the profiles that no weight is on, which would set scales; rows of no weight take any other."""
    counted = blocks.profile_weights(weights) > 0
    return blocks if counted.all() else blocks.of_profiles(counted)


def _within_range(blocks):
    """Blocks with their coordinates divided by one power of two, and its exponent: 0 but for extreme coordinates."""
    if isinstance(blocks, NodeBlocks):
        return blocks, 0
    points, exponent = within_range(*blocks.points)
    return blocks.with_points(points), exponent


def _rescale(form, factor):
    form.factor *= factor
    form.error_bound *= abs(factor)
    return form


def _sample_of(blocks, statistic, probabilities, reduction=None):
    kind = SoftSample if isinstance(blocks, SoftBlocks) else NodeSample if isinstance(blocks, NodeBlocks) else Sample
    return kind(blocks, statistic, probabilities, reduction)


def _node_form(sample, matrix, error, diagonal=0.0):
    form = NodeForm(sample, matrix, diagonal)
    form.error_bound = error
    return form


def _with_nodes(blocks, weights, measure, options):
    """The blocks by nodes of their columns of many values where the method is that, and the method that remains."""
    method = options.method
    if isinstance(blocks, SoftBlocks) or method not in ("auto", "nodes", "grid"):
        return blocks, options
    if method == "grid" and blocks.n_profiles <= _MANY_PROFILES and _is_affordable(blocks):
        return blocks, options
    if method == "auto" and not (options.attribute_nodes and measure != "dcov" and _would_approximate(blocks, options)):
        return blocks, options
    found = NodeBlocks.of(blocks, weights, most_bytes=_working_memory_bytes())
    if found is not None:
        return found, options
    if method == "auto":
        return blocks, options
    raise ValueError(
        f"method={method!r} needs attributes of few profiles, up to {_MANY_PROFILES:,} together, or one or two columns "
        f"of more than {ATTRIBUTE_NODES} values beside few profiles of the others; found {blocks.n_profiles:,} "
        "profiles: round attributes, use method='auto', or raise sklearn.set_config(working_memory=...)"
    )


def _is_affordable(blocks):
    return _profile_bytes(blocks.n_profiles) <= _working_memory_bytes()


def _would_approximate(blocks, options):
    univariate = len(blocks.points) == 1 and blocks.points[0].shape[1] == 1
    return _choose_method(blocks, options, univariate=univariate) == "approximate"


def _on_a_grid(form, sample, options, size, reduction):
    """The form on nodes of the predictions."""
    forms = form.parts() if isinstance(form, SumForm) else [form]
    return GridForm(forms, sample.statistic, size, options.n_threads, reduction)


def _bind_distance(blocks, sample, options):
    """Distance covariance with the one block of ``blocks``."""
    (points,) = blocks.points
    method = _choose_method(blocks, options, univariate=points.shape[1] == 1)
    if method == "memberships":
        return SoftForm(sample, -distances(points, points))
    if method == "nodes":
        return _node_form(sample, -distances(points, points), blocks.distance_error(0, _row_weights(sample)))
    if method == "profiles":
        return ProfileForm(sample, -distances(points, points), options.sweep_threads)
    if method == "univariate":
        return UnivariateForm(sample, points[:, 0])
    if method == "tiles":
        return TileForm(sample, [Factor(points, np.zeros(len(points)))], options.n_threads)
    n_components = _n_components(options.n_components, blocks.n_profiles)
    return FeatureForm(sample, [distance_factor(points)], n_components, options.random_state)


def _bind_summed(blocks, sample, options):
    """Sum over the blocks of their distance covariances: one matrix if the joint profiles allow it."""
    n_blocks = len(blocks.points)
    if n_blocks == 1:
        return _bind_distance(blocks, sample, options)
    soft = isinstance(blocks, SoftBlocks)
    if isinstance(blocks, NodeBlocks):
        error = sum(blocks.distance_error(b, _row_weights(sample)) for b in range(n_blocks))
        return _node_form(sample, -sum(distances(points, points) for points in blocks.points), error)
    if soft and _profile_bytes(blocks.n_profiles) <= _working_memory_bytes():
        return SoftForm(sample, -sum(distances(points, points) for points in blocks.points))
    if options.method in ("auto", "profiles", "grid") and not soft:
        method = options.method if options.method == "grid" else "auto"
        method = _choose_method(blocks, replace(options, method=method), univariate=False)
        if method == "profiles":
            return ProfileForm(
                sample, -sum(distances(points, points) for points in blocks.points), options.sweep_threads
            )
    forms = []
    for b in range(n_blocks):
        block = blocks.single(b)
        block_sample = _sample_of(block, sample.statistic, None if sample.uniform else sample.q, sample.reduction)
        forms.append(_bind_distance(block, block_sample, options))
    return SumForm(forms, sample)


def _bind_joint(blocks, sample, c, scale_invariant, options):
    """Joint distance covariance with all blocks."""
    n, n_blocks = sample.n_samples, len(blocks.points)
    if n_blocks == 1:
        # Rows of centred matrices sum to zero, so with a single block every term in c cancels.
        blocks, exponent = _within_range(blocks)
        form = _bind_distance(blocks, sample, options)
        factor = _inverse_deviation(blocks, sample, options) if scale_invariant else math.ldexp(1.0, exponent)
        return _rescale(form, factor)
    method = _choose_method(blocks, options, univariate=False)
    factors = []
    for b in range(n_blocks):
        (points,), exponent = within_range(blocks.points[b])
        row_sums = _distance_sums(points, sample.profile_weights, options.n_threads)
        half = sample.centring(row_sums)
        scale = math.ldexp(1.0, exponent)
        if scale_invariant:
            scale = _inverse_deviation(_within_range(blocks.single(b))[0], sample, options)
        factors.append(Factor(points, scale * half + c / 2, scale))
    if method == "memberships":
        form = SoftForm(sample, product_of_factors(factors))
        pair_sum = form.grand_mean
    elif method == "nodes":
        diagonal = np.prod([2 * blocks.interpolated(factor.half) for factor in factors], axis=0)
        error = _product_error(blocks, sample, factors)
        form = _node_form(sample, product_of_factors(factors), error, diagonal)
        pair_sum = form.grand_mean * ((n - 1) * (n - 2) if sample.statistic == "u" else 1.0)
    elif method == "profiles":
        matrix = product_of_factors(factors)
        weights = sample.profile_weights
        pair_sum = weights @ matrix @ weights
        if sample.statistic == "u":
            pair_sum -= weights @ np.diag(matrix)
        form = ProfileForm(sample, matrix, options.sweep_threads)
    else:
        if method == "tiles":
            form = TileForm(sample, factors, options.n_threads)
        else:
            n_components = _n_components(options.n_components, blocks.n_profiles)
            form = FeatureForm(sample, factors, n_components, options.random_state)
        pair_sum = form.grand_mean * ((n - 1) * (n - 2) if sample.statistic == "u" else 1.0)
    power = c ** (n_blocks + 1)
    if sample.statistic == "u":
        form.constant = c * (pair_sum + n * c**n_blocks) / (n * (n - 3)) - power * n / (n - 3)
    else:
        form.constant = c * pair_sum - power
    return form


def _row_weights(sample):
    return None if sample.uniform else sample.q


def _product_error(blocks, sample, factors):
    """Bound on the operator norm of the error of a product of interpolated factors.

    With the bound e for the distances of a block, those on the error of its row means and of its grand mean are e as
    well, so that the centred factor is off by 4 e, which the largest of the other factors multiply.
    """
    largest = [float(np.abs(factor.between()).max()) for factor in factors]
    total = float(np.prod(largest))
    errors = (4 * abs(f.scale) * blocks.distance_error(b, _row_weights(sample)) for b, f in enumerate(factors))
    return sum(error * total / most for error, most in zip(errors, largest, strict=True) if error > 0)


def _inverse_deviation(block, sample, options):
    """1 / sqrt(dCov^2) of a block with itself; 0 for a constant block, which then counts as independent.

    So does one whose variance is rounding: the U-statistic of a block with one row apart from the others is 0.
    """
    deviation = _distance_deviation(block, sample, options)
    return 1.0 / deviation if deviation > 0 else 0.0


def _distance_deviation(block, sample, options):
    """sqrt(dCov^2) of a block with itself, on the block's own profiles."""
    own = Sample(block, sample.statistic, None if sample.uniform else sample.q)
    (points,) = block.points
    if points.shape[1] == 1:
        return _bind_distance(block, own, options if options.method == "auto" else _EXACT).norm()
    # The square of the centred matrix is a product of two equal factors; its mean needs row sums only.
    factor = Factor(points, own.centring(_distance_sums(points, own.profile_weights, options.n_threads)))
    if _profile_bytes(len(points)) <= _working_memory_bytes():
        squares = factor.between() ** 2
        total = own.profile_weights @ squares @ own.profile_weights
    else:
        halves = np.array([factor.half, factor.half])
        row_sums = _kernels.tile_row_sums(
            [points, points], halves, np.ones(2), own.profile_weights, n_threads=options.n_threads
        )
        total = own.profile_weights @ (row_sums + own.profile_weights * (2 * factor.half) ** 2)
    if sample.statistic == "u":
        total -= own.profile_weights @ (2 * factor.half) ** 2
    deviation = np.sqrt(own.scale * max(total, 0.0))
    largest = np.linalg.norm(np.ptp(points, axis=0))
    return deviation if deviation > ROUNDING * largest else 0.0


def _check_soft_options(blocks, statistic, scale_invariant, method):
    attributes = f"protected attributes known as probabilities ({', '.join(map(repr, blocks.names))})"
    if statistic == "u":
        raise ValueError(f"the U-statistic is not defined for {attributes}: use statistic='v'")
    if scale_invariant:
        raise ValueError(f"scale_invariant is not defined for {attributes}: leave it out")
    if method not in ("auto", "profiles", "grid"):
        raise ValueError(f"method={method!r} is not there for {attributes}: use method='auto'")


_EXACT = _Options("auto", 1, False, 0, 0)


def bind_dependence(
    blocks,
    measure,
    *,
    statistic="v",
    c=1.0,
    scale_invariant=False,
    sample_weight=None,
    method="auto",
    n_threads=None,
    approximate=True,
    n_components=256,
    random_state=0,
    many_rows=MANY_ROWS,
    attribute_nodes=False,
    parallel_sweep=False,
    grid_size=GRID_SIZE,
    reduction=None,
):
    """Compute once all that a measure needs of the protected attributes.

    Parameters
    ----------
    blocks : SensitiveBlocks
        Protected attributes, factorised. With shares of profiles the form is that of the expected V-statistic, see
        :class:`fairdcov.dependence._soft.SoftForm`; where all shares are 0 or 1 it is that of the profiles.
    measure : {"dcov", "jdcov", "ccdcov"}
        Summed, joint or concatenated distance covariance.
    statistic : {"u", "v"}, default="v"
        Unbiased U-statistic, or V-statistic, which takes weights and is never negative for these measures.
    c : float, default=1.0
        Weight of the lower orders in ``"jdcov"``, at least 0.
    scale_invariant : bool, default=False
        Divide each attribute's centred distances by its distance standard deviation (``"jdcov"`` only).
    sample_weight : (n,) array, optional
        Row weights of the V-statistic; they are normalised to sum 1 here.
    method : {"auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"}, default="auto"
        Representation of M; ``"nodes"`` is that of :class:`fairdcov.dependence._nodes.NodeForm`, ``"grid"`` that of
        :class:`fairdcov.dependence._grid.GridForm` on profiles, or on nodes where the profiles are many. ``"auto"``
        takes profiles when they are few and fit scikit-learn's ``working_memory``, the univariate sweep for a single
        continuous attribute, and otherwise tiles or (when allowed, beyond 20,000 rows) an approximation.
    n_threads : int, optional
        Threads of the profiles, tiles and grid; results do not depend on it.
    approximate : bool, default=True
        Whether ``"auto"`` may choose the approximation.
    n_components : int, default=256
        Features of the approximation, fewer where they would not fit the working memory.
    random_state : int, default=0
        Seed of the approximation's pivots.
    many_rows : float, default=20_000
        Rows beyond which ``"auto"`` approximates; fewer where several forms share the time of one.
    attribute_nodes : bool, default=False
        Whether ``"auto"`` prefers nodes of the attributes to the approximation, beyond 400,000 shares of rows
        in profiles together with nodes of the predictions.
    parallel_sweep : bool, default=False
        Whether the sweep over profiles uses the threads as well: where forms are evaluated one after the other.
    grid_size : int, default=4096
        Nodes of ``method="grid"``, about.
    reduction : Reduction, optional
        Over the processes that share the rows, of which each has some; for ``method="grid"``. ``blocks`` then have the
        same profiles in the same order in all processes.

    Returns
    -------
    DependenceForm

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.encoding._blocks import SensitiveBlocks
    >>> from fairdcov.dependence import bind_dependence
    >>> blocks = SensitiveBlocks.from_arrays([np.array([[0.0], [0.0], [1.0], [1.0]])])
    >>> form = bind_dependence(blocks, "ccdcov")
    >>> value, gradient = form.value_gradient(np.array([0.0, 0.0, 1.0, 1.0]))
    >>> value, form.method
    (0.25, 'profiles')
    """
    check_choice(measure, "measure", MEASURES)
    check_choice(statistic, "statistic", STATISTICS)
    check_choice(method, "method", METHODS + GRID_METHODS)
    c = check_positive_number(c, "c", allow_zero=True)
    check_whole_number(n_components, "n_components")
    check_whole_number(grid_size, "grid_size")
    if reduction is not None and (method != "grid" or scale_invariant):
        raise ValueError("rows in several processes need method='grid', without scale_invariant")
    shared = reduction is not None
    reduction = Reduction() if reduction is None else reduction
    try:
        np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"random_state must be a whole number >= 0; found {random_state!r}") from error
    if not shared:
        # Whether all rows are certain of their profiles may be otherwise in another process.
        blocks = blocks.observed()
    if isinstance(blocks, SoftBlocks):
        _check_soft_options(blocks, statistic, scale_invariant, method)
    probabilities = None
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, blocks.n_samples, reference="sensitive_features")
        if shared:
            probabilities = weights / reduction.add(np.array([weights.sum()]))[0]
        else:
            probabilities = row_probabilities(weights)
            blocks = _counted_profiles(blocks, weights)
    threads = resolve_n_threads(n_threads)
    sweep_threads = threads if parallel_sweep else 1
    options = _Options(
        method, threads, approximate, n_components, random_state, many_rows, attribute_nodes, sweep_threads
    )
    if measure == "ccdcov":
        blocks = blocks.concatenated()
    blocks, options = _with_nodes(blocks, probabilities, measure, options)
    sample = _sample_of(blocks, statistic, probabilities, reduction)
    form = _bind(blocks, sample, measure, c, scale_invariant, options)
    if method == "grid":
        return _on_a_grid(form, sample, options, grid_size, reduction)
    if method == "auto" and isinstance(form, NodeForm) and form.n_shares > _SHARES_OF_A_GRID:
        return _on_a_grid(form, sample, options, _FEWER_NODES, reduction)
    return form


def _bind(blocks, sample, measure, c, scale_invariant, options):
    if measure == "jdcov":
        return _bind_joint(blocks, sample, c, scale_invariant, options)
    blocks, exponent = _within_range(blocks)
    bind = _bind_distance if measure == "ccdcov" else _bind_summed
    return _rescale(bind(blocks, sample, options), math.ldexp(1.0, exponent))

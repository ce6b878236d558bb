"""Tests of independence between predictions and protected attributes, with an effect size beside the p-value."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from scipy.stats import chi2
from sklearn.utils import check_random_state
from tqdm import tqdm

from fairdcov._checks import (
    Bins,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
    is_constant,
    resolve_n_threads,
)
from fairdcov.dependence import MEASURES, METHODS, PermutableStrata, Strata, bind_dependence, permutable_dependence
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    MissingSensitiveFeaturesError,
    SensitiveBlocks,
    SensitiveEncoder,
    SensitiveFeaturesWarning,
    SoftBlocks,
    check_sensitive_features,
    encode_attributes,
    select_rows,
    warn_about_order,
    with_target,
)
from fairdcov.metrics import NullDistribution

__all__ = ["IndependenceTestResult", "independence_test"]

TESTS = ("permutation", "chi2")
HYPOTHESES = ("prediction", "mutual")

# Permutations are drawn in blocks with a seed each, so that the threads they run on do not matter. A block holds about
# so many rows in all: enough to make one call worth it, little enough to stay in memory.
_BLOCK_ROWS = 2**20
_MOST_IN_BLOCK = 256
# Fewer rows than this over all permutations take less time than starting a thread.
_WORTH_A_THREAD = 2_000_000
# Pair evaluations (about a nanosecond each) from which on a test is announced as slow.
_SLOW = 3e11


@dataclass(frozen=True, eq=False)
class IndependenceTestResult:
    """Outcome of :func:`independence_test`.

    Attributes
    ----------
    statistic : float
        Value of the measure, squared and signed, in units of the predictions times those of the encoded attributes:
        the U-statistic of unweighted rows, whose mean under independence is 0, or the V-statistic of weighted ones.
        For ``hypothesis="prediction"`` net of the terms without the prediction.
    p_value : float
        Probability of a statistic at least as large under the hypothesis.
    effect_size : float
        Strength of the dependence of the prediction on the attributes in [0, 1], see :func:`independence_test`.
    null_distribution : (n_permutations,) array or None
        Statistics of permuted attributes; None for the chi-square test.
    null_mean : float or None
        Their mean, the level when the attributes do not matter.
    null_quantile_95 : float or None
        Their quantile at 95 %: larger statistics are significant at 5 %.
    measure, test, hypothesis : str
        What was tested, and how.
    statistic_type : {"u", "v"}
        Which of the two the statistic is.
    method : str
        Algorithm in use, see :func:`fairdcov.distance_covariance`.
    attributes : tuple of str
        Names of the protected attributes.
    n_samples : int
        Rows, without those of weight 0.
    n_profiles : int
        Distinct combinations of protected attributes.
    n_permutations : int or None
        Number of permutations; None for the chi-square test.
    control_features : tuple of str
        Names of the control features, within whose strata the test is; empty without any.
    n_strata : int
        Number of strata, 1 without control features.
    """

    statistic: float
    p_value: float
    effect_size: float
    null_distribution: np.ndarray | None
    null_mean: float | None
    null_quantile_95: float | None
    measure: str
    test: str
    hypothesis: str
    statistic_type: str
    method: str
    attributes: tuple
    n_samples: int
    n_profiles: int
    n_permutations: int | None
    control_features: tuple = ()
    n_strata: int = 1

    def to_dict(self, *, null_distribution: bool = False) -> dict[str, Any]:
        """Plain numbers and text, which ``json.dumps`` takes.

        Parameters
        ----------
        null_distribution : bool, default=False
            Include the values under permutation, as a list.

        Returns
        -------
        dict
        """
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        values = found.pop("null_distribution")
        found["attributes"] = list(self.attributes)
        found["control_features"] = list(self.control_features)
        if null_distribution:
            found["null_distribution"] = None if values is None else values.tolist()
        return found

    def __str__(self):
        names = ", ".join(self.attributes)
        mutual = self.hypothesis == "mutual"
        claim = f"prediction {'and attributes mutually independent' if mutual else 'independent of the attributes'}"
        if self.control_features:
            names += f"; given {', '.join(self.control_features)}, {self.n_strata:,} strata"
        how = f"{self.n_permutations:,} permutations" if self.test == "permutation" else "chi-square test"
        lines = [
            f"Hypothesis: {claim} ({names})",
            f"  {self.measure}, {self.statistic_type.upper()}-statistic, {how}, {self.n_samples:,} rows, "
            f"{self.n_profiles:,} profiles",
            f"  p-value      {self.p_value:.4g}",
            f"  effect size  {self.effect_size:.4g}  (0: independent, 1: strongest)",
            f"  statistic    {self.statistic:.4g}",
        ]
        if self.null_mean is not None:
            lines.append(f"  if true      {self.null_mean:.4g} in mean, below {self.null_quantile_95:.4g} in 95 %")
        return "\n".join(lines)


def independence_test(
    y_pred: ArrayLike,
    sensitive_features: Table,
    *,
    measure: Literal["ccdcov", "jdcov", "dcov"] = "ccdcov",
    test: Literal["permutation", "chi2"] = "permutation",
    hypothesis: Literal["prediction", "mutual"] = "prediction",
    n_permutations: int = 999,
    sample_weight: ArrayLike | None = None,
    c: float = 1.0,
    encoder: SensitiveEncoder | None = None,
    method: Literal["auto", "profiles", "univariate", "tiles", "approximate"] = "auto",
    random_state: RandomState = 0,
    n_threads: int | None = None,
    verbose: int = 0,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
    y_true: ArrayLike | None = None,
) -> IndependenceTestResult:
    """Test whether predictions are independent of the protected attributes.

    The permutation test is exact at any sample size: if the hypothesis is true, the data with the rows of the
    attributes permuted are as likely as the data found, and the p-value ``(1 + #{T* >= T}) / (1 + n_permutations)`` is
    at most ``alpha`` with probability at most ``alpha``. The chi-square test needs no permutations; it is an
    approximation for large samples, on the safe side in the limit (4.3 % to 6.2 % of samples rejected at the 5 % level
    in simulations with 60 and 500 rows).

    With many rows every dependence is significant, however small. Read ``effect_size`` beside the p-value.

    Parameters
    ----------
    y_pred : (n,) array
        Predictions; at least 4 rows.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes of any type.
    measure : {"ccdcov", "jdcov", "dcov"}, default="ccdcov"
        Concatenated, joint, or summed distance covariance. The sum over attributes is blind to dependence on their
        intersections only.
    test : {"permutation", "chi2"}, default="permutation"
        Permutation test, or the chi-square test of distance correlation, for ``"ccdcov"`` and for ``"dcov"`` of one
        attribute, without weights: ``p = P(chi2_1 > n dCor^2 + 1)`` with the bias-corrected ``dCor^2``.
    hypothesis : {"prediction", "mutual"}, default="prediction"
        ``"prediction"``: the prediction is independent of the attributes jointly, which may depend on each other; their
        rows are permuted together. ``"mutual"``, for ``"jdcov"``: the prediction and all attributes are mutually
        independent; every attribute is permuted on its own and the statistic is the raw JdCov with all its terms. A
        rejection may then be due to the attributes alone.
    n_permutations : int, default=999
        Number of permutations, at least 1. The smallest possible p-value is ``1 / (1 + n_permutations)``.
    sample_weight : (n,) array, optional
        Row weights such as exposure, for the permutation test. Rows of weight 0 are left out. The weights stay with
        their predictions, so that the hypothesis is that the attributes are independent of *prediction and weight*
        together: this is what makes permuted rows as likely as those found. Where the weights themselves depend on the
        attributes the hypothesis is false, and the p-value says less about the prediction, in either direction (from
        0 % to 12 % rejected at the 5 % level in simulations of an independent prediction with weights half as
        large again in one group). Test the weights in place of the predictions to see; if they depend, test the
        predictions without weights.
    c : float, default=1.0
        Weight of the lower orders in ``"jdcov"``, at least 0.
    encoder : SensitiveEncoder, optional
        Turns attributes into points; used as it is if fitted, otherwise a copy is fitted to the rows, without weights,
        so that permuting changes no scale.
    method : {"auto", "profiles", "univariate", "tiles", "approximate"}, default="auto"
        Algorithm, see :func:`fairdcov.distance_covariance`. One permutation costs ``O(n K)`` with K profiles,
        ``O(n log n)`` with one continuous attribute, ``O(n r)`` with an approximation by r features, and ``O(n^2)``
        with tiles. ``"auto"`` takes tiles for several continuous attributes while ``n^2 n_permutations`` is below
        4e10 (6,300 rows with 999 permutations) and the approximation beyond. Permutations of an approximated
        statistic are as exact as any, it may only see less; statistic and effect size are a few percent too small. No
        n x n array is made by any method.
    random_state : int, RandomState or None, default=0
        Seed of the permutations and of the approximation.
    n_threads : int, optional
        Threads, all available for None. The result does not depend on it.
    verbose : int, default=0
        Show a progress bar of the permutations if positive.
    control_features : DataFrame, Series, array or list, (n,) or (n, d), optional
        Legitimate factors of any type, for the permutation test; several are crossed. The hypothesis is then that
        predictions and attributes are independent within each of their strata. Rows are permuted within strata, which
        is exact whatever the dependence between them; the statistic is the mean over the strata by the shares of the
        weight, and the effect size is of the strata in which attributes vary.
    control_bins : int or dict, default=5
        How numbers among the control features are cut, as ``bins`` in :func:`fairdcov.metrics.js_divergence`. Within a
        stratum a number still varies: coarse bins leave dependence that a finer cut would explain.
    given : {"target"}, optional
        Strata of the observed values, by :func:`fairdcov.metrics.target_strata`, alone or crossed with the
        ``control_features``: the hypothesis is then separation, that predictions and
        attributes are independent at equal claims.
    y_true : (n,) array, optional
        Observed values per unit of ``sample_weight``, for ``given``.

    Returns
    -------
    IndependenceTestResult
        With ``p_value``, ``effect_size``, ``statistic`` and the ``null_distribution``.

    Raises
    ------
    ValueError
        For fewer than 4 rows, missing values, unequal lengths, unknown options, weights or control features with
        ``test="chi2"``, combinations of options that have no definition, and control features that determine the
        attributes.

    Warns
    -----
    SensitiveFeaturesWarning
        When the attributes are constant. Statistic and effect size are then 0 and the p-value is 1, as for a constant
        prediction.
    UserWarning
        When the method will take minutes or more, with what to do about it.

    See Also
    --------
    fairdcov.metrics.null_distribution : The permuted values of any metric.

    Notes
    -----
    *Effect size.* Every measure is an inner product ``<U, W>`` of the centred distances U of the predictions with a
    centred matrix W that depends on the attributes alone, and the effect size is the cosine of the angle between the
    two, ``<U, W> / (|U| |W|)``, with negative values of the U-statistic set to 0:

    * ``"ccdcov"``: the squared distance correlation ``dCov^2(u, S) / sqrt(dVar(u) dVar(S))``, bias-corrected
      (Szekely and Rizzo 2014) for unweighted rows and the V-statistic for weighted ones;
    * ``"dcov"``: ``sum_b dCov^2(u, s_b) / sum_b sqrt(dVar(u) dVar(s_b))``, an average of the squared distance
      correlations of the attributes; with one attribute the same as ``"ccdcov"``;
    * ``"jdcov"``: W is the centred product ``prod_b (S_b + c)``. The part of the statistic that involves the
      prediction is used for either hypothesis: it is what a model can change. With one attribute the same as
      ``"ccdcov"``.

    It does not change when the predictions are rescaled or shifted. It reaches 1 if the distances between predictions
    are proportional to W, for example for a binary prediction that equals a binary attribute.

    *Ties.* Statistics that are equal up to rounding count as equal, on the side of a larger p-value.

    References
    ----------
    G. J. Szekely, M. L. Rizzo (2014), Partial distance correlation with methods for dissimilarities, Annals of
    Statistics 42(6). C. Shen, S. Panda, J. T. Vogelstein (2022), The chi-square test of distance correlation, Journal
    of Computational and Graphical Statistics 31(1). S. Chakraborty, X. Zhang (2019), Distance metrics for measuring
    joint dependence with application to causal inference, Journal of the American Statistical Association 114(528).
    B. Phipson, G. K. Smyth (2010), Permutation p-values should never be zero, Statistical Applications in Genetics and
    Molecular Biology 9(1).

    Examples
    --------
    Predictions that are higher for women in the north and men in the south: no attribute alone shows it.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from fairdcov.inference import independence_test
    >>> rng = np.random.default_rng(0)
    >>> people = pd.DataFrame({"gender": rng.choice(["f", "m"], 500), "region": rng.choice(["n", "s"], 500)})
    >>> same = (people["gender"] == "f") == (people["region"] == "n")
    >>> prediction = rng.gamma(2.0, size=500) + same
    >>> result = independence_test(prediction, people)
    >>> result.p_value, round(result.effect_size, 2)
    (0.001, 0.02)
    >>> independence_test(prediction, people, measure="dcov").p_value > 0.1
    True
    >>> print(independence_test(rng.permutation(prediction), people, test="chi2"))
    Hypothesis: prediction independent of the attributes (gender, region)
      ccdcov, U-statistic, chi-square test, 500 rows, 4 profiles
      p-value      ...
      effect size  ...  (0: independent, 1: strongest)
      statistic    ...
    """
    check_choice(measure, "measure", MEASURES)
    check_choice(test, "test", TESTS)
    check_choice(hypothesis, "hypothesis", HYPOTHESES)
    check_choice(method, "method", METHODS)
    c = check_positive_number(c, "c", allow_zero=True)
    check_whole_number(n_permutations, "n_permutations")
    if hypothesis == "mutual" and measure != "jdcov":
        raise ValueError(
            f"hypothesis='mutual' is defined for measure='jdcov', which measures dependence of every order; found "
            f"measure={measure!r}"
        )
    n_threads = resolve_n_threads(n_threads)
    predictions, blocks, weights, strata = _read(
        y_pred, sensitive_features, sample_weight, encoder, control_features, control_bins, given, y_true
    )
    if test == "chi2":
        _check_chi2(measure, blocks, weights, strata)
        n_permutations = None  # type: ignore[assignment]
    if blocks.is_constant():
        warnings.warn(
            f"the protected attributes {list(blocks.names)} are constant: nothing can depend on them",
            SensitiveFeaturesWarning,
            stacklevel=2,
        )
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    statistic_type = "u" if weights is None and not isinstance(blocks, SoftBlocks) else "v"
    if is_constant(predictions):
        # Differences of some units in the last place would be blown up to an effect of full size.
        predictions = np.zeros_like(predictions)
    sample = permutable_dependence(
        predictions,
        blocks,
        measure,
        strata,
        statistic=statistic_type,
        sample_weight=weights,
        mutual=hypothesis == "mutual",
        n_permutations=n_permutations or 1,
        c=c,
        method=method,
        n_threads=n_threads,
        random_state=seed,
    )
    length = _norm_of_predictions(predictions, statistic_type, weights, sample) * _norm_of_attributes(
        sample, blocks, measure
    )
    # Without length on either side every permuted statistic is 0: what is computed would be rounding.
    observed = sample.value() if length > 0 or hypothesis == "mutual" else 0.0
    involved = observed - sample.form.constant if hypothesis == "mutual" else observed
    share = involved / length if length > 0 else 0.0
    values = None
    if test == "chi2":
        n = len(predictions)
        p_value = float(chi2.sf(n * share + 1, 1)) if length > 0 else 1.0
    else:
        if length > 0 or hypothesis == "mutual":
            _announce(sample, n_permutations)
            values = _permute(sample, len(predictions), n_permutations, seed, n_threads, verbose)
        else:
            values = np.zeros(n_permutations)
        null = NullDistribution(values, observed)
        p_value = null.p_value()
    return IndependenceTestResult(
        statistic=float(observed),
        p_value=p_value,
        effect_size=float(np.clip(share, 0.0, 1.0)),
        null_distribution=values,
        null_mean=None if values is None else null.mean,
        null_quantile_95=None if values is None else null.quantile(0.95),
        measure=measure,
        test=test,
        hypothesis=hypothesis,
        statistic_type=statistic_type,
        method=sample.form.method,
        attributes=tuple(blocks.names),
        n_samples=len(predictions),
        n_profiles=blocks.n_profiles,
        n_permutations=n_permutations,
        control_features=() if strata is None else tuple(strata.names),
        n_strata=1 if strata is None else len(strata),
    )


def _read(y_pred, sensitive_features, sample_weight, encoder, control_features, control_bins, given, y_true):
    """Predictions, encoded attributes, weights (None where all are equal) and strata of the rows that count."""
    warn_about_order(
        y_pred=y_pred,
        sensitive_features=sensitive_features,
        sample_weight=sample_weight,
        control_features=control_features,
        y_true=y_true,
    )
    predictions = check_finite_vector(y_pred, "y_pred")
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("independence_test needs sensitive_features; found None")
    check_sensitive_features(sensitive_features, len(predictions))
    weights = strata = None
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, len(predictions), reference="y_pred")
    if y_true is not None:
        check_consistent_rows(len(predictions), y_true, "y_true", reference="y_pred")
    control_features, control_bins = with_target(given, control_features, control_bins, y_true, weights)
    if control_features is not None:
        strata = Strata.read(control_features, len(predictions), control_bins, weights, reference="y_pred")
    if weights is not None:
        keep = weights > 0
        if not keep.all():
            predictions, weights = predictions[keep], weights[keep]
            sensitive_features = select_rows(sensitive_features, keep)
            strata = None if strata is None else strata.part(keep)
        if (weights == weights[0]).all():
            weights = None
    if len(predictions) < 4:
        found = f"{len(predictions)} row(s)" + ("" if sample_weight is None else " of positive weight")
        raise ValueError(f"independence_test needs at least 4 rows; found {found}")
    blocks = encode_attributes(sensitive_features, encoder, None)
    if strata is not None:
        strata.warn_of_attributes_among(blocks)
    return predictions, blocks, weights, strata


def _check_chi2(measure, blocks, weights, strata):
    if strata is not None:
        raise ValueError(
            "test='chi2' is not defined with control_features: use test='permutation', which permutes within strata"
        )
    if isinstance(blocks, SoftBlocks):
        raise ValueError("test='chi2' is not defined for attributes known as probabilities: use test='permutation'")
    if measure == "jdcov" or (measure == "dcov" and len(blocks.points) > 1):
        what = "joint distance covariance" if measure == "jdcov" else f"a sum over {len(blocks.points)} attributes"
        raise ValueError(
            f"test='chi2' is defined for measure='ccdcov', and for 'dcov' of one attribute; found {what}: use "
            "test='permutation'"
        )
    if weights is not None:
        raise ValueError("test='chi2' is not defined with sample_weight: use test='permutation', which takes weights")


def _norm_of_predictions(predictions, statistic, weights, sample):
    """Length of the centred distances of the predictions, in the strata that count where there are several."""
    if isinstance(sample, PermutableStrata):
        return sample.norm_of_predictions()
    blocks = SensitiveBlocks.from_arrays([predictions[:, None]])
    return bind_dependence(blocks, "ccdcov", statistic=statistic, sample_weight=weights, approximate=False).norm()


def _norm_of_attributes(sample, blocks, measure):
    if measure == "dcov" and len(blocks.points) > 1:
        return sum(sample.bind_single(b).norm() for b in range(len(blocks.points)))
    return sample.form.norm()


def _announce(sample, n_permutations):
    """Warn of a test that will take long."""
    if sample.evaluation_cost * n_permutations > _SLOW:
        minutes = sample.evaluation_cost * n_permutations * 1e-9 / 60
        warnings.warn(
            f"method {sample.form.method!r} needs about {sample.evaluation_cost:.0e} operations for each of "
            f"{n_permutations} permutations, in the order of {minutes:,.0f} minutes: round continuous attributes (age "
            "in whole years) so that rows share profiles, use method='approximate', or test a sample of the rows",
            UserWarning,
            stacklevel=3,
        )


def _permute(sample, n_samples, n_permutations, seed, n_threads, verbose):
    """Permuted statistics, in the same order and with the same bits for any number of threads."""
    size = int(np.clip(_BLOCK_ROWS // n_samples // 4 * 4, 4, _MOST_IN_BLOCK))
    sizes = [min(size, n_permutations - start) for start in range(0, n_permutations, size)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    config = sklearn.get_config()

    def block(arguments):
        seed, size = arguments
        # scikit-learn's options belong to a thread.
        with sklearn.config_context(**config):
            return sample.permuted_values(size, np.random.default_rng(seed))

    tasks = list(zip(seeds, sizes, strict=True))
    own_threads = "tiles" in sample.form.method
    few = n_samples * n_permutations < _WORTH_A_THREAD
    workers = 1 if own_threads or few else min(n_threads, len(tasks))
    found = []
    with tqdm(total=n_permutations, desc="permuting", unit="permutation", disable=not verbose, leave=False) as bar:

        def collect(results):
            for values in results:
                found.append(values)
                bar.update(len(values))

        if workers == 1:
            collect(map(block, tasks))
        else:
            with ThreadPoolExecutor(workers) as pool:
                try:
                    collect(pool.map(block, tasks))
                except BaseException:
                    pool.shutdown(cancel_futures=True)  # an interrupt does not wait for what has not begun
                    raise
    return np.concatenate(found)

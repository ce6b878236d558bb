"""The audit: one section after the other, over data that have been checked once."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import numbers
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from numpy.typing import ArrayLike
from tqdm import tqdm

from fairdcov._checks import Bins, RandomState, Table, check_confidence, check_positive_number
from fairdcov.encoding import DEFAULT_GROUPS
from fairdcov.report._book import (
    balance_section,
    binning_section,
    change_section,
    distribution_section,
    lift_section,
)
from fairdcov.report._conditional import check_control_features, conditional_section
from fairdcov.report._cost import check_frontier, cost_section, frontier_section
from fairdcov.report._dependence import dependence_section
from fairdcov.report._differences import bootstrap_intervals, compared_groups, group_section, pairs_sections
from fairdcov.report._estimates import proxy_discrimination_section
from fairdcov.report._partial import partial_section
from fairdcov.report._plain import plain
from fairdcov.report._proxies import proxies_section
from fairdcov.report._read import read_sample
from fairdcov.report._readable import with_readable_bins
from fairdcov.report._report import SCHEMA, SCHEMA_VERSION, AuditReport
from fairdcov.report._summary import summarise
from fairdcov.report._tasks import TASKS
from fairdcov.report._texts import LIMITS, RULES
from fairdcov.report._tiers import check_thresholds, tiers_section
from fairdcov.report._tolerance import check_tolerance, tolerance_section

__all__ = ["audit"]

_PACKAGES = ("fairdcov", "numpy", "scipy", "scikit-learn", "pandas", "fairlearn")


def _check_number(value, name, *, least, auto=False):
    """A whole number, or ``"auto"`` or None where that is allowed."""
    if auto and (value == "auto" or value is None):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        wanted = f"{auto!r} or a whole number" if isinstance(auto, str) else "a whole number"
        raise ValueError(f"{name} must be {wanted} >= {least}; found {value!r}")
    return int(value)


def audit(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    sensitive_features: Table | Mapping[Any, Any],
    *,
    sample_weight: ArrayLike | None = None,
    features: Table | None = None,
    baseline: ArrayLike | None = None,
    legitimate_features: Table | None = None,
    tolerance: float | None = None,
    task: Literal["auto", "frequency", "pure_premium", "severity", "regression", "classification"] = "auto",
    bins: Bins | None = None,
    min_group_size: int = 100,
    n_permutations: int | Literal["auto"] = "auto",
    n_bootstrap: int | Literal["auto"] = "auto",
    confidence: float = 0.95,
    max_pairs: int = 15,
    max_screening_rows: int | None = None,
    max_learning_rows: int | None = None,
    max_partial_rows: int | None = None,
    alternatives: Any = None,
    metadata: Mapping[str, Any] | None = None,
    random_state: RandomState = 0,
    verbose: int = 1,
    probabilities: Mapping[str, Sequence[Any]] | None = None,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    tier_thresholds: Iterable[float] | None = None,
    best_estimates: ArrayLike | None = None,
    frontier: Any = None,
    given: Literal["target"] | None = None,
) -> AuditReport:
    """Audit predictions of any system for their dependence on protected attributes, intersections included.

    Everything that an insurer would hand over beside a model, in one object: experience by group with intervals,
    differences of the predictions between groups with the level they have by chance, tests of independence, groups
    furthest apart, dependence that is left given legitimate factors, proxies among the features, who pays more and who
    less than before, sensitivity to the bins of ages, groups too small to judge, and limits of all of this. Only
    predictions and attributes are needed; what rests on observed values, features or a baseline is left out without.

    Parameters
    ----------
    y_true : (n,) array or None
        Observed values per unit of exposure, such as claims / exposure. None where nothing has been observed yet.
    y_pred : (n,) array
        Predictions per unit of exposure.
    sensitive_features : DataFrame, Series, array or dict of columns, (n,) or (n, d)
        Protected attributes of any type.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    features : DataFrame or array, (n, p), optional
        Rating factors, or any columns that may carry the protected attributes. Columns that are protected attributes by
        name are left out of the screening.
    baseline : (n,) array, optional
        Predictions of the present tariff, all positive, to compare with.
    legitimate_features : list of str, DataFrame or array, optional
        Columns of ``features`` (or columns of their own) whose influence on the prediction is held to be justified: the
        partial distance correlation is given these, and so are the gaps that decide whether there is a ``tolerance``.
    tolerance : float, optional
        Largest relative price gap between a group and the rest, such as 0.05. The report then begins with
        :func:`fairdcov.inference.equivalence_test`: which attributes, intersections and groups are within tolerance,
        which are outside, and where there is not enough evidence. A parameter, and no rule of law.
    task : {"auto", "frequency", "pure_premium", "severity", "regression", "classification"}, default="auto"
        What is predicted, which decides on the deviance: Poisson, Tweedie of power 1.5, gamma, squared error or
        Bernoulli. ``"auto"`` goes by the observed values alone, and the report says what it found: classification for
        outcomes 0 and 1 without exposure, regression where something observed is negative or nothing was observed,
        frequency where exposure times observed values are whole numbers, else pure premium (some values are 0) or
        severity. Amounts in whole units look like counts: name their task.
    bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`fairdcov.metrics.js_divergence`. Those with more than 20
        distinct values of which nothing is said become five quantile groups.
    min_group_size : int, default=100
        Groups with fewer rows are listed, and left out of the comparisons.
    n_permutations : int or "auto", default="auto"
        Permutations of tests and of null levels; 0 for none. ``"auto"``: 99 for tests, and between 10 and 99 for null
        levels, the fewer the more rows. The report says how many.
    n_bootstrap : int or "auto", default="auto"
        Resamples of fairlearn's ``MetricFrame`` for a second interval of actual to expected, beside the exact
        Poisson or the linearised one; 0 for none. ``"auto"``: 100 for single attributes of up to 20 groups.
    confidence : float, default=0.95
        Level of the intervals, and of each one-sided test of the ``tolerance`` (whose intervals have 0.9 then).
    max_pairs : int, default=15
        Pairs of attributes that get a section, in the order of the attributes; others are named.
    max_screening_rows, max_learning_rows, max_partial_rows : int, optional
        Rows of the subsamples for the distance correlations of the features, for the prediction of the attributes from
        the features, and for the partial distance correlation (which is quadratic in them). By default
        1,500,000 / p (at least 5,000), 6,000 and 600.
    alternatives : fitted JSDivergenceCalibrator, or DataFrame, optional
        Record of the search for less discriminatory alternatives: all that a calibration tried, or a table such as
        :func:`fairdcov.calibration.search_candidates` makes of scikit-learn's searches.
    metadata : dict, optional
        What the figures cannot say, for the record: such as scope, model, version or hash of the data, how the
        attributes were obtained (observed, imputed, proxy), strength, rule, who chose. ``"alternatives"``, a list of
        dicts or texts, is shown as what else was tried, after the ``alternatives`` that a search recorded. What
        ``kept`` of the one that is ``chosen`` says, the share of the explained deviance that is left, goes to the
        summary.
    random_state : int, RandomState or None, default=0
        Seed of subsamples, permutations and resamples. Sections draw their own numbers, so that leaving one out changes
        no other.
    verbose : int, default=1
        Show a progress bar over the sections if positive.
    probabilities : dict of str to list of str, optional
        Attributes of which the rows have probabilities, such as an imputed race, with the columns of
        ``sensitive_features`` that hold the probability of one of their levels each; see
        :func:`fairdcov.with_probabilities`, whose result does as well. Figures of groups are then weighted by exposure
        times probability, ``rows`` are expected numbers, and what has no meaning for shares is left out and named.
    control_features : DataFrame, Series, array or list, (n,) or (n, c), optional
        Legitimate factors; several are crossed into strata. What depends on the attributes within the strata becomes
        the figure about legitimate factors: distance covariance and divergence with their levels by chance, a test
        that permutes within strata, and gaps between a group and the rest of the same strata. They take the place of
        the ``legitimate_features`` in the gaps that decide about a ``tolerance``, and of the partial distance
        correlation.
    control_bins : int or dict, default=5
        How numbers among the control features are cut, as ``bins`` in :func:`fairdcov.metrics.js_divergence`.
    tier_thresholds : list of float, optional
        Premiums above which the shares of the groups are compared, in units of ``y_pred``. By default the median, the
        75 % and the 90 % quantile of the predictions.
    best_estimates : (n, K) array, or fitted DiscriminationFreeRegressor, optional
        Best estimates of each row for each level of the protected attributes, for the proxy discrimination of the
        predictions; see :func:`fairdcov.metrics.proxy_discrimination`. A model is asked for those of ``features``, and
        its discrimination-free price is shown beside.
    frontier : FrontierGap, optional
        What :func:`fairdcov.frontier_gap` returned for the same rows and predictions: how far they are from the best
        that parity allows, and what not seeing the attributes costs. The audit fits no models.
    given : {"target"}, optional
        Strata of the observed values, by :func:`fairdcov.metrics.target_strata`, are a control feature called
        ``"target"``, alone or beside the others: what depends on the attributes at equal claims is a lack of
        separation. Needs ``y_true``.

    Returns
    -------
    AuditReport
        With ``to_dict``, ``to_json``, ``to_html``, ``to_markdown`` and ``to_frame``.

    Raises
    ------
    ValueError
        For empty input, unequal lengths, values that are not finite, missing protected attributes, repeated column
        names, probabilities that are negative or do not sum to 1 (the first such row is named), control features that
        determine the attributes, predictions that the deviance of the task cannot judge (negative ones, and a 0 where
        something was observed, for all but regression), a baseline that is not positive, options out of range,
        legitimate features that are not there, a ``frontier`` of other predictions, and, beside a tolerance,
        predictions that are not positive and too few rows to ever decide.
    TypeError
        For attributes of mixed types or dates, and for a ``frontier`` that is none.

    Warns
    -----
    SensitiveFeaturesWarning
        For a control feature that is a protected attribute, for levels without mass, and for columns that look like
        probabilities and were not declared.

    See Also
    --------
    fairdcov.inference.independence_test : The tests.
    fairdcov.inference.equivalence_test : The outcomes for a tolerance.
    fairdcov.actuarial.one_way : Experience by factor.
    fairdcov.metrics.null_distribution : Null levels of single measures.

    Notes
    -----
    *All rows*: experience, distribution functions, divergences with their null levels, distance covariances, changes.
    Of more than 20,000 rows, Kolmogorov-Smirnov, Wasserstein and energy distances compare distribution functions at
    4,096 predictions of equal exposure between them. *Subsamples*, with their sizes in the report: permutation tests
    where rows times profiles are many, the screening of features, the prediction of attributes from features, the
    partial distance correlation.

    Weights: tables, divergences and the values of the distance covariances are weighted by exposure. Tests, screening
    and partial correlations take every row alike: their levels would not hold if exposure depended on the attributes.

    Densities of all groupings have one bandwidth, that of :func:`fairdcov.metrics.js_divergence` for all rows.

    *Bootstrap.* ``MetricFrame`` resamples the rows, or of more than 2,000 rows the totals of random parts of each
    group, at least 50 of them: these are as exchangeable as the rows, so that the spread of their ratios estimates the
    same at a cost that does not grow with n.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.report import audit
    >>> book = make_motor_portfolio(3_000, random_state=0)
    >>> report = audit(
    ...     book.target,
    ...     book.true_rate,
    ...     book.sensitive_features[["gender", "region"]],
    ...     sample_weight=book.exposure,
    ...     metadata={"model": "true rate of the synthetic book"},
    ...     verbose=0,
    ... )
    >>> found = report.to_dict()
    >>> [(group["label"], group["too_small"]) for group in found["groups"][0]["groups"]]
    [('female', False), ('male', False)]
    >>> joint = next(entry for entry in found["dependence"] if entry["measure"] == "ccdcov")
    >>> joint["attributes"], joint["test"]["p_value"]
    (['gender', 'region'], 0.01)
    """
    settings = {
        "min_group_size": _check_number(min_group_size, "min_group_size", least=1),
        "n_permutations": _check_number(n_permutations, "n_permutations", least=0, auto="auto"),
        "n_bootstrap": _check_number(n_bootstrap, "n_bootstrap", least=0, auto="auto"),
        "confidence": check_confidence(confidence),
        "max_pairs": _check_number(max_pairs, "max_pairs", least=0),
        "max_screening_rows": _check_number(max_screening_rows, "max_screening_rows", least=4, auto=True),
        "max_learning_rows": _check_number(max_learning_rows, "max_learning_rows", least=30, auto=True),
        "max_partial_rows": _check_number(max_partial_rows, "max_partial_rows", least=4, auto=True),
        "tolerance": None if tolerance is None else check_positive_number(tolerance, "tolerance"),
        "tier_thresholds": check_thresholds(tier_thresholds),
    }
    if metadata is not None and not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict; found {type(metadata).__name__}")
    sample = read_sample(
        y_true,
        y_pred,
        sensitive_features,
        sample_weight=sample_weight,
        features=features,
        baseline=baseline,
        legitimate_features=legitimate_features,
        task=task,
        bins=bins,
        random_state=random_state,
        probabilities=probabilities,
        control_features=control_features,
        control_bins=control_bins,
        given=given,
        best_estimates=best_estimates,
    )
    if tolerance is not None:
        check_tolerance(sample, settings["confidence"])
    check_control_features(sample)
    check_frontier(frontier, sample)
    metadata = dict(metadata or {})
    tried = _alternatives(alternatives, metadata)
    return AuditReport(_report(sample, settings, metadata, tried, frontier, verbose))


def _alternatives(recorded, metadata):
    """What was tried, a list of dicts and texts: as a search recorded it, then as stated, taken from the metadata."""
    stated = metadata.pop("alternatives", None) or []
    stated = [stated] if isinstance(stated, str | dict) else list(stated)
    if recorded is None:
        return stated
    table = getattr(recorded, "candidates_", recorded)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            "alternatives must be a fitted JSDivergenceCalibrator or a DataFrame, such as "
            f"fairdcov.calibration.search_candidates makes of a search; found {type(recorded).__name__}: fit it first, "
            'or state what was tried in metadata={"alternatives": [...]}'
        )
    metadata["alternatives_recorded_by"] = "a table" if table is recorded else type(recorded).__name__
    rows = table.to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows] + stated


def _report(sample, settings, metadata, alternatives, frontier, verbose):
    """One section after the other, each made of the sample, the settings and the sections that it is given."""
    groupings, pairs_left_out = sample.groupings(settings["max_pairs"])
    *_, full = groupings
    with tqdm(total=len(groupings) + 15, desc="audit", unit="section", disable=not verbose, leave=False) as bar:

        def step(name, make, *inputs):
            bar.set_postfix_str(name)
            section = make(sample, *inputs, settings)
            bar.update()
            return section

        # First, since it may find the rows too few.
        equivalence = step("tolerance", tolerance_section)
        balance = step("balance", balance_section)
        lift = step("lift", lift_section)
        bootstrap = step("intervals", bootstrap_intervals, groupings)
        compared = {grouping.names: compared_groups(sample, grouping.names, settings) for grouping in groupings}
        groups = [
            step(f"groups of {grouping.title}", group_section, grouping, compared[grouping.names], bootstrap)
            for grouping in groupings
        ]
        distributions = step("distributions", distribution_section, full.names, compared[full.names])
        pairs = step("pairs", pairs_sections, groupings, compared)
        tiers = step("tiers", tiers_section, groupings)
        dependence = step("dependence", dependence_section, groupings)
        conditional = step("control features", conditional_section, dependence)
        partial = step("partial", partial_section)
        proxies = step("proxies", proxies_section)
        proxy_discrimination = step("proxy discrimination", proxy_discrimination_section)
        change = step("change", change_section, balance, groups, dependence)
        cost = step("cost", cost_section, balance, groups, change)
        binning = step("binning", binning_section)
    data = plain(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "created": _now(),
            "metadata": metadata,
            "data": _data(sample),
            "settings": settings
            | {
                "task": sample.task,
                "task_found_since": sample.task_reason,
                "bins": _bins(sample),
                "bandwidth": sample.bandwidth("y_pred"),
                "seed": sample.seed,
            },
            "software": _software(),
            "equivalence": equivalence,
            "groups": groups,
            "balance": balance,
            "lift": lift,
            "distributions": distributions,
            "pairs": pairs,
            "tiers": tiers,
            "dependence": dependence,
            "conditional": conditional,
            "partial": partial,
            "proxies": proxies,
            "proxy_discrimination": proxy_discrimination,
            "change": change,
            "cost": cost,
            "frontier": frontier_section(frontier),
            "binning": binning,
            "left_out": sample.left_out,
            "alternatives": alternatives,
            "limits": LIMITS,
            "rules": RULES,
            "remarks": [
                *_remarks_on_groups(sample, groups, balance, settings),
                *_remarks_on_pairs(pairs_left_out, settings),
                *_remarks_on_predictions(sample, balance),
            ],
        }
    )
    data["summary"] = with_readable_bins(summarise(data), data["settings"]["bins"])
    return data


def _data(sample):
    attributes = [_attribute(sample, name) for name in sample.names]
    return {
        "rows_given": sample.book.n_samples,
        "rows": sample.n,
        "rows_without_exposure": sample.book.n_samples - sample.n,
        "exposure": float(sample.book.exposure.sum()),
        "weighted": sample.weighted,
        "observed": sample.book.observed is not None,
        "deviance": TASKS[sample.task][0],
        "attributes": attributes,
        "features": [] if sample.features is None else [str(name) for name in sample.features.columns],
        "legitimate_features": sample.legitimate,
        "control_features": [] if sample.strata is None else sample.strata.names,
        "baseline": sample.baseline is not None,
        "best_estimates": sample.best_estimates is not None,
    }


def _attribute(sample, name):
    found = {"name": name, "kind": "probabilities", "n_levels": sample.n_levels(name)}
    if name in sample.probabilities:
        return found | {"binned": False, "lowest": None, "highest": None}
    column = sample.attributes.columns[name]
    return found | {
        "kind": "numeric" if column.numeric else "categorical",
        "binned": sample.bins.get(name) is not None,
        "lowest": column.values.min() if column.numeric else None,
        "highest": column.values.max() if column.numeric else None,
    }


def _bins(sample):
    found = {}
    for name, edges in sample.bins.items():
        asked = sample.bins_asked[name]
        found[name] = edges
        if edges is not None:
            found[name] = {
                # Open ends have no number in JSON.
                "edges": [str(edge) if math.isinf(edge) else edge for edge in edges.tolist()],
                "quantile_groups": asked if isinstance(asked, numbers.Integral) else None,
            }
    return found


def _remarks_on_groups(sample, groups, balance, settings):
    remarks = []
    if sample.n < sample.book.n_samples:
        remarks.append(f"{sample.book.n_samples - sample.n:,} row(s) of zero exposure do not count.")
    if balance["constant_prediction"]:
        remarks.append("The prediction is constant: every difference between groups is 0.")
    for name in sample.names:
        if sample.n_levels(name) < 2:
            remarks.append(f"The attribute {name} is constant: nothing can depend on it.")
    for section in groups:
        title = " × ".join(section["attributes"])
        if section["n_compared"] < 2 and section["n_groups"] > 1:
            remarks.append(
                f"{title}: fewer than two groups have {settings['min_group_size']} rows; nothing is compared."
            )
        nothing = [row for row in section["groups"] if row.get("observed_total") == 0]
        if nothing and sample.book.observed is not None:
            remarks.append(f"{title}: nothing was observed in {len(nothing)} of {section['n_groups']} groups.")
    return remarks


def _remarks_on_pairs(left_out, settings):
    pairs = ", ".join(" × ".join(pair) for pair in left_out)
    return (
        [f"Pairs of attributes beyond max_pairs={settings['max_pairs']} without a section: {pairs}."] if pairs else []
    )


def _remarks_on_predictions(sample, balance):
    remarks = []
    observed, predicted = sample.book.observed, sample.predictions
    negative = int((predicted < 0).sum())
    if negative and (observed is None or not (observed < 0).any()):
        remarks.append(f"{negative:,} prediction(s) are negative, although nothing negative was observed.")
    if observed is None:
        return remarks
    if balance["deviance_missing"]:
        remarks.append(f"No deviance: {balance['deviance_missing']}.")
        return remarks
    nothing = int((predicted == 0).sum())
    if nothing and sample.task in ("frequency", "pure_premium"):
        remarks.append(f"{nothing:,} prediction(s) are 0: their deviance is 0, since nothing was observed there.")
    if sample.task == "classification":
        wrong = int((((predicted == 0) & (observed == 1)) | ((predicted == 1) & (observed == 0))).sum())
        if wrong:
            remarks.append(
                f"{wrong:,} prediction(s) are certain and wrong: their deviance is infinite, and counts as that of "
                "the smallest probability that a computer can hold."
            )
    explained = balance["deviance_explained"]
    if explained is not None and explained <= 0 and not balance["constant_prediction"]:
        remarks.append(
            f"The predictions explain nothing: their {balance['deviance_name']} is "
            f"{'that' if explained == 0 else 'above that'} of the observed mean for every row "
            f"(D² = {explained:.3g})."
        )
    return remarks


def _now():
    """Time of the report; SOURCE_DATE_EPOCH makes it reproducible."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    utc = datetime.UTC
    moment = datetime.datetime.fromtimestamp(int(fixed), utc) if fixed else datetime.datetime.now(utc)
    return moment.isoformat(timespec="seconds")


def _software():
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # a source tree that is not installed
            found[package] = None
    return found

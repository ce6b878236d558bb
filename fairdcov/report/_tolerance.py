"""Are the price gaps between groups within the tolerance? The outcomes of the equivalence tests."""

from fairdcov.inference import OUTCOMES, equivalence_test

__all__ = ["check_tolerance", "tolerance_section"]

_UNSURE = OUTCOMES[1]


def check_tolerance(sample, confidence):
    """Raise where the predictions, or the level of the intervals, have no equivalence test."""
    if confidence <= 0.5:
        raise ValueError(f"confidence must be above 0.5 where a tolerance is given; found {confidence:g}")
    low = sample.predictions[sample.predictions <= 0]
    if len(low):
        raise ValueError(
            f"y_pred must be positive where a tolerance is given, since gaps are relative; found {len(low):,} value(s) "
            f"of at most 0, such as {low[0]:g}"
        )


def tolerance_section(sample, settings):
    """Outcome for each attribute, their intersection and the groups of these.

    Parameters
    ----------
    sample : AuditSample
        Data.
    settings : dict
        ``tolerance``, ``confidence``, ``min_group_size``.

    Returns
    -------
    dict or None
        None where no tolerance was given. ``outcome`` is that of the last of the ``tests``: of mean prices, or given
        control features or legitimate factors where there are some.
    """
    tolerance = settings["tolerance"]
    if tolerance is None:
        return None
    section = {
        "tolerance": tolerance,
        "alpha": 1.0 - settings["confidence"],
        "adjust": "holm",
        "outcome": _UNSURE,
        "decided_by": "relative_mean",
        "tests": [],
    }
    # The audit remarks on attributes that are constant.
    names = [name for name in sample.names if sample.groups((name,)).n_groups > 1]
    if not names:
        return section
    given = _given(sample)
    tests = [_test(sample, names, settings, section, "relative_mean", None)]
    if given is not None:
        try:
            tests.append(_test(sample, names, settings, section, "given_factors", given))
        except (TypeError, ValueError) as error:
            # Factors that determine the attributes, or dates: a finding about the factors, not a reason for no report.
            tests.append(_untested(given, str(error)))
    section["tests"] = tests
    section["outcome"], section["decided_by"] = tests[-1]["outcome"], tests[-1]["measure"]
    return section


def _given(sample):
    """The factors that the gaps are given: control features, or legitimate ones where there are none; or None."""
    if sample.control is not None:
        return sample.control.to_native()
    return sample.features[[*sample.legitimate]].to_native() if sample.legitimate else None


def _test(sample, names, settings, section, measure, legitimate_features):
    found = equivalence_test(
        sample.predictions,
        sample.select(names),
        tolerance=section["tolerance"],
        measure=measure,
        sample_weight=sample.weights,
        legitimate_features=legitimate_features,
        bins={name: sample.bins[name] for name in names if name in sample.bins},
        alpha=section["alpha"],
        min_group_size=max(settings["min_group_size"], 2),
        adjust=section["adjust"],
    ).to_dict()
    kept = ("measure", "outcome", "legitimate_features", "n_compared", "attributes", "groups")
    test = {name: found[name] for name in kept} | {"reason": None}
    for row in test["groups"]:
        row["too_small"] = row["rows"] < settings["min_group_size"]
    return test


def _untested(given, reason):
    return {
        "measure": "given_factors",
        "outcome": _UNSURE,
        "legitimate_features": [str(name) for name in given.columns],
        "n_compared": 0,
        "attributes": [],
        "groups": [],
        "reason": reason,
    }

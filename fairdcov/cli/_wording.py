"""Messages of the library in the words of the command line.

The library speaks of the arguments of its functions; who types ``--sensitive gender`` has never seen
``sensitive_features``.
"""

import re

__all__ = ["in_options"]

# Parts of sentences about what the command line does in another way; the command for which, None for all.
_PHRASES = (
    (None, r"sensitive_features column (?=['\"])", "protected attribute "),
    (
        None,
        r": pass bins=\{['\"](?P<name>.*?)['\"]: 5\} for quantile groups, .* as a group",
        r": say --bins \g<name>=5 for quantile groups, or --bins \g<name>=EDGES for groups of your own",
    ),
    (None, r"; open them with -numpy\.inf and numpy\.inf", "; --bins takes -inf and inf as the outermost edges"),
    (None, r"a list of edges or None; found", "edges separated by commas; found"),
    (None, r", or a dict of column name to edges or whole number", ""),
    (None, r"JSDivergenceCalibrator needs", "the calibration needs"),
    # One estimator is fitted, whose class nobody has named.
    (None, r"\b(DCov(Ridge|LogisticRegression|\w+(Regressor|Classifier))|FrequencySeverityRegressor)\b", "the model"),
    (None, r" \(effective_strength_\)", ""),
    ("fit", r"\bstrength=(?=[\d.])", "strength "),
    (
        "fit",
        r"sensitive_features has a single group, .*: there is nothing to calibrate; fit the estimator with strength 0",
        "the rows to fit are all of one protected group: there is nothing to compare; cut finer with --bins, or name "
        "other columns with --sensitive",
    ),
    (None, r"\bstrata of \[(?P<names>[^\]]*)\]", r"strata of \g<names>"),
    ("fit", r"set max_delta_step=1, a smaller learning_rate", "take a smaller --model-option learning_rate"),
    ("fit", r"\bcheck y\b", "check the target"),
    (None, r", or start from a neighbouring strength with strength_path", ""),
    (None, r", use method='tiles' or 'approximate', or raise sklearn\.set_config\(working_memory=\.\.\.\)", ""),
    (None, r"more than scikit-learn's working_memory of", "more than"),
    ("fit", r"min_group_size=(\d+) expected rows", r"\1 expected rows"),
    ("fit", r"fewer than min_group_size=(\d+) rows", r"fewer than \1 rows"),
    ("fit", r"at least min_group_size=(\d+) rows", r"at least \1 rows"),
    ("fit", r"min_group_size=(\d+) rows", r"\1 rows"),
    ("fit", r"coarser bins or a smaller min_group_size", "or coarser --bins"),
    ("fit", r"set coarser bins or fewer folds", "take coarser --bins or fewer --folds"),
    ("fit", r"use method='(\w+)'", r"use --model-option method=\1"),
    (
        "fit",
        r"more than max_levels=([\d,]+): group its rare levels before the fit( \(such as postcodes to zones\))?, .*, "
        r"or raise max_levels",
        r"more than the \1 that a table has: group its rare levels before the fit\2, or leave it out with --exclude",
    ),
    (
        "fit",
        r"more than max_levels=([\d,]+): cut its numbers by bins, .*, or raise max_levels",
        r"more than the \1 that a table has: group its rare levels before the fit, or leave it out with --exclude",
    ),
    (
        "fit",
        r"the levels asked for by bins, and those of missing values, are ([\d,]+) relativities, more than the ([\d,]+) "
        r"that max_relativities leaves: .*",
        r"the levels of its factors are \1 relativities, more than the \2 that a table has: group rare levels before "
        "the fit, or leave columns out with --exclude",
    ),
    (None, r"^offset must\b", "--offset must"),
    ("fit", r"\bpass strengths\b", "name some with --strengths"),
    ("fit", r"^strengths must\b", "--strengths must"),
    ("fit", r"or try larger strengths", "or try larger --strengths"),
    ("fit", r"^y must\b", "--target must"),
    ("fit", r"\bvalue\(s\) of y\b", "value(s) of --target"),
    ("fit", r"\bneeds y (>=?) 0", r"needs a --target \1 0"),
    (None, r"\bX has\b", "the table has"),
    (None, r"\bX must\b", "the features must"),
    (None, r"\bcolumn of X\b", "feature"),
)
_COMMON = {
    "sensitive_features": "--sensitive",
    "sample_weight": "--exposure",
    "y_true": "--target",
    "random_state": "--seed",
    "bins": "--bins",
    "control_features": "--control",
    "control_bins": "--control-bins",
    "probabilities": "--probabilities",
}
_ARGUMENTS = {
    "fit": {
        **_COMMON,
        "y_pred": "the prediction",
        "baseline": "the unpenalised prediction",
        "max_divergence": "--max-divergence",
        "score_budget": "--score-budget",
        "if_unmet": "--if-unmet",
        "strengths": "--strengths",
        "rule": "--rule",
        "penalty": "--penalty",
        "tweedie_power": "--power",
        "dispersion": "--dispersion",
        "cv": "--folds",
        "n_jobs": "--n-jobs",
        "legitimate_features": "--legitimate",
        "features": "--features",
    },
    "audit": {
        **_COMMON,
        "y_pred": "--prediction",
        "baseline": "--baseline",
        "min_group_size": "--min-group-size",
        "legitimate_features": "--legitimate",
        "features": "--features",
        "task": "--task",
    },
    "predict": {"X": "BOOK"},
}
# Arguments that are words of their own: they are meant only where a value follows.
_WORDS = {"baseline", "bins", "features", "penalty", "probabilities", "rule", "strengths", "task"}
# Parameters of the estimators, which --model-option sets.
_PARAMETERS = (
    "alpha",
    "max_iter",
    "tol",
    "solver",
    "n_threads",
    "early_stopping_rounds",
    "n_penalised_rounds",
    "n_estimators",
)
_UNKNOWN_LEVELS = re.compile(
    r"Found unknown categories in columns? \[(?P<positions>[\d, ]+)\] during transform\. These unknown categories will "
    r"be encoded as .*"
)
_ADVICE_FOR_GLMS = re.compile(r"Look for levels of factors without claims .*")
_ADVICE_FOR_TREES = (
    "Trees that are too many or too large for so few claims learn chance: take fewer or smaller ones, as in "
    "n_estimators=50 num_leaves=8"
)
# Text in quotation marks is of the user, unless it is the value of an argument.
_QUOTED = r"(?<![\w=])'[^']*'|(?<![\w=])\"[^\"]*\""


def in_options(message, command, columns=(), *, trees=False):
    """A message of the library in the words of a command.

    Parameters
    ----------
    message : str
        Of an error or a warning.
    command : str
        ``"fit"``, ``"audit"`` or ``"predict"``; another one has no options for what the library takes.
    columns : list of str, default=()
        Columns that are levels to a generalised linear model, in its order.
    trees : bool, default=False
        Whether the model is boosted trees, which take other advice.

    Returns
    -------
    str
    """
    if command not in _ARGUMENTS:
        return message
    if trees:
        message = _ADVICE_FOR_GLMS.sub(_ADVICE_FOR_TREES, message)
    unknown = _UNKNOWN_LEVELS.fullmatch(message)
    if unknown and columns:
        names = ", ".join(columns[int(position)] for position in unknown["positions"].split(","))
        return (
            f"some rows have levels of {names} that the rows fitted do not have; they count as rare levels or as the "
            "most frequent one"
        )
    for of_command, phrase, words in _PHRASES:
        if of_command in (None, command):
            message = re.sub(phrase, words, message)
    arguments = _ARGUMENTS[command]
    if command == "fit":
        arguments = {**arguments, **{name: f"--model-option {name}" for name in _PARAMETERS}}
    alternatives = "|".join(map(re.escape, sorted(arguments, key=len, reverse=True)))
    value = r"'[^']*'|\"[^\"]*\"|[^\s,;:)]+"
    pattern = re.compile(rf"{_QUOTED}|(?<![\w.=/-])(?P<name>{alternatives})(?:=(?P<value>{value})|(?![\w.=/(-]))")

    def worded(found):
        name, value = found["name"], found["value"]
        if name is None or (value is None and name in _WORDS):
            return found[0]
        option = arguments[name]
        if value is None:
            return option
        joint = "=" if option.startswith("--model-option") else " "
        return f"{option}{joint}{value.strip(chr(39) + chr(34))}"

    return pattern.sub(worded, message)

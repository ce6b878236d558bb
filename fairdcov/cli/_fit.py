"""``fairdcov fit``: from a book of policies to a calibrated model, its scored book and its audit."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import train_test_split

import fairdcov
from fairdcov._checks import import_optional
from fairdcov.actuarial import write_csv
from fairdcov.cli._audit import audit_predictions, write_report
from fairdcov.cli._calibration import Rows, calibrate, calibration_table, calibration_text
from fairdcov.cli._cost import cost_of_penalty, print_cost
from fairdcov.cli._experience import (
    attribute_bins,
    check_amounts,
    crossed_strata,
    groups_without_claims,
    levels_with_few_claims,
    read_claims,
    read_experience,
)
from fairdcov.cli._features import is_quantity, level_columns
from fairdcov.cli._files import file_format, file_sha256, open_table
from fairdcov.cli._inventory import as_settings, notes_on_levels, print_columns, range_of, take_stock
from fairdcov.cli._leakage import notes_on_leakage
from fairdcov.cli._models import FAMILIES, MODELS, PARTS, build_model, parts_of, premium_model, rebalanced, response
from fairdcov.cli._monotone import check_monotone, read_monotone
from fairdcov.cli._offset import check_offset, notes_on_scale
from fairdcov.cli._output import check_output_folder, output_folder
from fairdcov.cli._pictures import draw_calibrations
from fairdcov.cli._protected import read_control, read_probabilities, read_protected, split_names
from fairdcov.cli._relativities import write_relativities
from fairdcov.cli._remarks import notes_of_warnings, say_notes
from fairdcov.cli._scored import write_table
from fairdcov.cli._settings import MODEL_FILE, SETTINGS_FILE, versions, write_settings
from fairdcov.cli._table import Source, Table
from fairdcov.encoding import fixed_bins, make_groups
from fairdcov.metrics import js_divergence

__all__ = ["run_fit"]

LEAST_ROWS = 100
_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "skops")
# What settings.json does not repeat or need.
_UNRECORDED = {
    "amount",
    "book",
    "claims",
    "command",
    "control",
    "force",
    "monotone",
    "offset",
    "output",
    "probabilities",
    "quiet",
    "rebalance",
    "version",
}
# Text with more levels than this, in more than every second row another one, is a name of the row.
_LEAST_NAMES = 100


# ---------------------------------------------------------------------------------------------------------------------
# Input
# ---------------------------------------------------------------------------------------------------------------------


def _choose_target(options):
    """What --amount and --claims stand for: the target, its family and the model."""
    if (options.amount is None) != (options.claims is None):
        alone, other = ("--amount", "--claims") if options.claims is None else ("--claims", "--amount")
        raise ValueError(f"{alone} needs {other}: a premium is fitted as number of claims times their mean cost")
    if options.amount is None:
        if options.target is None:
            raise ValueError("name the column to be predicted with --target, or --amount and --claims")
        return
    for option, wrong, advice in (
        ("--target", options.target is not None, "which name the target of both"),
        (
            "--offset",
            options.offset is not None,
            "whose two models have an offset each: fit the premium as one with --target and --family tweedie, or both "
            "in Python, by frequency_offset and severity_offset of FrequencySeverityRegressor",
        ),
        (
            f"--family {options.family}",
            options.family not in ("poisson", "tweedie"),
            "which fit a Poisson and a gamma model",
        ),
    ):
        if wrong:
            raise ValueError(f"{option} does not go with --amount and --claims, {advice}")
    # Premiums are measured by the Tweedie deviance.
    options.target, options.family, options.model = options.amount, "tweedie", premium_model(options.model)


def _check_options(options):
    if not 0 < options.test_size < 1:
        raise ValueError(f"--test-size must be between 0 and 1; found {options.test_size:g}")
    if options.folds < 2:
        raise ValueError(f"--folds must be at least 2; found {options.folds}")
    if options.seed < 0:
        raise ValueError(f"--seed must be at least 0; found {options.seed}")
    if options.rule == "threshold" and options.max_divergence is None:
        raise ValueError("--rule threshold needs --max-divergence")
    if options.rule != "threshold" and options.max_divergence is not None:
        raise ValueError(f"--max-divergence is for --rule threshold; found --rule {options.rule}")
    if options.family == "binomial" and options.exposure is not None:
        raise ValueError("--family binomial takes a target of 0 and 1 for each row, without --exposure")
    if options.family == "binomial" and options.rebalance:
        raise ValueError("--rebalance is not for --family binomial: a factor could carry probabilities beyond 1")
    if options.family == "tweedie" and not 1 < options.power < 2:
        raise ValueError(f"--power must be between 1 and 2; found {options.power:g}")
    if options.family == "negative_binomial" and not 0 < options.dispersion < np.inf:
        raise ValueError(f"--dispersion must be above 0; found {options.dispersion:g}")


def _target_option(options):
    """The option that names the target: what --amount names is the target, and still its own in what is said of it."""
    return "--target" if options.amount is None else "--amount"


def _feature_names(source, options, probabilities):
    """Columns that are features, after a check that every column has one role."""
    taken = {options.target: _target_option(options)}
    shares = [column for columns in probabilities.values() for column in columns]
    one_each = (
        ("--exposure", [options.exposure]),
        ("--claims", [options.claims]),
        ("--offset", [options.offset]),
        ("--sensitive", options.sensitive),
        ("--probabilities", shares),
    )
    for option, names in one_each:
        for name in names:
            if name in taken:
                raise ValueError(f"{option} names {name!r}, which {taken[name]} names already")
            if name is not None:
                taken[name] = option
    source.check_names(
        {
            _target_option(options): [options.target],
            "--exposure": [options.exposure] if options.exposure else [],
            "--claims": [options.claims] if options.claims else [],
            "--offset": [options.offset] if options.offset else [],
            "--sensitive": options.sensitive,
            "--probabilities": shares,
            "--control": options.control,
            "--features": options.features or [],
            "--exclude": options.exclude,
            "--categorical": options.categorical,
        }
    )
    for name in options.control:
        if name in taken:
            raise ValueError(f"--control names {name!r}, which {taken[name]} names already")
    for name in options.features or []:
        if name in taken:
            also = (
                ": a model that needs protected attributes cannot predict without them"
                if taken[name] in ("--sensitive", "--probabilities")
                else ""
            )
            raise ValueError(f"--features names {name!r}, which {taken[name]} names already{also}")
    found = options.features or [name for name in source.names if name not in taken and name not in options.exclude]
    if not found:
        raise ValueError("no column is left to be a feature")
    return list(dict.fromkeys(found))


def _read_features(table, names):
    """Features of every row as numbers and categories."""
    return pd.DataFrame({name: table.attribute(name, "--features") for name in names})


def _fitted_features(everything, rows):
    """Features of the rows that take part, and what is odd about them."""
    features, notes = everything.iloc[rows].reset_index(drop=True), []
    for name in features:
        column = features[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            features[name] = column = column.cat.remove_unused_categories()
            n_levels = len(column.cat.categories)
            if n_levels > max(_LEAST_NAMES, len(rows) / 2):
                raise ValueError(
                    f"column {name!r} has {n_levels:,} levels in {len(rows):,} rows, as a name of each row has: "
                    "leave it out with --exclude"
                )
        elif column.dtype.kind == "i" and column.is_unique:
            notes.append(
                f"{name} is another whole number in every row; if it numbers the rows, leave it out with --exclude"
            )
        if column.nunique(dropna=False) < 2:
            notes.append(f"{name} has one value only and tells nothing")
    if all(features[name].nunique(dropna=False) < 2 for name in features):
        raise ValueError("every feature has one value only: there is nothing to fit")
    return features, notes


def _split(data, bins, *, test_size, seed):
    """Rows to fit and rows held back, the same share of each group and of the rows with claims."""
    groups = {}
    if data.protected.observed.shape[1]:
        groups["group"] = make_groups(data.protected.observed, bins, data.exposure).codes
    strata = crossed_strata(data.target > 0, pd.DataFrame(groups))
    counts = pd.Series(strata).value_counts()
    smaller = min(test_size, 1 - test_size) * len(strata)
    feasible = counts.min() >= 2 and smaller >= len(counts)
    fitted, held = train_test_split(
        np.arange(len(strata)), test_size=test_size, random_state=seed, stratify=strata if feasible else None
    )
    return np.sort(fitted), np.sort(held)


# ---------------------------------------------------------------------------------------------------------------------
# Fit
# ---------------------------------------------------------------------------------------------------------------------


def _fit_unpenalised(pipeline, data, options):
    """The same model with strength 0, for comparison."""
    own = {} if data.weights is None else {"model__sample_weight": data.weights}
    own |= {f"model__{name}": values for name, values in data.metadata.items()}
    with notes_of_warnings(options.command, level_columns(pipeline)):
        return clone(pipeline).set_params(model__strength=0.0).fit(data.features, data.target, **own)


def _rebalance(model, fitted, family):
    """The model in balance on the rows fitted, and what it was multiplied by, or what was added, in words."""
    method = "multiplicative" if family.log_link else "additive"
    model = rebalanced(model, fitted, method=method)
    final = model[-1]
    changed = f"multiplied by {final.factor_:.6g}" if family.log_link else f"plus {final.shift_:.6g}"
    return model, changed


def _feature_settings(features):
    """Kind of each feature, and the levels that are known."""
    settings: dict[str, dict] = {}
    for name in features:
        column = features[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            settings[name] = {"kind": "category", "levels": [str(level) for level in column.cat.categories]}
        elif is_quantity(column):
            settings[name] = {"kind": "quantity", "missing": int(column.isna().sum()), "range": range_of(column)}
        else:
            levels = sorted(float(level) for level in column.dropna().unique())
            settings[name] = {"kind": "number", "levels": levels, "missing": int(column.isna().sum())}
    return settings


def _compare(held, before, after, bins, family, options):
    """Table of both models on the rows held back."""
    rows = []
    groups = {"sensitive_features": held.sensitive, "sample_weight": held.weights, "bins": bins}
    for name, prediction in (("no penalty", before), (options.penalty, after)):
        within = {}
        if held.control is not None:
            given = f"given {', '.join(options.control)}"
            options_within = {"control_features": held.control, "control_bins": held.control_bins}
            within[given] = js_divergence(held.target, prediction, **options_within, **groups)
        rows.append(
            {
                "model": name,
                family.measure: family.deviance(held.target, prediction, held.exposure, family.parameter(options)),
                "divergence": js_divergence(held.target, prediction, **groups),
                **within,
                "predicted/observed": float(prediction @ held.exposure / (held.target @ held.exposure)),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _ReadBook:
    """What was read of the book, and which of its rows are fitted and which held back."""

    source: Source
    table: Table
    columns: list
    names: list
    rows: np.ndarray
    data: Rows
    bins: dict | None
    fitted_rows: np.ndarray
    held_rows: np.ndarray
    offset: np.ndarray | None

    @property
    def fitted(self):
        """Rows to fit."""
        return self.data.part(self.fitted_rows)

    @property
    def held(self):
        """Rows held back."""
        return self.data.part(self.held_rows)

    def roles(self):
        """What each row of the table was used for, (n,) array of str."""
        roles = np.full(self.table.n_rows, "left out", dtype=object)
        roles[self.rows[self.fitted_rows]] = "fitted"
        roles[self.rows[self.held_rows]] = "held back"
        return roles


def _added_columns(options):
    """Columns of the scored book that were not in the book."""
    name = options.prediction_name
    parts = [f"{name}_{part}" for part in PARTS] if MODELS[options.model].premium else []
    return [name, f"{name}_unpenalised", f"{name}_rows", *parts]


def _read_book(options, family):
    source = open_table(options.book, separator=options.separator, decimal=options.decimal, encoding=options.encoding)
    probabilities = read_probabilities(options.probabilities)
    options.monotone = read_monotone(options.monotone, options.model, source.names)
    options.control = split_names(options.control, source.names)
    names = _feature_names(source, options, probabilities)
    shares = [column for columns in probabilities.values() for column in columns]
    for name in _added_columns(options):
        if name in source.names:
            raise ValueError(f"{source.path} has a column {name!r} already: choose another --prediction-name")
    used = {
        options.target,
        options.claims,
        options.exposure,
        options.offset,
        *options.sensitive,
        *shares,
        *options.control,
        *names,
    } - {None}
    table = source.read(as_text=options.categorical, used=used)
    print(f"read {source.path}: {table.n_rows:,} rows, {len(source.names)} columns")
    columns = take_stock(
        table,
        {
            _target_option(options): [options.target],
            "--exposure": [options.exposure] if options.exposure else [],
            "--claims": [options.claims] if options.claims else [],
            "--offset": [options.offset] if options.offset else [],
            "--sensitive": options.sensitive,
            "--probabilities": shares,
            "--features": names,
            "--control": options.control,
        },
    )
    print_columns(columns, all_in=SETTINGS_FILE)
    say_notes([*table.remarks, *notes_on_levels(columns, table.n_rows)])
    named_by = _target_option(options)
    if options.amount is not None:
        check_amounts(table, options.amount, options.claims)
    experience = read_experience(table, options.target, options.exposure, named_by)
    say_notes(experience.remarks)
    if len(experience.rows) < LEAST_ROWS:
        raise ValueError(f"{source.path} must have at least {LEAST_ROWS} rows to fit; found {len(experience.rows)}")
    family.check_target(experience.target, named_by)
    features, notes = _fitted_features(_read_features(table, names), experience.rows)
    check_monotone(options.monotone, features)
    protected = read_protected(table, options.sensitive, probabilities, experience.rows)
    cuts = {}
    if options.sensitive:
        with notes_of_warnings(options.command):
            asked = attribute_bins(protected.observed, options.bins)
            cuts = fixed_bins(protected.observed, asked, experience.exposure)
    bins = {name: [float(edge) for edge in edges] for name, edges in cuts.items() if edges is not None} or None
    if family.log_link and options.sensitive:
        notes += groups_without_claims(experience, protected.observed, bins)
    if family.log_link and MODELS[options.model].levels_of_numbers:
        notes += levels_with_few_claims(experience, features)
    say_notes([*notes, *notes_on_leakage(features, experience.target)])
    control, control_bins = read_control(table, options.control, options.control_bins, experience.rows)
    # Every row is scored, those that are left out of the fit as well.
    offset = table.numbers(options.offset, "--offset") if options.offset else None
    fitted_offset = None
    if offset is not None:
        fitted_offset = offset[experience.rows]
        check_offset(options.offset, fitted_offset, experience, family.link)
        say_notes(notes_on_scale(options.offset, fitted_offset, experience, family.link))
    claims = read_claims(table, options.claims, options.amount, experience) if options.claims else None
    data = Rows(
        features,
        protected,
        experience.target,
        experience.exposure,
        experience.weighted,
        control,
        control_bins,
        fitted_offset,
        claims,
    )
    fitted, held = _split(data, bins, test_size=options.test_size, seed=options.seed)
    return _ReadBook(source, table, columns, names, experience.rows, data, bins, fitted, held, offset)


def _describe(book, options, family):
    data = book.data
    what = f"{options.target} / {options.exposure}" if data.weighted else options.target
    mean = np.average(data.target, weights=data.exposure)
    print(f"{len(book.fitted_rows):,} rows to fit, {len(book.held_rows):,} held back; target {what}, mean {mean:.5g}")
    given = f", given {', '.join(data.control)}" if data.control is not None else ""
    print(f"protected: {', '.join(data.protected.names)}{given}; {len(book.names)} feature(s)")
    if options.monotone:
        words = {"+": "rises", "-": "falls"}
        print("monotone: the prediction " + ", ".join(f"{words[s]} with {c}" for c, s in options.monotone.items()))
    if data.offset is not None:
        # On another scale than the link's, such as a rate for its logarithm, it would be seen here.
        known = np.exp(data.offset) if family.log_link else data.offset
        what = f"exp({options.offset})" if family.log_link else options.offset
        print(
            f"offset {options.offset}: {what} from {known.min():.4g} to {known.max():.4g}, mean "
            f"{np.average(known, weights=data.exposure):.5g}"
        )


def _number(value):
    """A number as JSON has it, None for NaN."""
    return float(value) if np.isfinite(value) else None


def _settings(options, book, calibrator, model):
    """What is worth knowing of a fit later, for people and for ``fairdcov predict``."""
    results, best = calibrator.calibration_results_, calibrator.best_index_
    asked = {name: value for name, value in vars(options).items() if name not in _UNRECORDED}
    return {
        "model": options.model,
        "family": options.family,
        "target": options.target,
        "exposure": options.exposure,
        "sensitive": list(book.data.protected.observed),
        # As in the folders of models without any, of this version and of earlier ones.
        **({"probabilities": book.data.protected.probabilities} if options.probabilities else {}),
        **({"control": options.control} if options.control else {}),
        **({"offset": options.offset, "offset_range": range_of(book.data.offset)} if options.offset else {}),
        **({"claims": options.claims} if options.claims else {}),
        **({"monotone": options.monotone} if options.monotone else {}),
        **({"rebalance": {"factor": model[-1].factor_, "shift": model[-1].shift_}} if options.rebalance else {}),
        "features": _feature_settings(book.data.features),
        "columns": as_settings(book.columns),
        "bins": book.bins,
        "strength": calibrator.best_strength_,
        "divergence": float(results["mean_divergence"][best]),
        "null_level": float(results["null_level"][best]),
        "kept": _number(results["kept"][best]),
        "options": asked,
        "book": {
            "file": book.source.path.name,
            "sha256": file_sha256(book.source.path),
            "rows": book.table.n_rows,
            "fitted": len(book.fitted_rows),
            "held_back": len(book.held_rows),
        },
        "versions": versions(*_PACKAGES, *MODELS[options.model].packages),
    }


def _how_known(protected):
    texts = ["as observed in columns of the book"] if protected.observed.shape[1] else []
    texts += [f"{name} as probabilities in {', '.join(levels)}" for name, levels in protected.probabilities.items()]
    return "; ".join(texts)


def _record(options, book, calibrator, family):
    """What a report says of the model beside its figures, the strengths that were tried among it."""
    table = calibration_table(calibrator.calibration_results_, calibrator.best_index_)
    return {
        "model": f"{MODELS[options.model].described(options.family)} with penalty {options.penalty}"
        + (", rebalanced" if options.rebalance else ""),
        "strength": calibrator.best_strength_,
        "rule": options.rule,
        "target": options.target,
        "exposure": options.exposure,
        "scope": f"{len(book.held_rows):,} rows held back of {book.table.n_rows:,}",
        "book": book.source.path.name,
        "book_sha256": file_sha256(book.source.path),
        "protected_attributes": _how_known(book.data.protected),
        **({"control_features": options.control} if options.control else {}),
        **({"monotone": ", ".join(map("=".join, options.monotone.items()))} if options.monotone else {}),
        "fairdcov": fairdcov.__version__,
        "alternatives": [
            {
                "strength": float(row.strengths),
                "divergence": float(row.mean_divergence),
                "null_level": float(row.null_level),
                family.score: float(row.mean_score),
                "kept": _number(row.kept),
                "chosen": bool(row.chosen),
            }
            for row in table.itertuples(index=False)
        ],
    }


def _write_tables(folder, options, family, book, model, calibrator, comparison, cost):
    table = calibration_table(calibrator.calibration_results_, calibrator.best_index_)
    write_csv(table, folder / "calibration.csv")
    write_csv(comparison, folder / "held_back.csv")
    write_csv(cost, folder / "cost.csv")
    if family.log_link:
        write_relativities(folder, model, book, family, options)


def run_fit(options):
    """Run the command with parsed options."""
    started = time.perf_counter()
    # 1. Everything that can be wrong before anything is computed.
    _choose_target(options)
    _check_options(options)
    check_output_folder(options.output, force=options.force, inputs=[options.book])
    skops = import_optional("skops.io", "fairdcov fit")
    import_optional("matplotlib", "fairdcov fit")
    import_optional("jinja2", "fairdcov fit")
    family = FAMILIES[options.family]
    book = _read_book(options, family)
    pipeline = build_model(
        options.model,
        family,
        book.data.features,
        penalty=options.penalty,
        parameter=family.parameter(options),
        model_options=options.model_option,
        random_state=options.seed,
        control_bins=book.data.control_bins,
        monotone=options.monotone,
    )
    _describe(book, options, family)

    # 2. The model.
    fitted, held = book.fitted, book.held
    what = f"{options.penalty} of a {MODELS[options.model].described(options.family)}"
    print(f"calibrating {what} ({options.folds} folds, rule {options.rule})")
    calibrator = calibrate(
        pipeline,
        fitted,
        book.bins,
        options,
        strengths=options.strengths or "auto",
        n_strengths=10,
        rule=options.rule,
        max_divergence=options.max_divergence,
        score_budget=options.score_budget,
        if_unmet=options.if_unmet,
        scoring=family.scoring,
        cv=options.folds,
        n_jobs=options.n_jobs,
    )
    print(f"  {calibration_text(calibrator, family.score)}")
    model = calibrator.best_estimator_
    unpenalised = _fit_unpenalised(pipeline, fitted, options)
    if options.rebalance:
        with notes_of_warnings(options.command, level_columns(model)):
            model, changed = _rebalance(model, fitted, family)
            unpenalised, changed_before = _rebalance(unpenalised, fitted, family)
        print(f"rebalanced on the rows fitted: predictions {changed}; without penalty {changed_before}")

    # 3. What it does to every row, and to those held back.
    everything = _read_features(book.table, book.names)
    with notes_of_warnings(options.command, level_columns(model)):
        before, after = (response(fitted, everything, book.offset) for fitted in (unpenalised, model))
        parts = parts_of(model, everything, after)
    held_before, held_after = (values[book.rows[book.held_rows]] for values in (before, after))
    with notes_of_warnings(options.command):
        comparison = _compare(held, held_before, held_after, book.bins, family, options)
        cost = cost_of_penalty(held_before, held_after, held, book.bins, family, options, options.penalty)
    print("on the rows held back")
    print(comparison.to_string(index=False, float_format="{:.5f}".format))
    print("what the penalty costs there")
    print_cost(cost)
    settings = _settings(options, book, calibrator, model)
    # Changes are relative, of premiums that are positive.
    unusable = int(((held_before <= 0) | (held_after <= 0)).sum())
    if unusable:
        say_notes([f"the report has no changes of premiums: {unusable:,} prediction(s) are not above 0"])
    control = {}
    if held.control is not None:
        control = {"control_features": held.control, "control_bins": held.control_bins}
    report = audit_predictions(
        held.target,
        held_after,
        held.sensitive,
        **control,
        sample_weight=held.weights,
        features=held.features,
        baseline=None if unusable else held_before,
        bins=book.bins,
        task=family.task,
        metadata=_record(options, book, calibrator, family),
        options=options,
    )

    # 4. The folder, whole or not at all.
    with output_folder(options.output, force=options.force, inputs=[options.book]) as folder:
        skops.dump(model, folder / MODEL_FILE)
        write_settings(folder, {**settings, "model_sha256": file_sha256(folder / MODEL_FILE)})
        scored = dict(zip(_added_columns(options), (after, before, book.roles(), *parts.values()), strict=True))
        write_table(book.table, scored, folder / f"scored.{file_format(book.source.path, 'the book')}")
        _write_tables(folder, options, family, book, model, calibrator, comparison, cost)
        draw_calibrations(
            folder,
            {options.penalty: calibrator},
            options.penalty,
            held_before,
            held_after,
            score_name=family.score,
            sensitive_features=held.sensitive,
            sample_weight=held.weights,
            bins=book.bins,
        )
        write_report(report, folder)
    seconds = time.perf_counter() - started
    print(f"wrote model, scored book, tables, pictures and report to {options.output} in {seconds:.0f} s")

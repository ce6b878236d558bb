"""``fairdcov audit``: a report on the predictions of any system."""

import time

import numpy as np
import pandas as pd

import fairdcov
from fairdcov._checks import import_optional
from fairdcov.cli._experience import attribute_bins, groups_without_claims, read_experience
from fairdcov.cli._files import file_sha256, open_table
from fairdcov.cli._inventory import notes_on_levels, print_columns, take_stock
from fairdcov.cli._output import check_output_folder, output_folder
from fairdcov.cli._protected import read_control, read_probabilities, read_protected, split_names
from fairdcov.cli._remarks import notes_of_warnings, say_notes

__all__ = ["audit_predictions", "run_audit", "write_report"]

# Exit codes of the gate.
_EXIT_OUTSIDE = 4
_EXIT_UNSURE = 5
# Observed over predicted beyond which the other reading of the predictions is worth a remark.
_FAR_OFF = 1.5


def audit_predictions(target, prediction, sensitive, *, options, **given):
    """Audit of predictions per unit of exposure, by :func:`fairdcov.report.audit` with further options of it."""
    from fairdcov.report import audit

    with notes_of_warnings(options.command):
        return audit(
            target, prediction, sensitive, random_state=options.seed, verbose=0 if options.quiet else 1, **given
        )


def write_report(report, folder):
    """Write a report as a page for people and as JSON for programs."""
    report.to_html(folder / "report.html")
    report.to_json(folder / "report.json")


def _roles(options, probabilities):
    """Columns that each option names."""
    return {
        "--prediction": [options.prediction],
        "--target": [options.target] if options.target else [],
        "--exposure": [options.exposure] if options.exposure else [],
        "--baseline": [options.baseline] if options.baseline else [],
        "--sensitive": options.sensitive,
        "--probabilities": [column for columns in probabilities.values() for column in columns],
        "--control": options.control,
        "--features": options.features,
        "--legitimate": options.legitimate,
    }


def _read_prediction(table, name, option, experience, options):
    """Prediction per unit of exposure of the rows that take part."""
    values = table.numbers(name, option)[experience.rows]
    return values / experience.exposure if options.predictions_are == "total" else values


def _other_reading(experience, prediction, options):
    """Remark that the predictions look as if they were for another unit, where there are two."""
    if experience.target is None or not experience.weighted:
        return []
    exposure = experience.exposure
    observed, predicted = experience.target @ exposure, prediction @ exposure
    if options.predictions_are == "total":
        other, name = (prediction * exposure) @ exposure, "rate"
    else:
        other, name = prediction.sum(), "total"
    if min(observed, predicted, other) <= 0:
        return []

    def distance(value):
        return abs(np.log(value / observed))

    if distance(predicted) <= np.log(_FAR_OFF) or distance(other) >= distance(predicted) / 2:
        return []
    return [
        f"predicted / observed is {predicted / observed:.3g}, and would be {other / observed:.3g} with "
        f"--predictions-are {name}: check the unit of {options.prediction!r}"
    ]


def _task(experience, options):
    """What is predicted, and a remark on it where nobody has said it."""
    from fairdcov.report import TASK_NAMES, TASKS, find_task

    if options.task != "auto" or experience.target is None:
        return options.task, []
    task, reason = find_task(experience.target, experience.exposure)
    return task, [
        f"{options.prediction!r} is taken for a {TASK_NAMES[task]} and judged by the {TASKS[task][0]}, since {reason}; "
        "--task says otherwise"
    ]


def _check_predictions(experience, prediction, baseline, task, options):
    """Raise for predictions that the deviance of the task cannot judge, or that have no relative changes."""
    from fairdcov.report import PREDICTION_RANGES, TASKS, out_of_range

    if baseline is not None:
        for option, name, wrong, bound in (
            ("--baseline", options.baseline, baseline <= 0, "above 0"),
            ("--prediction", options.prediction, prediction < 0, "at least 0 beside a --baseline"),
        ):
            rows = np.flatnonzero(wrong)
            if len(rows):
                raise ValueError(
                    f"{option}: column {name!r} must be {bound}, since changes are relative; found {len(rows):,} other "
                    f"value(s), the first in data row {experience.rows[rows[0]] + 1}"
                )
    if experience.target is None:
        return
    wrong = np.flatnonzero(out_of_range(experience.target, prediction, task))
    if len(wrong):
        raise ValueError(
            f"--prediction: the {TASKS[task][0]} of --task {task} needs {PREDICTION_RANGES[task]}; column "
            f"{options.prediction!r} has {len(wrong):,} other value(s), the first is {prediction[wrong[0]]:g} in data "
            f"row {experience.rows[wrong[0]] + 1}: correct them or leave these rows out, or name the --task that the "
            "predictions are for (regression takes any)"
        )


def _check_gate(options):
    """Raise for a gate without a tolerance, and for tolerances that are none."""
    if options.tolerance is None:
        for option, given in (("--fail-if", options.fail_if), ("--fail-if-unsure", options.fail_if_unsure)):
            if given:
                raise ValueError(f"{option} needs --tolerance, the largest gap that is allowed")
    elif not 0 < options.tolerance < np.inf:
        raise ValueError(f"--tolerance must be a finite number > 0; found {options.tolerance:g}")


def _gate(report, options):
    """Exit code by the outcome of the audit."""
    if options.tolerance is None:
        return 0
    outcome = report.to_dict()["equivalence"]["outcome"]
    if outcome == "outside tolerance" and options.fail_if:
        print(f"exit code {_EXIT_OUTSIDE}: gaps are outside the tolerance of {options.tolerance:g}")
        return _EXIT_OUTSIDE
    # Who does not want to pass unless it is sure that gaps are within does not want to where it is sure they are not.
    if outcome != "within tolerance" and options.fail_if_unsure:
        print(f"exit code {_EXIT_UNSURE}: it is not sure that gaps are within the tolerance of {options.tolerance:g}")
        return _EXIT_UNSURE
    return 0


def run_audit(options):
    """Run the command with parsed options; the exit code is that of the gate."""
    started = time.perf_counter()
    _check_gate(options)
    if options.seed < 0:
        raise ValueError(f"--seed must be at least 0; found {options.seed}")
    if options.given is not None and options.target is None:
        raise ValueError(f"--given {options.given} needs --target, the observed values within whose strata to compare")
    if options.predictions_are == "total" and options.exposure is None:
        raise ValueError("--predictions-are total needs --exposure, by which the predictions are divided")
    check_output_folder(options.output, force=options.force, inputs=[options.predictions])
    import_optional("jinja2", "fairdcov audit")
    import_optional("matplotlib", "fairdcov audit")

    source = open_table(
        options.predictions, separator=options.separator, decimal=options.decimal, encoding=options.encoding
    )
    probabilities = read_probabilities(options.probabilities)
    options.control = split_names(options.control, source.names)
    roles = _roles(options, probabilities)
    source.check_names({**roles, "--categorical": options.categorical})
    needed = list(dict.fromkeys(name for names in roles.values() for name in names))
    table = source.read(needed, as_text=options.categorical)
    print(f"read {source.path}: {table.n_rows:,} rows, {len(needed)} of {len(source.names)} columns")
    columns = take_stock(table, roles)
    print_columns(columns)
    say_notes([*table.remarks, *notes_on_levels(columns, table.n_rows)])
    experience = read_experience(table, options.target, options.exposure)
    say_notes(experience.remarks)
    for name in options.control:
        if name in options.sensitive or name in roles["--probabilities"]:
            option = "--sensitive" if name in options.sensitive else "--probabilities"
            raise ValueError(f"--control names {name!r}, which {option} names already")
    protected = read_protected(table, options.sensitive, probabilities, experience.rows)
    bins = attribute_bins(protected.observed, options.bins)
    control, control_bins = read_control(table, options.control, options.control_bins, experience.rows)
    prediction = _read_prediction(table, options.prediction, "--prediction", experience, options)
    baseline = None
    if options.baseline:
        baseline = _read_prediction(table, options.baseline, "--baseline", experience, options)
    features = pd.DataFrame(
        {
            name: table.attribute(name, "--features").iloc[experience.rows].reset_index(drop=True)
            for name in dict.fromkeys([*options.features, *options.legitimate])
        }
    )
    if options.target is not None and options.sensitive:
        with notes_of_warnings(options.command):
            notes = groups_without_claims(experience, protected.observed, bins or None)
        say_notes(notes)
    task, remarks = _task(experience, options)
    _check_predictions(experience, prediction, baseline, task, options)
    say_notes(_other_reading(experience, prediction, options) + remarks)
    given = {"probabilities": probabilities} if probabilities else {}
    if control is not None:
        given |= {"control_features": control, "control_bins": control_bins}
    if options.given is not None:
        given["given"] = options.given
    report = audit_predictions(
        experience.target,
        prediction,
        protected.columns,
        sample_weight=experience.exposure if experience.weighted else None,
        features=features if features.shape[1] else None,
        baseline=baseline,
        bins=bins or None,
        task=options.task,
        legitimate_features=options.legitimate or None,
        min_group_size=options.min_group_size,
        tolerance=options.tolerance,
        tier_thresholds=options.tiers,
        **given,
        metadata={
            "file": source.path.name,
            "sha256": file_sha256(source.path),
            "prediction": options.prediction,
            "target": options.target,
            "exposure": options.exposure,
            **({"probabilities": probabilities} if probabilities else {}),
            **({"control": options.control} if options.control else {}),
            **({"given": options.given} if options.given else {}),
            "fairdcov": fairdcov.__version__,
        },
        options=options,
    )
    with output_folder(options.output, force=options.force, inputs=[options.predictions]) as folder:
        write_report(report, folder)
        report.to_markdown(folder / "report.md")
    print(report.summary)
    print(f"wrote report.html, report.json and report.md to {options.output} in {time.perf_counter() - started:.0f} s")
    return _gate(report, options)

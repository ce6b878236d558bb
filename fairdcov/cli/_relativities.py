"""The rating table of ``fit``: exact for a generalised linear model, distilled for others, and beside its model."""

import numpy as np

from fairdcov.actuarial import RatingTable, comparison_lines, relativities
from fairdcov.cli._cost import compare_rows
from fairdcov.cli._features import level_columns
from fairdcov.cli._models import MODELS, AddedToOffset, response
from fairdcov.cli._monotone import notes_on_table
from fairdcov.cli._remarks import notes_of_warnings, say_notes
from fairdcov.cli._wording import in_options

__all__ = ["write_relativities"]

_POWERS = {"poisson": 1.0, "negative_binomial": 1.0, "gamma": 2.0}


def _factor(rows):
    """What the table's premium is multiplied by: the prediction that was known before."""
    return 1.0 if rows.offset is None else np.exp(rows.offset)


def _make_table(model, book, options):
    fitted = book.fitted
    if fitted.offset is not None:
        model = AddedToOffset(model)
    # What is added counts by the premium it is added to.
    weights = fitted.weights if fitted.offset is None else fitted.exposure * _factor(fitted)
    if MODELS[options.model].rating_table:
        frame = relativities(model, fitted.features, sample_weight=weights, factors=book.names, max_levels=None)
        return RatingTable.from_relativities(frame)
    return RatingTable.from_model(
        model,
        fitted.features,
        sample_weight=weights,
        sensitive_features=fitted.sensitive,
        control_features=fitted.control,
        power=_POWERS.get(options.family, options.power),
    )


def write_relativities(folder, model, book, family, options):
    """Write relativities.csv of a model with log link, and print its balance and what it keeps of the model.

    A model whose predictions have no such table is said to have none: a model is worth more than its table.
    """
    try:
        with notes_of_warnings(options.command, level_columns(model)):
            table = _make_table(model, book, options)
    except ValueError as error:
        if MODELS[options.model].rating_table:
            raise
        say_notes([f"no relativities.csv: {in_options(str(error), options.command)}"])
        return
    table.to_csv(folder / "relativities.csv")
    fitted, held = book.fitted, book.held
    total = fitted.exposure @ response(model, fitted.features, fitted.offset)
    after = fitted.exposure @ (table.predict(fitted.features) * _factor(fitted)) / total
    how = f", distilled from the trees with a penalty of strength {table.strength:.3g}" if table.strength else ""
    print(
        f"relativities.csv: {table.n_relativities:,} relativities of {len(table.factors)} factors{how}; on the rows to "
        f"fit the table predicts {table.off_balance:.4f} of the model's total, {after:.6f} after its base premium was "
        "rebalanced"
    )
    with notes_of_warnings(options.command, level_columns(model)):
        predicted = response(model, held.features, held.offset)
        premium = table.predict(held.features, unknown="nearest") * _factor(held)
        compared = compare_rows(predicted, premium, held, book.bins, family, options, fidelity=True)
    say_notes(notes_on_table(options.monotone, table))
    if fitted.offset is not None:
        say_notes([f"relativities.csv is what the model adds to {options.offset}: multiply by exp({options.offset})"])
    print("  the table on the rows held back: " + "; ".join(comparison_lines(compared)))

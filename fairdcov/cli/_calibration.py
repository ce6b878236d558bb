"""The calibration that ``fit`` and ``demo`` share: its rows, the choice of a strength, what is said and kept of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairdcov import JSDivergenceCalibrator
from fairdcov.cli._features import level_columns
from fairdcov.cli._protected import Protected
from fairdcov.cli._remarks import kept_text, notes_of_warnings
from fairdcov.exceptions import CalibrationError

__all__ = ["Rows", "calibrate", "calibration_table", "calibration_text"]

# Of ``calibration_results_``, in the order of calibration.csv.
_COLUMNS = (
    "strengths",
    "mean_divergence",
    "std_error_divergence",
    "null_level",
    "mean_score",
    "std_error_score",
    "mean_explained",
    "kept",
)


@dataclass(frozen=True)
class Rows:
    """Rows that are fitted or held back, all in the same order; ``target`` is per unit of exposure."""

    features: pd.DataFrame
    protected: Protected
    target: np.ndarray
    exposure: np.ndarray
    weighted: bool
    control: pd.DataFrame | None = None
    control_bins: dict | int | None = None
    offset: np.ndarray | None = None
    claims: np.ndarray | None = None

    @property
    def sensitive(self):
        """What the library takes as ``sensitive_features``."""
        return self.protected.attributes

    @property
    def weights(self):
        """Weights to pass on, None without an exposure."""
        return self.exposure if self.weighted else None

    @property
    def metadata(self):
        """What a fit takes beside weights and attributes."""
        given = {"offset": self.offset, "claims": self.claims}
        return {name: values for name, values in given.items() if values is not None}

    def part(self, rows):
        """Some of the rows."""
        return Rows(
            self.features.iloc[rows].reset_index(drop=True),
            Protected(self.protected.columns.iloc[rows].reset_index(drop=True), self.protected.probabilities),
            self.target[rows],
            self.exposure[rows],
            self.weighted,
            None if self.control is None else self.control.iloc[rows].reset_index(drop=True),
            self.control_bins,
            None if self.offset is None else self.offset[rows],
            None if self.claims is None else self.claims[rows],
        )


def calibrate(pipeline, rows, bins, options, **settings):
    """A calibrator fitted to some rows; what it has to say is printed.

    Parameters
    ----------
    pipeline : Pipeline
        Whose step ``model`` has ``penalty`` and ``strength``.
    rows : Rows
        To fit.
    bins : dict or None
        How protected numbers are cut where groups are compared.
    options : Namespace
        Parsed options of the command: ``command``, ``seed`` and ``quiet``.
    **settings
        Of :class:`~fairdcov.JSDivergenceCalibrator`.

    Returns
    -------
    JSDivergenceCalibrator
    """
    if rows.control is not None:
        settings["control_bins"] = rows.control_bins
    calibrator = JSDivergenceCalibrator(
        pipeline, bins=bins, random_state=options.seed, verbose=not options.quiet, **settings
    )
    try:
        # Trees take features as they are, without a step before.
        with notes_of_warnings(options.command, level_columns(pipeline), trees=len(pipeline) == 1):
            calibrator.fit(
                rows.features,
                rows.target,
                rows.weights,
                sensitive_features=rows.sensitive,
                control_features=rows.control,
                **rows.metadata,
            )
    except CalibrationError as error:
        # What was computed shows which rule could be met.
        print(calibration_table(error.calibration_results).to_string(index=False, float_format="{:.5g}".format))
        raise
    return calibrator


def calibration_table(results, best_index=None):
    """Table of a calibration, a row for each strength."""
    table = pd.DataFrame({name: results[name] for name in _COLUMNS})
    return table if best_index is None else table.assign(chosen=np.arange(len(table)) == best_index)


def calibration_text(calibrator, score_name):
    """What a calibration has chosen, in a line."""
    results, best = calibrator.calibration_results_, calibrator.best_index_
    return (
        f"strength {calibrator.best_strength_:g}: divergence {results['mean_divergence'][0]:.4f} -> "
        f"{results['mean_divergence'][best]:.4f} (null level {results['null_level'][best]:.4f}), {score_name} "
        f"{results['mean_score'][0]:.4f} -> {results['mean_score'][best]:.4f}: {kept_text(results['kept'][best])}"
    )

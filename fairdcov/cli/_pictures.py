"""Pictures of a calibration."""

from typing import Any

from fairdcov._checks import import_optional
from fairdcov.plots import CalibrationDisplay, FrontierDisplay, GroupDistributionDisplay

__all__ = ["draw_calibrations", "save"]


def save(figure, file):
    """Write a figure and let go of it."""
    pyplot = import_optional("matplotlib.pyplot", "fairdcov: drawing")
    figure.savefig(file, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def draw_calibrations(folder, calibrators, chosen, before, after, *, score_name, **grouped):
    """Write ``calibration.png``, ``trade_off.png`` and ``distributions.png``.

    Parameters
    ----------
    folder : Path
        Where to.
    calibrators : dict of str to JSDivergenceCalibrator
        Fitted.
    chosen : str
        The one whose calibration is drawn.
    before, after : (n,) arrays
        Predictions without and with the penalty, on policies held back.
    score_name : str
        Name of the calibrators' score.
    **grouped
        ``sensitive_features``, ``sample_weight`` and ``bins`` of these policies.
    """
    import_optional("matplotlib", "fairdcov: drawing").use("Agg")
    model = f"{chosen}, strength {calibrators[chosen].best_strength_:g}"
    pictures: dict[str, Any] = {
        "calibration.png": CalibrationDisplay.from_estimator(calibrators[chosen], score_name=score_name),
        "trade_off.png": FrontierDisplay.from_calibrators(calibrators, score_name=score_name),
        "distributions.png": GroupDistributionDisplay.from_predictions(
            after, baseline=before, titles=("no penalty", model), **grouped
        ),
    }
    # Which measure was calibrated, and the strength chosen, where a picture is seen without what was printed.
    pictures["calibration.png"].figure_.suptitle(f"chosen: {model}")
    pictures["trade_off.png"].figure_.suptitle(f"chosen: {model}")
    for name, display in pictures.items():
        save(display.figure_, folder / name)

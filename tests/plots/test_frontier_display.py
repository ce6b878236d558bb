"""FrontierDisplay: points where they were computed, Pareto-optimal ones by definition."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mean_poisson_deviance

from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.metrics import gini, js_divergence
from fairdcov.plots import FrontierDisplay
from fairdcov.plots._frontier import _pareto_optimal
from fairdcov.plots._style import series_style

plt = pytest.importorskip("matplotlib.pyplot")

POINTS = {"a": ([0.03, 0.01, 0.002], [-0.50, -0.51, -0.53]), "b": ([0.02, 0.005], [-0.52, -0.515])}


@pytest.mark.parametrize("greater_is_better", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_pareto_optimal_is_what_nothing_dominates(rng, size, greater_is_better):
    # few distinct values, for ties in one or both
    divergence, score = rng.integers(0, 6, (2, size)).astype(float)
    cost = -score if greater_is_better else score
    as_good = (divergence[:, None] <= divergence) & (cost[:, None] <= cost)
    better = (divergence[:, None] < divergence) | (cost[:, None] < cost)
    dominated = (as_good & better).any(axis=0)
    assert _pareto_optimal(divergence, score, greater_is_better).tolist() == (~dominated).tolist()


def test_paths_are_lines_through_the_points(legend_texts):
    display = FrontierDisplay.from_points(POINTS)
    assert list(display.lines_) == ["a", "b"]
    for name, (divergence, score) in POINTS.items():
        assert_allclose(display.lines_[name].get_xdata(), divergence)
        assert_allclose(display.lines_[name].get_ydata(), score)
        assert display.lines_[name].get_linestyle() != "None"
    assert legend_texts(display)[:2] == ["a", "b"]


def test_pareto_optimal_points_are_filled(legend_texts):
    display = FrontierDisplay.from_points(POINTS)
    assert display.pareto_optimal_.tolist() == [True, True, True, False, True]
    assert_allclose(display.pareto_lines_["a"].get_xdata(), POINTS["a"][0])
    assert_allclose(display.pareto_lines_["b"].get_xdata(), [0.005])
    assert display.lines_["b"].get_markerfacecolor() == "white"
    assert display.pareto_lines_["b"].get_markerfacecolor() == display.lines_["b"].get_color()
    assert {"filled: Pareto-optimal", "hollow: another point is better"} <= set(legend_texts(display))


def test_chosen_points_have_rings(results, fake_calibrator, legend_texts):
    other = {**results, "mean_score": results["mean_score"] + 0.01}
    calibrators = {
        "one": fake_calibrator(4, scoring="r2", null_quantile=0.9),
        "two": fake_calibrator(2, other, scoring="r2"),
    }
    display = FrontierDisplay.from_calibrators(calibrators)
    for name, calibrator in calibrators.items():
        found, best = calibrator.calibration_results_, calibrator.best_index_
        assert_allclose(display.lines_[name].get_xdata(), found["mean_divergence"])
        assert_allclose(display.lines_[name].get_ydata(), found["mean_score"])
        assert_allclose(display.chosen_markers_[name].get_xdata(), found["mean_divergence"][best])
        assert_allclose(display.chosen_markers_[name].get_ydata(), found["mean_score"][best])
    texts = legend_texts(display)
    assert texts[:2] == ["one, chosen strength: 3.16", "two, chosen strength: 0.316"]
    assert {"up to the null level of every point (90 %)", "up to the null level of some points (90 %)"} < set(texts)
    # Rings of choices that are close are around each other, in the colours of their paths.
    rings = [display.chosen_markers_[name] for name in calibrators]
    assert rings[0].get_markersize() < rings[1].get_markersize()
    assert [ring.get_markeredgecolor() for ring in rings] == [display.lines_[name].get_color() for name in calibrators]
    assert display.ax_.get_ylabel() == "r2 (higher is better)"


def test_null_bands_from_the_smallest_to_the_largest_level(results, fake_calibrator):
    display = FrontierDisplay.from_calibrators({"one": fake_calibrator()}, divergence_scale="linear")
    spans = [(band.get_x(), band.get_x() + band.get_width()) for band in display.null_bands_]
    assert_allclose(
        spans, [(0, results["null_level"].min()), (results["null_level"].min(), results["null_level"].max())]
    )
    display = FrontierDisplay.from_points(POINTS, null_level=0.004, divergence_scale="linear")
    (band,) = display.null_bands_
    assert_allclose(band.get_width(), 0.004)
    assert FrontierDisplay.from_points(POINTS).null_bands_ == []


def test_a_null_level_that_cannot_be_seen_has_no_place_in_the_legend(results, fake_calibrator, legend_texts):
    calibrator = fake_calibrator()
    calibrator.calibration_results_["null_level"][-1] = 1e-6  # of a constant prediction
    display = FrontierDisplay.from_calibrators({"one": calibrator}, divergence_scale="linear")
    (band,) = display.null_bands_
    assert_allclose(band.get_x() + band.get_width(), results["null_level"].max())
    bands = [text.split(" (")[0] for text in legend_texts(display) if "null level" in text]
    assert bands == ["up to the null level of some points"]


def test_null_band_covers_the_left_of_a_log_axis():
    display = FrontierDisplay.from_points(POINTS, null_level=0.004, divergence_scale="log")
    (band,) = display.null_bands_
    assert band.get_x() < display.ax_.get_xlim()[0]
    assert_allclose(band.get_x() + band.get_width(), 0.004)
    display.figure_.draw_without_rendering()


def test_error_bars(results, fake_calibrator):
    display = FrontierDisplay.from_calibrators({"one": fake_calibrator()})
    across, upwards = (np.array(part.get_segments()) for part in display.errorbars_["one"].lines[2])
    assert_allclose(np.ptp(across[:, :, 0], axis=1), 2 * results["std_error_divergence"])
    assert_allclose(np.ptp(upwards[:, :, 1], axis=1), 2 * results["std_error_score"])
    assert FrontierDisplay.from_calibrators({"one": fake_calibrator()}, error_bars=False).errorbars_ == {}
    assert FrontierDisplay.from_points(POINTS).errorbars_ == {}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_points_of_a_frame(frame):
    table = {"name": list("aab"), "divergence": [0.2, 0.1, 0.3], "score": [1, 2, 3], "chosen": [False, True, False]}
    display = FrontierDisplay.from_points(frame(table))
    assert_allclose(display.lines_["a"].get_xdata(), [0.2, 0.1])
    assert_allclose(display.chosen_markers_["a"].get_xdata(), [0.1])
    assert display.points["strength"].isna().all()


def test_points_with_strengths_and_single_numbers(legend_texts):
    display = FrontierDisplay.from_points(
        {"path": ([0.2, 0.1], [1, 2], [0, 5], None, [0.1, 0.2]), "model": (0.15, 1.2)}, chosen={"path": 1}
    )
    assert legend_texts(display)[:2] == ["path, chosen strength: 5", "model"]
    assert list(display.errorbars_) == ["path"]


def test_predictions_are_measured(grouped):
    prediction, sensitive, weight = grouped
    target = np.random.default_rng(0).poisson(prediction).astype(float)
    flat = prediction * 0.5 + 0.05
    display = FrontierDisplay.from_predictions(
        target, {"one": prediction, "path": [prediction, flat]}, sensitive_features=sensitive, sample_weight=weight,
        n_permutations=5,
    )  # fmt: skip
    expected = js_divergence(None, prediction, sensitive_features=sensitive, sample_weight=weight)
    assert_allclose(display.lines_["one"].get_xdata(), expected)
    assert_allclose(
        display.lines_["path"].get_ydata(),
        [mean_poisson_deviance(target, values, sample_weight=weight) for values in (prediction, flat)],
    )
    assert display.points["null_level"].notna().all()
    assert display.ax_.get_ylabel() == "Poisson deviance (lower is better)"


def test_scoring_of_ones_own(grouped):
    prediction, sensitive, _ = grouped

    def total_error(y_true, y_pred, sample_weight=None):
        assert sample_weight is None
        return abs(y_true.sum() - y_pred.sum())

    options = {"sensitive_features": sensitive, "n_permutations": 0}
    display = FrontierDisplay.from_predictions(prediction, {"one": prediction}, scoring=total_error, **options)
    assert display.ax_.get_ylabel() == "total error (lower is better)"
    assert_allclose(display.lines_["one"].get_ydata(), 0)
    assert display.null_bands_ == []
    display = FrontierDisplay.from_predictions(
        prediction, {"one": prediction}, scoring=gini, greater_is_better=True, **options
    )
    assert display.ax_.get_ylabel() == "gini (higher is better)"


def test_numeric_attributes_need_bins_as_in_the_metrics(grouped):
    prediction, _, weight = grouped
    arguments = {"sensitive_features": pd.DataFrame({"age": weight * 100}), "n_permutations": 0}
    with pytest.raises(ValueError, match=r"pass bins=\{'age': 5\}"):
        FrontierDisplay.from_predictions(prediction, {"one": prediction}, **arguments)
    display = FrontierDisplay.from_predictions(prediction, {"one": prediction}, bins={"age": 5}, **arguments)
    expected = js_divergence(None, prediction, sensitive_features=arguments["sensitive_features"], bins={"age": 5})
    assert_allclose(display.points["divergence"], expected)


def test_scale_of_the_divergence():
    assert FrontierDisplay.from_points(POINTS).ax_.get_xscale() == "log"
    near = {"a": ([0.2, 0.1], [1, 2])}
    assert FrontierDisplay.from_points(near).ax_.get_xscale() == "linear"
    display = FrontierDisplay.from_points(near, divergence_scale="log")
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "Jensen–Shannon divergence between groups (bits, log scale)"
    with pytest.raises(ValueError, match="needs divergences above 0; the smallest is 0"):
        FrontierDisplay.from_points({"a": ([0.0, 0.1], [1, 2])}, divergence_scale="log")


def test_axes_of_the_caller_and_self():
    figure, ax = plt.subplots()
    display = FrontierDisplay.from_points(POINTS, ax=ax, lw=3)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.lines_["a"].get_linewidth() == 3
    assert display.plot(legend=False) is display
    assert display.legend_ is None


def test_first_thirty_paths_look_different():
    looks = {tuple(map(str, series_style(k).values())) for k in range(30)}
    assert len({look[:2] for look in looks}) == 30


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "at least one path"),
        ({"a": ([1, 2],)}, r"points\['a'\] must be \(divergence, score\)"),
        ({"a": ([1, 2], [1])}, r"score of 'a' must have shape \(2,\)"),
        ({"a": ([1, np.nan], [1, 2])}, "must be finite"),
        (pd.DataFrame({"name": ["a"], "score": [1]}), r"\['divergence'\] missing"),
    ],
)
def test_bad_points_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        FrontierDisplay.from_points(points)


@pytest.mark.parametrize(("chosen", "message"), [({"z": 0}, r"the paths are \['a', 'b'\]"), ({"b": 2}, "from 0 to 1")])
def test_bad_choice_is_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        FrontierDisplay.from_points(POINTS, chosen=chosen)


def test_bad_calibrators_and_predictions_are_refused(fake_calibrator, grouped):
    prediction, sensitive, _ = grouped
    with pytest.raises(TypeError, match="dict of name to fitted calibrator"):
        FrontierDisplay.from_calibrators([fake_calibrator()])
    with pytest.raises(NotFittedError):
        FrontierDisplay.from_calibrators({"a": JSDivergenceCalibrator(DCovPoissonRegressor())})
    with pytest.raises(ValueError, match=r"different scores.*\['gini', 'r2'\]"):
        FrontierDisplay.from_calibrators({"a": fake_calibrator(scoring="r2"), "b": fake_calibrator(scoring="gini")})
    poisson, gamma, other = (fake_calibrator() for _ in range(3))
    poisson.score_name_, gamma.score_name_ = "share of the Poisson deviance", "share of the gamma deviance"
    with pytest.raises(ValueError, match="different scores, which cannot share an axis"):
        FrontierDisplay.from_calibrators({"a": poisson, "b": gamma})
    assert FrontierDisplay.from_calibrators({"a": other, "b": gamma}).score_name == "share of the gamma deviance"
    with pytest.raises(TypeError, match="dict of name to predictions; found Series"):
        FrontierDisplay.from_predictions(prediction, prediction, sensitive_features=sensitive)
    with pytest.raises(ValueError, match="scoring must be one of 'poisson deviance'"):
        FrontierDisplay.from_predictions(prediction, {"a": prediction}, sensitive_features=sensitive, scoring="mse")


def test_missing_matplotlib_names_the_extra(without_matplotlib):
    with pytest.raises(ImportError, match=r"FrontierDisplay\.from_points .*fairdcov\[plots\]"):
        FrontierDisplay.from_points(POINTS)
    with pytest.raises(ImportError, match=r"FrontierDisplay\.plot .*fairdcov\[plots\]"):
        FrontierDisplay(points=None).plot()

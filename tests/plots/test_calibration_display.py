"""The artists of CalibrationDisplay are where the results are."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    JSDivergenceCalibrator,
)
from fairdcov.actuarial import Rebalancer
from fairdcov.datasets import make_motor_portfolio
from fairdcov.metrics import neg_rps_scorer
from fairdcov.plots import CalibrationDisplay, FrontierDisplay

plt = pytest.importorskip("matplotlib.pyplot")
to_rgba = pytest.importorskip("matplotlib.colors").to_rgba


def bar_ends(container):
    """Lower and upper ends of vertical error bars, (m, 2)."""
    (segments,) = (collection.get_segments() for collection in container.lines[2])
    return np.array([[low[1], high[1]] for low, high in segments])


def test_points_and_error_bars_are_the_results(results, fake_calibrator):
    display = CalibrationDisplay.from_estimator(fake_calibrator())
    for bars, what in ((display.divergence_errorbar_, "divergence"), (display.score_errorbar_, "score")):
        assert_allclose(bars.lines[0].get_xdata(), results["strengths"])
        assert_allclose(bars.lines[0].get_ydata(), results[f"mean_{what}"])
        mean, error = results[f"mean_{what}"], results[f"std_error_{what}"]
        assert_allclose(bar_ends(bars), np.column_stack([mean - error, mean + error]))


def test_chosen_strength_is_marked_in_both_panels(results, fake_calibrator, legend_texts):
    display = CalibrationDisplay.from_estimator(fake_calibrator(best_index=4))
    for marker, line, what in zip(display.best_markers_, display.best_lines_, ("divergence", "score"), strict=True):
        assert_allclose(marker.get_xdata(), results["strengths"][4])
        assert_allclose(marker.get_ydata(), results[f"mean_{what}"][4])
        assert_allclose(line.get_xdata(), results["strengths"][4])
        assert marker.axes is line.axes
    assert "chosen strength: 3.16 (null_level)" in legend_texts(display)


def test_null_band_reaches_from_the_bottom_to_the_null_level(results, fake_calibrator, legend_texts):
    display = CalibrationDisplay.from_estimator(fake_calibrator(null_quantile=0.95))
    corners = display.null_band_.get_paths()[0].vertices
    assert_allclose(corners[:, 1].max(), results["null_level"].max())
    assert_allclose(corners[:, 1].min(), display.axes_[0].get_ylim()[0])
    assert_allclose(display.null_line_.get_ydata(), results["null_mean"])
    assert "up to the null level (95 %)" in legend_texts(display)


@pytest.mark.parametrize(
    ("parameters", "limit", "height"),
    [
        ({"rule": "threshold", "max_divergence": 0.002}, "divergence_limit_", 0.002),
        ({"rule": "score_budget", "score_budget": 0.02}, "score_limit_", -0.51),
        ({"rule": lambda results: 0}, None, None),
        ({"rule": "elbow", "max_divergence": 0.002}, None, None),
    ],
)
def test_line_of_what_the_rule_allows(fake_calibrator, parameters, limit, height):
    display = CalibrationDisplay.from_estimator(fake_calibrator(**parameters))
    for name in ("divergence_limit_", "score_limit_"):
        line = getattr(display, name)
        if name == limit:
            assert_allclose(line.get_ydata(), height)
        else:
            assert line is None


def test_names_of_the_axes(fake_calibrator):
    display = CalibrationDisplay.from_estimator(fake_calibrator())
    assert display.axes_[0].get_ylabel() == "Jensen–Shannon divergence\n(bits)"
    assert display.axes_[1].get_ylabel() == "score\n(higher is better)"
    assert display.axes_[1].get_xlabel() == "strength of the penalty (log scale)"


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        ("neg_mean_poisson_deviance", "neg_mean_poisson_deviance"),
        (get_scorer("neg_mean_poisson_deviance"), "neg_mean_poisson_deviance"),
        (get_scorer("r2"), "r2_score"),
        (neg_rps_scorer, "neg_rps"),
        (np.mean, "mean"),
        (lambda estimator, X, y: 0.0, "score"),
        (None, "score"),
    ],
)
def test_name_of_the_score(fake_calibrator, scoring, name):
    display = CalibrationDisplay.from_estimator(fake_calibrator(scoring=scoring))
    assert display.axes_[1].get_ylabel().splitlines()[0] == name
    display = CalibrationDisplay.from_estimator(fake_calibrator(scoring=scoring), score_name="mine")
    assert display.axes_[1].get_ylabel().splitlines()[0] == "mine"


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (DCovPoissonRegressor(), "share of the Poisson deviance explained"),
        (
            make_pipeline(StandardScaler(), DCovTweedieRegressor(power=1.7)),
            "share of the Tweedie deviance of power",
        ),
        (DCovNegativeBinomialRegressor(dispersion=0.5), "share of the negative binomial deviance of dispersion 0.5"),
        (Rebalancer(DCovGammaRegressor()), "share of the gamma deviance explained"),
        (DCovRidge(), "R²"),
        (DCovTweedieRegressor(power=0), "R²"),
        (Ridge(), "R²"),
        (DCovLogisticRegression(), "accuracy"),
        (GridSearchCV(DCovRidge(), {}), "R²"),
        (GridSearchCV(DCovRidge(), {}, scoring="max_error"), "score"),
        (BaseEstimator(), "score"),
    ],
)
def test_name_of_what_the_estimator_scores_by(results, estimator, name):
    calibrator = JSDivergenceCalibrator(estimator)
    calibrator.calibration_results_, calibrator.best_index_ = results, 2
    for display in (
        CalibrationDisplay.from_estimator(calibrator).axes_[1],
        FrontierDisplay.from_calibrators({"one": calibrator}).ax_,
    ):
        assert display.get_ylabel().replace("\n", " ").startswith(name)


def test_strengths_are_spaced_by_factors_with_a_place_for_zero(results):
    display = CalibrationDisplay.from_results(results)
    panel = display.axes_[1]
    places = panel.transData.transform(np.column_stack([results["strengths"], np.full(8, -0.5)]))[:, 0]
    steps = np.diff(places)
    assert_allclose(steps[1:], steps[1], rtol=1e-6)
    assert steps[0] > 0.5 * steps[1]
    left, right = panel.transData.transform([[panel.get_xlim()[0], -0.5], [panel.get_xlim()[1], -0.5]])[:, 0]
    assert left < places[0]
    assert places[-1] < right
    assert_allclose(display.axes_[0].get_xlim(), panel.get_xlim())


def test_few_strengths_are_the_ticks():
    display = CalibrationDisplay.from_results(
        {"strengths": [0, 3, 30], "mean_divergence": [0.03, 0.01, 0.004], "mean_score": [1.0, 0.9, 0.7]}
    )
    assert_allclose(display.axes_[1].get_xticks(), [0, 3, 30])
    assert [label.get_text() for label in display.axes_[1].get_xticklabels()] == ["0", "3", "30"]
    assert not any(label.get_text() for label in display.axes_[0].get_xticklabels())


@pytest.mark.parametrize("strengths", [[0.0], [2.0], [0.0, 1.0], [1.0, 10.0], [1.0, 1.01, 1.02], [0.0, 1e-9, 1e9]])
def test_any_set_of_strengths_can_be_drawn(strengths):
    m = len(strengths)
    display = CalibrationDisplay.from_results(
        {"strengths": strengths, "mean_divergence": np.linspace(0.1, 0.01, m), "mean_score": np.zeros(m)}, m - 1
    )
    display.figure_.draw_without_rendering()
    low, high = display.axes_[1].get_xlim()
    assert low < strengths[0]
    assert high > strengths[-1]


@pytest.mark.parametrize(
    ("scale", "divergence", "expected"),
    [
        ("auto", [0.1, 0.05], "linear"),
        ("auto", [0.1, 0.001], "log"),
        ("auto", [0.1, 0.0], "linear"),
        ("linear", [0.1, 0.001], "linear"),
        ("log", [0.1, 0.05], "log"),
    ],
)
def test_scale_of_the_divergence(scale, divergence, expected):
    results = {"strengths": [0, 1], "mean_divergence": divergence, "mean_score": [0, 0]}
    display = CalibrationDisplay.from_results(results, divergence_scale=scale)
    assert display.axes_[0].get_yscale() == expected
    low, high = display.axes_[0].get_ylim()
    assert low <= min(divergence)
    assert high > max(divergence)


def test_zero_divergence_everywhere_is_drawn():
    results = {"strengths": [0, 1], "mean_divergence": [0, 0], "mean_score": [0, 0], "null_level": [0, 0]}
    CalibrationDisplay.from_results(results).figure_.draw_without_rendering()
    with pytest.raises(ValueError, match="needs a divergence above 0"):
        CalibrationDisplay.from_results(results, divergence_scale="log")


def test_only_what_is_known_is_drawn(results, legend_texts):
    needed = {name: results[name] for name in ("strengths", "mean_divergence", "mean_score")}
    display = CalibrationDisplay.from_results(needed)
    assert display.null_band_ is display.null_line_ is display.divergence_limit_ is None
    assert display.best_markers_ == display.best_lines_ == []
    assert legend_texts(display) == ["divergence", "score"]
    assert CalibrationDisplay.from_results(needed, legend=False).legend_ is None


def test_plot_returns_the_display_and_draws_again(results):
    display = CalibrationDisplay.from_results(pd.DataFrame({k: results[k] for k in list(results)[:7]}), 2)
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first


def test_axes_of_the_caller(results):
    figure, axes = plt.subplots(2, 1)
    display = CalibrationDisplay.from_results(results, ax=axes)
    assert display.figure_ is figure
    assert list(display.axes_) == list(axes)

    figure, axes = plt.subplots(1, 2, layout="constrained")
    display = CalibrationDisplay.from_results(results, ax=axes[0])
    assert display.figure_ is figure
    assert len(figure.axes) == 4
    figure.draw_without_rendering()
    assert display.legend_.get_window_extent().y1 < display.axes_[1].xaxis.label.get_window_extent().y0
    assert all(panel.get_position().x1 < axes[1].get_position().x0 for panel in display.axes_)

    with pytest.raises(ValueError, match=r"one Axes or 2 of them .* found 3"):
        CalibrationDisplay.from_results(results, ax=plt.subplots(3)[1])
    with pytest.raises(ValueError, match="not part of a grid"):
        CalibrationDisplay.from_results(results, ax=plt.figure().add_axes((0.1, 0.1, 0.8, 0.8)))


def test_options_of_the_artists(results):
    display = CalibrationDisplay.from_results(
        results, 1, max_divergence=0.01, c="red", lw=4, capsize=0, null_kw={"alpha": 0.3}, best_kw={"ms": 20},
        limit_kw={"ls": ":"},
    )  # fmt: skip
    line = display.divergence_errorbar_.lines[0]
    assert (line.get_color(), line.get_linewidth()) == ("red", 4)
    assert to_rgba(display.null_band_.get_facecolor()[0])[3] == pytest.approx(0.3)
    assert display.best_markers_[0].get_markersize() == 20
    assert display.divergence_limit_.get_linestyle() == ":"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_score": None}, "'mean_score' missing"),
        ({"mean_score": [1.0]}, r"mean_score must have shape \(8,\); found \(1,\)"),
        ({"null_level": np.ones((8, 2))}, r"null_level must have shape \(8,\)"),
        ({"strengths": np.arange(8.0)[::-1]}, "increasing and not negative"),
        ({"strengths": np.arange(8.0) - 1}, "increasing and not negative"),
    ],
)
def test_bad_results_are_refused(results, change, message):
    results = {name: value for name, value in (results | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        CalibrationDisplay.from_results(results)


@pytest.mark.parametrize("best_index", [-1, 8, 1.5])
def test_bad_index_is_refused(results, best_index):
    with pytest.raises(ValueError, match="whole number from 0 to 7"):
        CalibrationDisplay.from_results(results, best_index)


def test_unknown_scale_is_refused(results):
    with pytest.raises(ValueError, match="divergence_scale must be one of 'auto', 'linear', 'log'"):
        CalibrationDisplay.from_results(results, divergence_scale="sqrt")


def test_unfitted_calibrator_is_refused():
    with pytest.raises(NotFittedError):
        CalibrationDisplay.from_estimator(JSDivergenceCalibrator(DCovPoissonRegressor()))
    with pytest.raises(TypeError, match="a fitted JSDivergenceCalibrator is needed; found dict"):
        CalibrationDisplay.from_estimator({})


def test_missing_matplotlib_names_the_extra(results, fake_calibrator, without_matplotlib):
    with pytest.raises(ImportError, match=r"CalibrationDisplay\.plot .*fairdcov\[plots\]"):
        CalibrationDisplay(strengths=[0], mean_divergence=[0], mean_score=[0]).plot()
    with pytest.raises(ImportError, match=r"fairdcov\[plots\]"):
        CalibrationDisplay.from_estimator(fake_calibrator())
    with pytest.raises(ImportError, match=r"fairdcov\[plots\]"):
        CalibrationDisplay.from_results(results)


def test_real_calibrator():
    book = make_motor_portfolio(2000, random_state=0)
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-3), strengths=[0, 1, 30], rule="threshold", max_divergence=0.5, cv=2, verbose=0,
        bins={"age": 2}, n_permutations=5, scoring="neg_mean_poisson_deviance",
    )  # fmt: skip
    X = book.data[["mileage", "vehicle_power"]]
    calibrator.fit(X, book.target, sensitive_features=book.sensitive_features)
    display = CalibrationDisplay.from_estimator(calibrator)
    found = calibrator.calibration_results_
    assert_allclose(display.score_errorbar_.lines[0].get_ydata(), found["mean_score"])
    assert_allclose(display.best_markers_[0].get_xdata(), calibrator.best_strength_)
    assert_allclose(display.divergence_limit_.get_ydata(), 0.5)
    display.figure_.draw_without_rendering()

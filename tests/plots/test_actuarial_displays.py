"""Displays of lift, order, one-way analyses and premium changes: artists show the tables, whatever levels are named."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose

from fairdcov.actuarial import double_lift_table, lift_table, one_way, premium_change_by_group, premium_changes
from fairdcov.metrics import gini, lorenz_curve
from fairdcov.plots import (
    DoubleLiftDisplay,
    LiftDisplay,
    LorenzDisplay,
    OneWayDisplay,
    PremiumChangeDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot")
to_hex = pytest.importorskip("matplotlib.colors").to_hex


@pytest.fixture
def book(rng):
    """800 policies with a factor of 20 levels, some of them with names that mean no good."""
    n = 800
    names = ["<script>", "=SUM(A1)", "$a$ and $b$", "two\nlines", *(f"level {k}" for k in range(16))]
    frame = pd.DataFrame({"vehicle": rng.choice(names, n), "gender": rng.choice(["f", "m"], n)})
    frame["exposure"] = rng.choice([0.0, 0.5, 1.0], n, p=[0.05, 0.35, 0.6])
    frame["y_pred"] = rng.gamma(4.0, 0.1, n)
    frame["baseline"] = rng.gamma(8.0, 0.05, n)
    claims = rng.poisson(frame["exposure"] * frame["y_pred"])
    frame["y_true"] = np.divide(claims, frame["exposure"], out=np.zeros(n), where=frame["exposure"] > 0)
    return frame


def draw(kind, book, **options):
    """One display of each kind from the same book."""
    options = {"sample_weight": book["exposure"]} | options
    y_true, y_pred, baseline, factors = (book[c] for c in ("y_true", "y_pred", "baseline", ["vehicle", "gender"]))
    if kind is LiftDisplay or kind is LorenzDisplay:
        return kind.from_predictions(y_true, y_pred, **options)
    if kind is DoubleLiftDisplay:
        return kind.from_predictions(y_true, y_pred, baseline, **options)
    if kind is OneWayDisplay:
        return kind.from_predictions(y_true, y_pred, factors, **options)
    return kind.from_predictions(y_pred, baseline, factors, **options)


KINDS = [LiftDisplay, DoubleLiftDisplay, LorenzDisplay, OneWayDisplay, PremiumChangeDisplay]


def ends(collection):
    """Ends of the straight lines of a collection, (m, 2, 2)."""
    return np.array([path.vertices for path in collection.get_paths()])


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def assert_shows(line, x, y):
    assert_allclose(line.get_xdata(), x)
    assert_allclose(line.get_ydata(), y)


def test_lift(book):
    display = draw(LiftDisplay, book, n_bins=8, target_name="claims per year")
    table = lift_table(book["y_true"], book["y_pred"], sample_weight=book["exposure"], n_bins=8)
    assert_shows(display.predicted_line_, table["bin"], table["predicted"])
    assert_shows(display.observed_line_, table["bin"], table["observed"])
    intervals = ends(display.intervals_)
    assert_allclose(intervals[:, 0, 1], table["lower"] * table["predicted"])
    assert_allclose(intervals[:, 1, 1], table["upper"] * table["predicted"])
    assert (intervals[:, 0, 1] <= table["observed"]).all()
    assert (intervals[:, 1, 1] >= table["observed"]).all()
    assert display.ax_.get_ylabel() == "claims per year"
    assert texts(display.legend_) == ["predicted", "observed"]
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == [str(k) for k in range(1, 9)]
    low, high = display.ax_.get_ylim()
    assert low <= 0
    assert high > table[["observed", "predicted"]].to_numpy().max()


def test_intervals_of_few_claims_do_not_squeeze_the_rest():
    display = LiftDisplay.from_predictions([0.0, 1.0, 0.0, 0.0], [0.01, 0.02, 0.03, 0.04], n_bins=4)
    assert np.isfinite(display.ax_.get_ylim()).all()
    assert ends(display.intervals_)[:, 1, 1].max() > display.ax_.get_ylim()[1]
    # amounts in single rows have no interval
    display = LiftDisplay.from_predictions([0.5, 1.5, 2.5], [1.0, 2.0, 3.0], n_bins=3)
    assert np.isnan(ends(display.intervals_)[:, :, 1]).all()
    assert display.observed_line_.get_ydata().tolist() == [0.5, 1.5, 2.5]


def test_double_lift(book):
    display = draw(DoubleLiftDisplay, book, n_bins=20, names=("fair", "present"))
    table = double_lift_table(
        book["y_true"], book["y_pred"], book["baseline"], sample_weight=book["exposure"], n_bins=20
    )
    for line, name in (
        (display.predicted_line_, "predicted"),
        (display.baseline_line_, "baseline"),
        (display.observed_line_, "observed"),
    ):
        assert_shows(line, table["bin"], table[name])
    assert_allclose(ends(display.intervals_)[:, 0, 1], table["lower"] * table["predicted"])
    assert texts(display.legend_) == ["fair", "present", "observed"]
    assert "ratio of fair to present" in display.ax_.get_xlabel()
    ticks = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert len(ticks) == 10  # of 20 bins every second one is numbered
    assert_allclose([float(tick) for tick in ticks], table["ratio"][::2], rtol=0.01)
    # what can be told by colour can be told without
    lines = [display.predicted_line_, display.baseline_line_, display.observed_line_]
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 3


def test_lorenz(book):
    models = {"new": book["y_pred"], "$old$": book["baseline"]}
    display = LorenzDisplay.from_predictions(book["y_true"], models, sample_weight=book["exposure"], best=True)
    for name, predictions in models.items():
        exposure, observed = lorenz_curve(book["y_true"], predictions, sample_weight=book["exposure"])
        assert_shows(display.lines_[name], exposure, observed)
        index = gini(book["y_true"], predictions, sample_weight=book["exposure"])
        assert display.gini[name] == index
        # the index is twice the area between the diagonal and the line that is drawn
        x, y = display.lines_[name].get_data()
        assert_allclose(index, 2 * np.trapezoid(x - y, x), rtol=1e-9)
    best = gini(book["y_true"], book["y_true"], sample_weight=book["exposure"])
    assert texts(display.legend_) == [
        f"new: Gini {display.gini['new']:.3f}",
        rf"\$old\$: Gini {display.gini['$old$']:.3f}",
        f"order of the observed values: Gini {best:.3f}",
        "no order: Gini 0",
    ]
    x, lowest = display.best_line_.get_data()
    assert (lowest <= np.interp(x, *display.lines_["new"].get_data()) + 1e-12).all()
    assert display.plot().best_line_ is None
    with pytest.raises(ValueError, match="no positive value of positive weight"):
        LorenzDisplay.from_predictions([0.0, 0.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one model"):
        LorenzDisplay.from_predictions([0.0, 1.0], {})
    with pytest.raises(ValueError, match="best=True needs the curve"):
        LorenzDisplay(curves=display.curves, gini=display.gini).plot(best=True)
    constant = LorenzDisplay.from_predictions(book["y_true"], np.ones(len(book)))
    assert constant.gini["predictions"] == 0
    assert_shows(constant.lines_["predictions"], [0, 1], [0, 1])


def test_one_way(book):
    display = draw(OneWayDisplay, book, baseline=book["baseline"], names=("fair", "present"))
    table = one_way(
        book["y_true"],
        book["y_pred"],
        book[["vehicle", "gender"]],
        sample_weight=book["exposure"],
        baseline=book["baseline"],
    )
    left, right = display.axes_
    places = left.get_yticks()
    assert len(places) == len(table) == 22
    assert (np.diff(places) > 0.99).all()
    low, high = left.get_xlim()
    shown = table["actual_to_expected"].between(low, high).to_numpy()
    assert shown.sum() >= 20  # those of at least 1 % are always on the axis
    assert_allclose(display.points_.get_xdata()[shown], table["actual_to_expected"][shown])
    assert np.isnan(display.points_.get_xdata()[~shown]).all()
    against = table["actual_to_baseline"].between(low, high)
    assert_allclose(display.baseline_points_.get_xdata()[against], table["actual_to_baseline"][against])
    assert (display.baseline_points_.get_ydata() > display.points_.get_ydata()).all()
    assert_allclose(ends(display.intervals_)[:, :, 0], table[["lower", "upper"]])
    assert_allclose(ends(display.intervals_)[:, 0, 1], display.points_.get_ydata())
    assert_allclose([bar.get_width() for bar in display.bars_], 100 * table["share"])
    assert_allclose([bar.get_y() + bar.get_height() / 2 for bar in display.bars_], places)
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first level on top
    assert texts(display.legend_) == ["fair", "present"]
    assert draw(OneWayDisplay, book).legend_ is None


def test_names_of_levels_are_text(book):
    display = draw(OneWayDisplay, book)
    labels = [tick.get_text() for tick in display.axes_[0].get_yticklabels()]
    assert {"<script>", "=SUM(A1)", r"\$a\$ and \$b\$", "two lines"} <= set(labels)
    assert {text.get_text() for text in display.axes_[0].texts} == {"vehicle", "gender"}
    odd = {"$x$ and $y$": ["$\\frac{$", "$\\nothing$", "m" * 99]}
    display = OneWayDisplay.from_predictions([1.0, 0.0, 2.0], [1.0, 1.0, 1.0], odd)
    display.figure_.canvas.draw()
    assert max(len(tick.get_text()) for tick in display.axes_[0].get_yticklabels()) < 50


def test_labels_do_not_overlap_at_twenty_levels(book):
    for kind in (OneWayDisplay, PremiumChangeDisplay):
        display = draw(kind, book)
        display.figure_.canvas.draw()
        renderer = display.figure_.canvas.get_renderer()
        left = display.axes_[0]
        boxes = [item.get_window_extent(renderer) for item in [*left.get_yticklabels(), *left.texts]]
        boxes.sort(key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 + 1 for a, b in pairwise(boxes))
        width, height = display.figure_.get_size_inches() * display.figure_.dpi
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.y1 <= height and box.x1 <= width for box in boxes)


def test_a_tiny_level_is_at_the_end_of_the_axis_with_its_number():
    y_true, y_pred = np.ones(2001), np.ones(2001)
    y_true[-1] = 40.0
    levels = ["a"] * 1000 + ["b"] * 1000 + ["tiny"]
    display = OneWayDisplay.from_predictions(y_true, y_pred, levels)
    high = display.axes_[0].get_xlim()[1]
    assert high < 2
    assert [text.get_text() for text in display.beyond_] == ["40"]
    assert display.beyond_[0].xy[0] == high
    assert np.isnan(display.points_.get_xdata()[-1])
    # nothing expected, nothing to show, and the rest is drawn
    nothing = OneWayDisplay.from_predictions([0, 1, 1], [0.0, 1.0, 1.0], ["none", "some", "some"])
    assert np.isnan(nothing.points_.get_xdata()).tolist() == [True, False]
    assert nothing.beyond_ == []


@pytest.mark.parametrize("intersections", [False, True])
def test_premium_changes(book, intersections):
    factors = ["gender", "vehicle"] if intersections else ["vehicle", "gender"]
    display = PremiumChangeDisplay.from_predictions(
        book["y_pred"],
        book["baseline"],
        book[factors],
        sample_weight=book["exposure"],
        intersections=intersections,
    )
    arguments = book["y_pred"], book["baseline"]
    table = premium_changes(*arguments, book[factors], sample_weight=book["exposure"])
    if intersections:
        groups = premium_change_by_group(*arguments, book[factors], sample_weight=book["exposure"])
        table = pd.concat([table.iloc[:1], groups], ignore_index=True)
        assert display.axes_[0].get_yticklabels()[1].get_text().startswith("f × ")
        assert display.axes_[0].texts[0].get_text() == "gender × vehicle"
    percent = 100 * table.select_dtypes("number")
    places = display.axes_[0].get_yticks()
    assert_allclose(ends(display.ranges_)[:, :, 0], percent[["quantile_5", "quantile_95"]])
    assert_allclose(ends(display.halves_)[:, :, 0], percent[["quantile_25", "quantile_75"]])
    assert_shows(display.medians_, percent["quantile_50"], places)
    assert_shows(display.totals_, percent["change"], places)
    assert_allclose([bar.get_width() for bar in display.up_bars_], percent["share_up"])
    assert_allclose([bar.get_width() for bar in display.down_bars_], -percent["share_down"])
    right = display.axes_[1]
    assert [right.get_title(loc=side) for side in ("left", "right")] == ["pays less", "pays more"]
    # the sides differ in more than colour
    assert display.up_bars_[0].get_hatch()
    assert not display.down_bars_[0].get_hatch()
    assert texts(display.legend_) == ["5 to 95 % of the changes", "25 to 75 %", "median", "change of the total"]


def test_without_attributes_there_is_the_book(book):
    display = PremiumChangeDisplay.from_predictions(book["y_pred"], book["baseline"])
    assert [tick.get_text() for tick in display.axes_[0].get_yticklabels()] == ["all rows"]
    assert len(display.axes_[0].texts) == 0
    unchanged = PremiumChangeDisplay.from_predictions(book["baseline"], book["baseline"])
    assert unchanged.medians_.get_xdata().tolist() == [0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_axes_of_the_caller_and_self(book, kind):
    figure, ax = plt.subplots(layout="constrained")
    display = draw(kind, book, ax=ax)
    assert display.figure_ is figure
    if hasattr(display, "ax_"):
        assert display.ax_ is ax
    else:
        assert not ax.axison
        assert len(figure.axes) == 3
        pair = plt.subplots(1, 2)[1]
        assert draw(kind, book, ax=pair).axes_.tolist() == pair.tolist()
        with pytest.raises(ValueError, match="found 3"):
            draw(kind, book, ax=plt.subplots(1, 3)[1])
    figure.canvas.draw()
    assert display.plot() is display
    assert display.figure_ is not figure
    assert display.plot(legend=False).legend_ is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_from_polars_and_in_any_order(rng, book, kind):
    expected = draw(kind, book)
    shuffled = draw(kind, book.iloc[rng.permutation(len(book))])
    polars = draw(kind, pl.from_pandas(book))
    for name in ("predicted_line_", "points_", "medians_"):
        if hasattr(expected, name):
            for other in (shuffled, polars):
                assert_shows(getattr(other, name), *getattr(expected, name).get_data())
    if kind is LorenzDisplay:
        for other in (shuffled, polars):
            assert_shows(other.lines_["predictions"], *expected.lines_["predictions"].get_data())


def test_options_of_the_artists(book):
    assert draw(LiftDisplay, book, c="red", interval_kw={"lw": 3}).predicted_line_.get_color() == "red"
    display = draw(LiftDisplay, book, interval_kw={"lw": 3}, observed_kw={"marker": "*"})
    assert display.intervals_.get_linewidth() == 3
    assert display.observed_line_.get_marker() == "*"
    assert draw(DoubleLiftDisplay, book, baseline_kw={"ls": ":"}).baseline_line_.get_linestyle() == ":"
    assert draw(LorenzDisplay, book, diagonal_kw={"lw": 5}).diagonal_.get_linewidth() == 5
    display = draw(OneWayDisplay, book, ms=9, interval_kw={"lw": 4}, bar_kw={"color": "black"})
    assert display.points_.get_markersize() == 9
    assert display.intervals_.get_linewidth() == 4
    assert to_hex(display.bars_[0].get_facecolor()) == "#000000"
    display = draw(PremiumChangeDisplay, book, marker="x", range_kw={"color": "black"}, bar_kw={"height": 0.3})
    assert display.medians_.get_marker() == "x"
    assert to_hex(display.ranges_.get_color()[0]) == "#000000"
    assert_allclose(display.up_bars_[0].get_height(), 0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_matplotlib_names_the_extra(book, without_matplotlib, kind):
    with pytest.raises(ImportError, match=rf"{kind.__name__}\.from_predictions .*fairdcov\[plots\]"):
        draw(kind, book)


def test_a_level_that_is_called_like_its_factor():
    display = OneWayDisplay.from_predictions([1.0, 2.0], [1.0, 1.0], {"diesel": ["diesel", "other"]})
    assert [text.get_text() for text in display.axes_[0].texts] == ["diesel"]
    assert [tick.get_text() for tick in display.axes_[0].get_yticklabels()] == ["diesel", "other"]

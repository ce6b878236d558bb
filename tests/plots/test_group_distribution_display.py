"""GroupDistributionDisplay: weighted curves, which groups are in colour, labels, the same axes before and after."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression

from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import group_densities, js_divergence, null_distribution
from fairdcov.plots import GroupDistributionDisplay
from fairdcov.plots._style import group_label, plain_number, series_style

plt = pytest.importorskip("matplotlib.pyplot")

GREY = "0.72"


def coloured(display, title=""):
    return [k for k, line in enumerate(display.density_lines_[title]) if line.get_color() != GREY]


def test_twenty_groups_most_of_them_grey(grouped, legend_texts):
    prediction, sensitive, _ = grouped
    display = GroupDistributionDisplay.from_predictions(prediction, sensitive_features=sensitive, n_permutations=5)
    assert display.axes_.shape == (2, 1)
    assert len(display.density_lines_[""]) == len(display.cdf_lines_[""]) == 20
    assert all(len(panel.lines) == 21 for panel in display.axes_.flat)
    assert sorted(coloured(display)) == sorted(display.groups_shown)
    texts = legend_texts(display)
    assert len(texts) == 6
    assert "f × r0" in texts
    assert texts[-2:] == ["all rows", "16 other groups"]
    assert display.legend_.get_title().get_text() == "gender × region"


def test_coloured_lines_differ_in_style_too(grouped):
    prediction, sensitive, _ = grouped
    display = GroupDistributionDisplay.from_predictions(
        prediction, sensitive_features=sensitive, groups_shown=12, n_permutations=0
    )
    lines = [display.density_lines_[""][k] for k in display.groups_shown]
    for position, line in enumerate(lines):
        assert line.get_color() == series_style(position)["color"]
        assert line.is_dashed() == (series_style(position)["linestyle"] != "-")


def test_curves_are_the_weighted_ones(grouped):
    prediction, sensitive, weight = grouped
    display = GroupDistributionDisplay.from_predictions(
        prediction, sensitive_features=sensitive["gender"], sample_weight=weight, n_permutations=0
    )
    densities = group_densities(prediction, sensitive_features=sensitive["gender"], sample_weight=weight)
    part = display.distributions[""]
    for k, level in enumerate(["f", "m"]):
        assert_allclose(display.density_lines_[""][k].get_ydata(), densities.densities[k])
        rows = (sensitive["gender"] == level).to_numpy()
        expected = [weight[rows & (prediction <= x)].sum() / weight[rows].sum() for x in part.grid[::50]]
        assert_allclose(display.cdf_lines_[""][k].get_ydata()[::50], expected, atol=1e-12)
        assert_allclose(display.cdf_lines_[""][k].get_xdata(), part.grid)
    pooled = [weight[prediction <= x].sum() / weight.sum() for x in part.grid[::50]]
    assert_allclose(display.pooled_lines_[1].get_ydata()[::50], pooled, atol=1e-12)
    assert_allclose(part.means, [np.average(prediction[r], weights=weight[r]) for r in
                                 (sensitive["gender"] == "f", sensitive["gender"] == "m")])  # fmt: skip


def test_integer_weights_are_repetitions(grouped):
    prediction, sensitive, _ = grouped
    prediction, sensitive = prediction[:400], sensitive["gender"].to_numpy()[:400]
    weight = np.arange(400) % 4
    options = {"bandwidth": 0.01, "n_permutations": 0}
    weighted = GroupDistributionDisplay.from_predictions(
        prediction, sensitive_features=sensitive, sample_weight=weight, **options
    )
    repeated = GroupDistributionDisplay.from_predictions(
        np.repeat(prediction, weight), sensitive_features=np.repeat(sensitive, weight), **options
    )
    one, other = weighted.distributions[""], repeated.distributions[""]
    for name in ("grid", "densities", "cdfs", "pooled_cdf", "means", "shares"):
        assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12)


def test_before_and_after_share_axes_and_groups(grouped):
    prediction, sensitive, weight = grouped
    after = 0.2 * prediction + 0.8 * prediction.mean()
    display = GroupDistributionDisplay.from_predictions(
        after, baseline=prediction, sensitive_features=sensitive, sample_weight=weight, n_permutations=10
    )
    assert display.axes_.shape == (2, 2)
    assert list(display.distributions) == ["before", "after"]
    assert coloured(display, "before") == coloured(display, "after")
    for row in display.axes_:
        assert_allclose(row[0].get_xlim(), row[1].get_xlim())
        assert_allclose(row[0].get_ylim(), row[1].get_ylim())
    assert_allclose(display.axes_[0, 0].get_xlim(), display.axes_[1, 0].get_xlim())
    for title, values in (("before", prediction), ("after", after)):
        null = null_distribution(
            js_divergence, None, values, sensitive_features=sensitive, sample_weight=weight, n_permutations=10,
            random_state=0,
        )  # fmt: skip
        part = display.distributions[title]
        assert_allclose(part.divergence, null.observed)
        assert_allclose(part.null_level, null.quantile(0.95))
    first = display.axes_[0, 0].get_title().splitlines()
    assert first[0] == "before"
    assert first[1] == f"JSD {plain_number(display.distributions['before'].divergence)} bits"
    assert first[2].startswith("null level 0.")


def test_farthest_groups_come_from_the_baseline(grouped):
    prediction, sensitive, _ = grouped
    later = np.where((sensitive["gender"] == "m") & (sensitive["region"] == "r5"), prediction + 0.2, prediction)
    options = {"sensitive_features": sensitive, "groups_shown": 1, "n_permutations": 0}
    display = GroupDistributionDisplay.from_predictions(later, baseline=prediction, **options)
    assert [display.labels[k] for k in display.groups_shown] == [("f", "r0")]


def test_a_small_group_does_not_come_first_by_chance(rng):
    group = np.array(["tiny"] * 5 + ["far"] * 1000 + ["a", "b", "c"] * 1000)
    prediction = rng.normal(size=len(group)) + 0.5 * (group == "far")
    display = GroupDistributionDisplay.from_predictions(
        prediction, sensitive_features=group, groups_shown=1, n_permutations=0
    )
    assert [display.labels[k] for k in display.groups_shown] == [("far",)]


def test_groups_shown_by_label_or_name_in_the_order_of_their_means(grouped):
    prediction, sensitive, _ = grouped
    options = {"sensitive_features": sensitive, "n_permutations": 0}
    display = GroupDistributionDisplay.from_predictions(prediction, groups_shown=[("f", "r0"), "m × r3"], **options)
    assert [display.labels[k] for k in display.groups_shown] == [("m", "r3"), ("f", "r0")]
    display = GroupDistributionDisplay.from_predictions(prediction, groups_shown=0, **options)
    assert coloured(display) == []
    for wrong, message in (([("f", "r99")], r"names \('f', 'r99'\); the groups are"), (13, "0 to 12"), (-1, "0 to 12")):
        with pytest.raises(ValueError, match=message):
            GroupDistributionDisplay.from_predictions(prediction, groups_shown=wrong, **options)


@pytest.mark.parametrize(
    ("levels", "label"),
    [
        (("f", "North", pd.Interval(18, 25, closed="left")), "f × North × 18 to under 25"),
        ((pd.Interval(60.0, 90.5, closed="both"),), "60 and over"),
        ((pd.Interval(-np.inf, 25.0, closed="left"), 1.0), "under 25 × 1"),
        ((pd.Interval(60.0, np.inf, closed="both"), True), "60 and over × True"),
        (("a" * 60,), "a" * 43 + "…"),
    ],
)
def test_label_of_a_group(levels, label):
    assert group_label(levels) == label


def test_bins_as_in_the_metrics(grouped, legend_texts):
    prediction, sensitive, weight = grouped
    sensitive = sensitive[["gender"]].assign(age=18 + 70 * weight)
    with pytest.raises(ValueError, match=r"pass bins=\{'age': 5\}"):
        GroupDistributionDisplay.from_predictions(prediction, sensitive_features=sensitive)
    display = GroupDistributionDisplay.from_predictions(
        prediction, sensitive_features=sensitive, bins={"age": [18, 40, 100]}, n_permutations=0
    )
    groups = [f"{gender} × {age}" for gender in "fm" for age in ("18 to under 40", "40 and over")]
    assert sorted(legend_texts(display)) == sorted([*groups, "all rows"])
    for name in ("f × 40 and over", "f × [40, 100]"):  # as in the legend, and as in tables
        display = GroupDistributionDisplay.from_predictions(
            prediction,
            sensitive_features=sensitive,
            bins={"age": [18, 40, 100]},
            n_permutations=0,
            groups_shown=[name],
        )
        assert legend_texts(display)[0] == "f × 40 and over"


def test_small_groups_are_named_once(grouped):
    prediction, _, _ = grouped
    group = np.array(["a", "b"] * 2000, dtype=object)
    group[:3] = "few"
    with pytest.warns(SensitiveFeaturesWarning, match="'few': 3") as caught:
        display = GroupDistributionDisplay.from_predictions(
            prediction, baseline=prediction**2, sensitive_features=group, min_group_size=10, n_permutations=3
        )
    assert len(caught) == 1
    assert display.labels == [("a",), ("b",)]


def test_a_single_group_is_refused(grouped):
    prediction, _, _ = grouped
    with pytest.raises(ValueError, match="a single group, a: there is nothing to compare"):
        GroupDistributionDisplay.from_predictions(prediction, sensitive_features=np.full(4000, "a"))
    group = np.full(4000, "a")
    group[:3] = "b"
    with (
        pytest.warns(SensitiveFeaturesWarning),
        pytest.raises(ValueError, match=r"single group, a \(of at least 10 rows\)"),
    ):
        GroupDistributionDisplay.from_predictions(prediction, sensitive_features=group, min_group_size=10)


def test_other_bad_input(grouped):
    prediction, sensitive, _ = grouped
    options = {"sensitive_features": sensitive, "n_permutations": 0}
    with pytest.raises(ValueError, match="constant"):
        GroupDistributionDisplay.from_predictions(np.ones(4000), **options)
    with pytest.raises(ValueError, match="titles must differ"):
        GroupDistributionDisplay.from_predictions(prediction, baseline=prediction, titles=("a", "a"), **options)
    with pytest.raises(ValueError, match="4000 instead of 3999"):
        GroupDistributionDisplay.from_predictions(prediction, baseline=prediction[1:], **options)


def test_regressor_and_classifier(grouped):
    prediction, sensitive, weight = grouped
    X = np.column_stack([prediction, weight])
    options = {"sensitive_features": sensitive["gender"], "n_permutations": 0}
    model = LinearRegression().fit(X, prediction + weight)
    display = GroupDistributionDisplay.from_estimator(model, X, **options)
    assert_allclose(display.distributions[""].grid[[0, -1]], [model.predict(X).min(), model.predict(X).max()])
    assert display.axes_[1, 0].get_xlabel() == "prediction"

    y = (prediction + weight > 0.6).astype(int)
    model, base = (LogisticRegression(C=c).fit(X, y) for c in (0.01, 1.0))
    display = GroupDistributionDisplay.from_estimator(model, X, baseline=base, **options)
    assert_allclose(display.distributions["before"].grid[-1], base.predict_proba(X)[:, 1].max())
    assert_allclose(display.distributions["after"].grid[-1], model.predict_proba(X)[:, 1].max())
    assert display.axes_[1, 1].get_xlabel() == "predicted probability"

    three = LogisticRegression().fit(X, np.arange(4000) % 3)
    with pytest.raises(ValueError, match=r"two columns, those of a binary classifier; found shape \(\d+, 3\)"):
        GroupDistributionDisplay.from_estimator(three, X, **options)


def test_axes_of_the_caller_and_self(grouped):
    prediction, sensitive, _ = grouped
    options = {"sensitive_features": sensitive, "n_permutations": 0}
    figure, axes = plt.subplots(2, 1)
    display = GroupDistributionDisplay.from_predictions(
        prediction, ax=axes, color="red", background_kw={"lw": 0.3}, pooled_kw={"ls": "--"}, legend=False, **options
    )
    assert display.figure_ is figure
    assert display.axes_[:, 0].tolist() == list(axes)
    assert display.legend_ is None
    assert display.density_lines_[""][display.groups_shown[0]].get_color() == "red"
    grey = next(line for line in display.density_lines_[""] if line.get_color() == GREY)
    assert grey.get_linewidth() == 0.3
    assert display.pooled_lines_[0].get_linestyle() == "--"
    assert display.plot() is display
    assert display.figure_ is not figure

    figure, ax = plt.subplots()
    display = GroupDistributionDisplay.from_predictions(prediction, baseline=prediction**2, ax=ax, **options)
    assert display.figure_ is figure
    assert not ax.axison
    assert len(figure.axes) == 5
    with pytest.raises(ValueError, match="found 2"):
        GroupDistributionDisplay.from_predictions(prediction, baseline=prediction**2, ax=plt.subplots(2)[1], **options)


def test_tails_beyond_the_axis(grouped):
    prediction, sensitive, _ = grouped
    options = {"sensitive_features": sensitive, "n_permutations": 0}
    display = GroupDistributionDisplay.from_predictions(prediction, tail=0.0, **options)
    low, high = display.axes_[0, 0].get_xlim()
    assert low < prediction.min()
    assert high > prediction.max()
    low, high = display.plot(tail=0.1).axes_[1, 0].get_xlim()
    assert low < np.quantile(prediction, 0.1) < np.quantile(prediction, 0.9) < high < prediction.max()
    with pytest.raises(ValueError, match="tail must be"):
        display.plot(tail=0.5)


def test_missing_matplotlib_names_the_extra(grouped, without_matplotlib):
    prediction, sensitive, _ = grouped
    with pytest.raises(ImportError, match=r"GroupDistributionDisplay\.from_predictions .*fairdcov\[plots\]"):
        GroupDistributionDisplay.from_predictions(prediction, sensitive_features=sensitive)
    with pytest.raises(ImportError, match=r"GroupDistributionDisplay\.plot .*fairdcov\[plots\]"):
        GroupDistributionDisplay(distributions={}, labels=[], names=[], groups_shown=[]).plot()

"""Pictures of the pages, for the directive ``plot``: made while the pages are built, the same every time."""

import numpy as np
import tables
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, RED, GREY = "#0072B2", "#D55E00", "0.45"


def _box(axes, position, text, *, own=False, width=1.0, height=0.62):
    x, y = position
    style = {"facecolor": "#e6f0f8", "edgecolor": BLUE} if own else {"facecolor": "white", "edgecolor": GREY}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.08", **style))
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color="black")


def _arrow(axes, start, end, text="", *, offset=(0.0, 0.0)):
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=GREY, linewidth=1.0))
    if text:
        x, y = (np.add(start, end) / 2 + offset).tolist()
        axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color="0.25")


def _canvas(width, height, limits):
    _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_xlim(*limits[:2])
    axes.set_ylim(*limits[2:])
    axes.axis("off")
    return axes


def commands():
    """What each command reads and writes."""
    axes = _canvas(7.0, 3.5, (-0.1, 6.1, -0.15, 3.35))
    _box(axes, (0.6, 2.7), "book.csv\nclaims, exposure,\nprotected attributes", own=True, width=1.35, height=0.8)
    _box(axes, (2.25, 2.7), "fairdcov fit", width=1.15)
    _box(axes, (4.2, 3.0), "calibration, relativities,\nscored book, audit", width=1.95, height=0.55)
    _box(axes, (4.2, 2.2), "model.skops, settings.json", width=1.95, height=0.5)
    _box(axes, (0.6, 1.3), "new.csv\nno protected attributes", own=True, width=1.35)
    _box(axes, (2.25, 1.3), "fairdcov predict", width=1.15)
    _box(axes, (4.2, 1.3), "scored.csv", width=1.95, height=0.5)
    _box(axes, (0.6, 0.3), "predictions.csv\nof any system", own=True, width=1.35)
    _box(axes, (2.25, 0.3), "fairdcov audit", width=1.15)
    _box(axes, (4.2, 0.3), "a page, tables, JSON", width=1.95, height=0.5)
    _box(axes, (5.7, 0.3), "exit code\nfor a gate", width=0.66)
    for y in (2.7, 1.3, 0.3):
        _arrow(axes, (1.28, y), (1.67, y))
    _arrow(axes, (2.83, 2.8), (3.22, 2.97))
    _arrow(axes, (2.83, 2.6), (3.22, 2.28))
    _arrow(axes, (3.22, 2.1), (2.5, 1.62))
    for y in (1.3, 0.3):
        _arrow(axes, (2.83, y), (3.22, y))
    _arrow(axes, (5.18, 0.3), (5.37, 0.3))
    return axes.figure


def parts_of_a_fit():
    """Where a penalty, a learner, a family and a metric of one's own stand."""
    axes = _canvas(7.0, 3.0, (0.0, 6.2, -0.1, 2.75))
    _box(axes, (0.75, 2.2), "a penalty\noptions, no data", own=True, width=1.25)
    _box(axes, (0.75, 0.9), "attributes, weights", width=1.25, height=0.45)
    _box(axes, (2.55, 1.55), "bound penalty\nψ(u) and ∂ψ/∂u", own=True, width=1.25)
    _box(axes, (2.55, 0.35), "a family\nloss(y, u)", own=True, width=1.25)
    _box(axes, (4.3, 0.95), "loss + strength × ψ\nthe chain rule", width=1.3)
    _box(axes, (5.55, 2.2), "a learner\nmoves u", own=True, width=1.05)
    _box(axes, (5.55, 0.2), "a metric\nof y, u, S", own=True, width=1.05, height=0.5)
    _arrow(axes, (1.1, 1.89), (1.92, 1.62), "bind", offset=(0.1, 0.14))
    _arrow(axes, (1.1, 1.13), (1.92, 1.47))
    _arrow(axes, (3.18, 1.5), (3.64, 1.15))
    _arrow(axes, (3.18, 0.4), (3.64, 0.75))
    _arrow(axes, (4.6, 1.27), (5.1, 1.88), "value, gradient", offset=(-0.55, 0.1))
    _arrow(axes, (5.55, 1.88), (4.97, 1.05), "u", offset=(0.14, -0.05))
    _arrow(axes, (5.65, 1.88), (5.65, 0.46), "fitted", offset=(0.28, -0.1))
    return axes.figure


def strength_on_a_sample():
    """What is left of the dependence at each strength, fitted to more and more policies, on the same other ones."""
    from fairdcov import DCovPoissonRegressor
    from fairdcov.datasets import make_motor_portfolio
    from fairdcov.metrics import ccdcov

    strengths = [0, 1, 2, 5, 10, 20, 50]
    sizes = (5_000, 20_000, 80_000)
    book = make_motor_portfolio(120_000, random_state=0)
    X, test = book.data.select_dtypes("number").to_numpy(), slice(max(sizes), None)
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for n, color, marker in zip(sizes, ("0.6", RED, BLUE), "sDo", strict=True):
        rows = {"sample_weight": book.exposure[:n], "sensitive_features": book.sensitive_features.iloc[:n]}
        path = DCovPoissonRegressor(alpha=1e-4).strength_path(X[:n], book.target[:n], strengths, **rows)
        left = [
            ccdcov(
                None,
                model.predict(X[test]),
                sensitive_features=book.sensitive_features.iloc[test],
                sample_weight=book.exposure[test],
                normalize=True,
            )
            for model in path
        ]
        axes.plot(
            np.array(strengths[1:]), np.array(left[1:]) / left[0], color=color, marker=marker, label=f"{n:,} policies"
        )
    axes.set_xscale("log")
    axes.set_xticks(strengths[1:], strengths[1:])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel("strength")
    axes.set_ylabel("dependence of other policies,\nas a share of that without penalty")
    axes.legend(title="fitted to", frameon=False)
    return figure


def networks():
    """Deviance against dependence of a network and of a GLM along a path of strengths, as stored."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    rows = tables.read("networks")["rows"]
    for name, color, marker, side in (("GLM", "0.5", "s", -12), ("network", BLUE, "o", 8)):
        path = [(strength, 1e3 * float(left), float(loss)) for model, strength, loss, left in rows if model == name]
        axes.plot([left for _, left, _ in path], [loss for *_, loss in path], color=color, marker=marker, label=name)
        for strength, left, loss in path:
            place = {"xytext": (4, side), "textcoords": "offset points", "fontsize": 8, "color": color}
            axes.annotate(strength, (left, loss), **place)
    axes.set_xlim(0, None)
    axes.margins(y=0.12)
    axes.set_xlabel("dependence of other policies: CCdCov, scale-free, 10⁻³")
    axes.set_ylabel("Poisson deviance")
    axes.legend(title="numbers: strength", frameon=False)
    return figure

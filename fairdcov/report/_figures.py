"""Pictures of a report, drawn from its plain data: inline SVG, the same bytes for the same figures."""

import html
import io
import re
import warnings

import numpy as np

from fairdcov._checks import import_optional
from fairdcov.plots import series_style
from fairdcov.report._summary import number

__all__ = ["draw"]

_GREY = "#5a5a5a"
_MOST_FEATURES = 12
_MOST_LEVELS = 60
_OPTIONS = {
    "svg.hashsalt": "fairdcov",
    "svg.fonttype": "path",
    # A dollar sign in the name of a category is no formula.
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def _figure(width, height, shape=(1, 1), **kwargs):
    # Not by pyplot: no window, no figure that somebody else has open.
    figure = import_optional("matplotlib.figure", "AuditReport.to_html").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure, figure.subplots(*shape, squeeze=False, **kwargs)


def _short(text, longest=34):
    text = " ".join(str(text).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _colour(position):
    return series_style(position)["color"]


def _attributes(data):
    """Mean prediction and actual to expected of the levels of all single attributes, below each other."""
    labels, groups, starts = [], [], []
    for section in data["groups"]:
        if section["kind"] == "attribute":
            starts.append((len(labels), section["attributes"][0]))
            shown = section["groups"][:_MOST_LEVELS]
            labels += [f"{_short(group['label'])}{' (too small)' if group['too_small'] else ''}" for group in shown]
            groups += shown
    observed = data["data"]["observed"]
    figure, axes = _figure(9.0, 1.1 + 0.24 * (len(labels) + len(starts)), (1, 2 if observed else 1), sharey=True)
    places, ticks = [], []
    for k, label in enumerate(labels):
        places.append(k + 0.9 * sum(start <= k for start, _ in starts))
        ticks.append(label)
    left = axes[0, 0]
    values = [group["predicted"] for group in groups]
    left.plot(values, places, "o", color=_colour(0), label="predicted")
    if observed:
        left.plot([group["observed"] for group in groups], places, "s", mfc="none", color=_colour(1), label="observed")
    left.set_xlabel("mean per unit of exposure")
    left.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    if observed:
        right = axes[0, 1]
        for place, group in zip(places, groups, strict=True):
            if group["lower"] is not None and group["upper"] is not None:
                right.plot([group["lower"], group["upper"]], [place, place], color=_GREY, linewidth=1.4)
        right.plot([_nan(group["actual_to_expected"]) for group in groups], places, "D", color=_colour(0), markersize=4)
        right.axvline(1.0, color="black", linewidth=0.8)
        right.set_xlabel("actual / expected, with interval")
        ratios = [group["actual_to_expected"] for group in groups if group["actual_to_expected"] is not None]
        if ratios:
            # Intervals of tiny groups may be many times as wide.
            far = max(0.15, 2.0 * max(abs(ratio - 1.0) for ratio in ratios))
            right.set_xlim(max(1.0 - far, -0.05), 1.0 + far)
    left.set_yticks(places, ticks)
    for start, name in starts:
        left.text(
            -0.01,
            places[start] - 0.85,
            _short(name),
            transform=left.get_yaxis_transform(),
            weight="bold",
            ha="right",
            va="center",
        )
    left.set_ylim(places[-1] + 0.7, -0.9)
    return figure


def _nan(value):
    return np.nan if value is None else value


def _distributions(data):
    found = data["distributions"]
    columns = found["columns"]
    figure, axes = _figure(9.0, 3.6, (1, len(columns)), sharex=True, sharey=True)
    for ax, (title, column) in zip(axes[0], columns.items(), strict=True):
        for position, (label, density) in enumerate(zip(found["groups"], column["densities"], strict=True)):
            style = series_style(position)
            ax.plot(column["grid"], density, color=style["color"], linestyle=style["linestyle"], label=_short(label))
        ax.plot(column["grid"], column["pooled"], color="black", linewidth=1.6, label="all compared")
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("prediction")
    # The axes share their limits, which are known when everything is drawn.
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("density")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _lift(data):
    table, lorenz = data["lift"]["table"], data["lift"]["lorenz"]
    figure, axes = _figure(9.0, 3.4, (1, 2 if lorenz else 1))
    left = axes[0, 0]
    bins = [row["bin"] for row in table]
    observed = np.array([_nan(row["observed"]) for row in table])
    predicted = np.array([row["predicted"] for row in table])
    low, high = (np.array([_nan(row[name]) for row in table]) * predicted for name in ("lower", "upper"))
    left.vlines(bins, low, high, color=_colour(1), linewidth=1.2)
    left.plot(bins, observed, "s", mfc="white", color=_colour(1), label="observed, with interval")
    left.plot(bins, predicted, "o-", color=_colour(0), label="predicted", markersize=4)
    left.set_xlabel("bin of the predictions, lowest to highest")
    left.set_ylabel("mean per unit of exposure")
    left.set_ylim(bottom=min(0.0, float(np.nanmin(observed)), float(predicted.min())))
    left.legend(loc="upper left")
    if lorenz:
        right = axes[0, 1]
        right.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--", label="no order")
        right.plot(lorenz["exposure_share"], lorenz["observed_share"], color=_colour(0), label="predictions")
        right.set_xlabel("share of exposure, lowest predictions first")
        right.set_ylabel("share of the observed total")
        right.set_xlim(0, 1)
        right.set_ylim(0, 1)
        right.legend(loc="upper left")
    return figure


def _proxies(data):
    proxies = data["proxies"]
    features = proxies["features"][:_MOST_FEATURES]
    jointly = len(proxies["attributes"]) > 1
    figure, axes = _figure(9.0, 1.3 + 0.3 * len(features))
    ax = axes[0, 0]
    places = np.arange(len(features))
    for position, name in enumerate(proxies["attributes"]):
        style = series_style(position)
        values = [_nan(feature["distance_correlation"][name]) for feature in features]
        ax.plot(values, places, linestyle="", marker=style["marker"], color=style["color"], label=_short(name))
    if jointly:
        values = [_nan(feature["jointly"]) for feature in features]
        ax.plot(
            values,
            places,
            linestyle="",
            marker="|",
            markersize=13,
            markeredgewidth=2,
            color="black",
            label="all jointly",
        )
    ax.set_yticks(places, [_short(feature["feature"]) for feature in features])
    ax.set_ylim(len(features) - 0.5, -0.5)
    ax.set_xlim(left=-0.01)
    ax.set_xlabel("squared distance correlation")
    ax.legend(loc="lower right")
    return figure


def _double_lift(data):
    table = data["change"]["double_lift"]
    figure, axes = _figure(9.0, 3.4)
    ax = axes[0, 0]
    places = np.arange(len(table))
    for position, (name, label, marker) in enumerate(
        (("predicted", "predictions", "o-"), ("baseline", "baseline", "^--"), ("observed", "observed", "s"))
    ):
        values = [_nan(row[name]) for row in table]
        colour = _colour((0, 2, 1)[position])
        ax.plot(places, values, marker, color=colour, label=label, mfc="white" if name == "observed" else colour)
    ax.set_xticks(places, [number(row["ratio"], 2) for row in table])
    ax.set_xlabel("predictions over baseline, mean of each bin")
    ax.set_ylabel("mean per unit of exposure")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _changes(data):
    rows = data["change"]["by_attribute"][: 2 * _MOST_LEVELS]
    figure, axes = _figure(9.0, 1.1 + 0.24 * len(rows))
    ax = axes[0, 0]
    places = np.arange(len(rows))
    for place, row in zip(places, rows, strict=True):
        ax.plot([100 * row["quantile_5"], 100 * row["quantile_95"]], [place, place], color="#b8b8b8", linewidth=1.2)
    changes = [100 * row["change"] for row in rows]
    ax.barh(places, changes, height=0.55, color=[_colour(1) if change > 0 else _colour(0) for change in changes])
    ax.axvline(0.0, color="black", linewidth=0.8)
    names = [row["level"] if k == 0 else f"{row['attribute']}: {row['level']}" for k, row in enumerate(rows)]
    ax.set_yticks(places, [_short(name, 40) for name in names])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("change of the total, percent (bar), and 5 % to 95 % of the single changes (line)")
    return figure


_DRAWN = {
    "attributes": _attributes,
    "changes": _changes,
    "distributions": _distributions,
    "double_lift": _double_lift,
    "lift": _lift,
    "proxies": _proxies,
}


def draw(data, picture):
    """One picture as an ``<svg>`` element with a title and a description.

    Parameters
    ----------
    data : dict
        Plain data of the report.
    picture : Picture
        Which one, and its words.

    Returns
    -------
    str
    """
    matplotlib = import_optional("matplotlib", "AuditReport.to_html")
    buffer = io.StringIO()
    with matplotlib.rc_context(_OPTIONS), warnings.catch_warnings():
        # Names may have characters that the font does not: they are boxes in the picture and right in the tables.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = _DRAWN[picture.name](data)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inline(buffer.getvalue(), picture)


def _inline(svg, picture):
    """The element alone, without comments (which hold names) and addresses, with names of its own."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    name = picture.name.replace("_", "-")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    head = (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc"',
        f'<title id="{name}-title">{html.escape(picture.caption)}</title>'
        f'<desc id="{name}-desc">{html.escape(picture.description)}</desc>',
    )
    svg = svg.replace("<svg", head[0], 1)
    end = svg.index(">") + 1
    return re.sub(r"\s*\n\s*", "\n", svg[:end] + head[1] + svg[end:]).strip()

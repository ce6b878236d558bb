"""Pictures of a report, drawn from its plain data: inline SVG, the same bytes for the same figures."""

import html
import io
import re
import warnings

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional
from fairdcov.plots import (
    GREY,
    DoubleLiftDisplay,
    LiftDisplay,
    LorenzDisplay,
    PremiumChangeDisplay,
    cell_label,
    group_label,
    level_rows,
    light_grid,
    series_style,
)

__all__ = ["draw", "draw_figure"]

_MOST_FEATURES = 12
_MOST_LEVELS = 60
_LONGEST_NAME = 34
_TOO_SMALL = " (too small)"
_OPTIONS = {
    "svg.hashsalt": "fairdcov",
    "svg.fonttype": "path",
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "legend.frameon": False,
}


def _figure(width, height, shape=(1, 1), **kwargs):
    # Not by pyplot: no window, no figure that somebody else has open.
    figure = import_optional("matplotlib.figure", "AuditReport.to_html").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure, figure.subplots(*shape, squeeze=False, **kwargs)


def _short(text):
    return cell_label([text], _LONGEST_NAME)


def _colour(position):
    return series_style(position)["color"]


def _attributes(data):
    """Mean prediction and actual to expected of the levels of all single attributes, below each other."""
    groups = [
        {"factor": section["attributes"][0]} | group
        for section in data["groups"]
        if section["kind"] == "attribute"
        for group in section["groups"][:_MOST_LEVELS]
    ]
    for group in groups:
        mark = _TOO_SMALL if group["too_small"] else ""
        group["level"] = f"{group_label([group['label']], _LONGEST_NAME - len(mark))}{mark}"
    rows = level_rows(pd.DataFrame(groups))
    observed = data["data"]["observed"]
    figure, axes = _figure(9.0, 1.1 + 0.24 * rows.height, (1, 2 if observed else 1))
    left = axes[0, 0]
    left.plot([group["predicted"] for group in groups], rows.places, "o", color=_colour(0), label="predicted")
    if observed:
        values = [group["observed"] for group in groups]
        left.plot(values, rows.places, "s", mfc="none", color=_colour(1), label="observed")
        right = axes[0, 1]
        ends = np.array([[_nan(group[side]) for group in groups] for side in ("lower", "upper")])
        right.hlines(rows.places, *ends, color=GREY, linewidth=1.4)
        ratios = np.array([_nan(group["actual_to_expected"]) for group in groups])
        right.plot(ratios, rows.places, "D", color=_colour(0), markersize=4)
        right.axvline(1.0, color="black", linewidth=0.8)
        right.set_xlabel("actual / expected, with interval")
        if np.isfinite(ratios).any():
            # Intervals of tiny groups may be many times as wide.
            far = max(0.15, 2.0 * np.nanmax(np.abs(ratios - 1.0)))
            right.set_xlim(max(1.0 - far, -0.05), 1.0 + far)
    left.set_xlabel("mean per unit of exposure")
    left.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    rows.label(axes[0])
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
        light_grid(ax)
    # The axes share their limits, which are known when everything is drawn.
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("density")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _table(rows):
    """Rows of a table of figures; those that are not defined are NaN."""
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(("observed", "lower", "upper"), np.float64))


def _lift(data):
    lorenz = data["lift"]["lorenz"]
    figure, axes = _figure(9.0, 3.6, (1, 2 if lorenz else 1))
    LiftDisplay(table=_table(data["lift"]["table"])).plot(axes[0, 0])
    if lorenz:
        curves = {"predictions": (lorenz["exposure_share"], lorenz["observed_share"])}
        LorenzDisplay(curves=curves, gini={"predictions": data["balance"]["gini"]}).plot(axes[0, 1])
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
    light_grid(ax)
    ax.legend(loc="lower right")
    return figure


def _tiers(data):
    """Share of each level of the single attributes above each threshold, with its interval."""
    thresholds = data["tiers"]["thresholds"]
    parts = [part for part in data["tiers"]["groups"] if part["kind"] == "attribute"]
    levels = []
    for part in parts:
        for row in part["tiers"][: _MOST_LEVELS * len(thresholds) : len(thresholds)]:
            mark = _TOO_SMALL if row["too_small"] else ""
            level = f"{group_label([row['label']], _LONGEST_NAME - len(mark))}{mark}"
            levels.append({"factor": part["attributes"][0], "level": level})
    rows = level_rows(pd.DataFrame(levels))
    figure, axes = _figure(9.0, 1.1 + 0.24 * rows.height)
    ax = axes[0, 0]
    for position, threshold in enumerate(thresholds):
        found = [
            row for part in parts for row in part["tiers"][position : _MOST_LEVELS * len(thresholds) : len(thresholds)]
        ]
        style = series_style(position)
        ends = np.array([[_nan(row[f"share_{side}"]) for row in found] for side in ("lower", "upper")])
        ax.hlines(rows.places, *ends, color=style["color"], linewidth=1.4)
        shares = [row["share"] for row in found]
        label = f"above {threshold:.4g}"
        ax.plot(shares, rows.places, linestyle="", marker=style["marker"], color=style["color"], label=label)
    ax.set_xlabel("share of the exposure, with interval")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(thresholds))
    light_grid(ax)
    rows.label(axes[0])
    return figure


def _double_lift(data):
    figure, axes = _figure(9.0, 3.6)
    table = _table(data["change"]["double_lift"])
    DoubleLiftDisplay(table=table, names=("predictions", "baseline")).plot(axes[0, 0])
    return figure


def _changes(data):
    table = pd.DataFrame(data["change"]["by_attribute"][: 2 * _MOST_LEVELS]).rename(columns={"attribute": "factor"})
    figure, axes = _figure(9.0, 1.6 + 0.24 * level_rows(table).height)
    display = PremiumChangeDisplay(table=table).plot(axes, legend=False)
    handles = [display.ranges_, display.halves_, display.medians_, display.totals_]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


_DRAWN = {
    "attributes": _attributes,
    "changes": _changes,
    "distributions": _distributions,
    "double_lift": _double_lift,
    "lift": _lift,
    "proxies": _proxies,
    "tiers": _tiers,
}


def draw_figure(data, name):
    """One picture as a matplotlib Figure."""
    return _DRAWN[name](data)


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
        draw_figure(data, picture.name).savefig(buffer, format="svg", metadata={"Date": None})
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

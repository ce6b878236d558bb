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
from fairdcov.report._view_glance import groups_at_a_glance

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


# Inches: beside each other on a screen or on paper, below each other on a phone.
_WIDE, _NARROW = 9.0, 4.4


def _figure(height, columns=1, *, narrow=False, **kwargs):
    """A figure and its axes, beside each other or, where it is narrow, below each other."""
    # Not by pyplot: no window, no figure that somebody else has open.
    width, shape = (_NARROW, (columns, 1)) if narrow else (_WIDE, (1, columns))
    figure = import_optional("matplotlib.figure", "AuditReport.to_html").Figure(
        figsize=(width, height * shape[0]), layout="constrained"
    )
    return figure, figure.subplots(*shape, squeeze=False, **kwargs).ravel()


def _name_levels(rows, axes, narrow):
    """Names of the levels at the first of axes beside each other, at each of axes below each other."""
    for part in [[ax] for ax in axes] if narrow else [axes]:
        rows.label(part)


def _wrap_label(ax, narrow):
    """The name of the horizontal axis on two lines where it is narrow."""
    if narrow:
        ax.set_xlabel(
            ax.get_xlabel().replace("bins of equal exposure", "bins of equal exposure\n", 1).replace("\n,", ",\n")
        )


def _short(text):
    return cell_label([text], _LONGEST_NAME)


def _colour(position):
    return series_style(position)["color"]


_LOOKS = {
    "within tolerance": ("o", 2),
    "not enough evidence": ("D", 5),
    "outside tolerance": ("s", 1),
    None: ("o", 0),
}


def _glance(data, narrow):
    """Price gaps with the tolerance, and actual to expected, of the groups that the page opens with."""
    parts = groups_at_a_glance(data)
    groups = [row | {"factor": " × ".join(part["attributes"])} for part in parts for row in part["rows"]]
    for group in groups:
        group["level"] = group_label([group["label"]], _LONGEST_NAME)
    rows = level_rows(pd.DataFrame(groups))
    observed, equivalence = data["data"]["observed"], data.get("equivalence")
    tolerance = equivalence["tolerance"] if equivalence and equivalence["tests"] else None
    figure, axes = _figure(1.3 + 0.24 * rows.height, 2 if observed else 1, narrow=narrow)
    left = axes[0]
    left.axvline(0.0, color="black", linewidth=0.8)
    if tolerance is not None:
        within = (-100 * tolerance / (1 + tolerance), 100 * tolerance)
        left.axvspan(*within, color="0.9", zorder=0, label="tolerance")
    gaps = np.array([100 * _nan(group["gap"]) for group in groups])
    ends = np.array([[100 * _nan(group["interval"][side]) for group in groups] for side in (0, 1)])
    for outcome, (marker, colour) in _LOOKS.items():
        chosen = np.array([group["outcome"] == outcome for group in groups])
        if chosen.any():
            style = {"color": GREY if outcome == "not enough evidence" else _colour(colour)}
            left.hlines(rows.places[chosen], *ends[:, chosen], linewidth=1.4, **style)
            label = outcome or "price gap"
            left.plot(
                gaps[chosen], rows.places[chosen], linestyle="", marker=marker, markersize=5, label=label, **style
            )
    given = equivalence["tests"][-1]["legitimate_features"] if tolerance is not None else []
    left.set_xlabel(
        "\ngiven ".join(["price against all other rows, %", *([_short(", ".join(given))] if given else [])])
    )
    _legend_above(left, narrow)
    if observed:
        _draw_experience(axes[1], groups, rows.places)
        _legend_above(axes[1], narrow)
    _name_levels(rows, axes, narrow)
    return figure


def _legend_above(ax, narrow):
    """Legend above the axes, as wide as they are; none for a single entry that the axis names."""
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) > 1:
        columns = 2 if narrow else 3
        ax.legend(handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, handletextpad=0.3)


def _draw_experience(ax, groups, places):
    """Actual to expected with intervals, beside that of the baseline where there is one."""
    ends = np.array([[_nan(group["experience"][side]) for group in groups] for side in (0, 1)])
    ratios = np.array([_nan(group["actual_to_expected"]) for group in groups])
    before = np.array([_nan(group["before"]) for group in groups])
    ax.axvline(1.0, color="black", linewidth=0.8)
    ax.hlines(places, *ends, color=GREY, linewidth=1.4)
    ax.plot(ratios, places, "D", color=_colour(0), markersize=4.5, label="predictions")
    if np.isfinite(before).any():
        ax.plot(before, places, "s", color=_colour(1), markerfacecolor="white", markersize=5, label="baseline")
    ax.set_xlabel("actual / expected, with interval")
    _limit_ratios(ax, np.append(ratios, before))


def _limit_ratios(ax, ratios):
    """Room for all ratios; intervals of tiny groups may be many times as wide."""
    if np.isfinite(ratios).any():
        far = max(0.15, 2.0 * np.nanmax(np.abs(ratios - 1.0)))
        ax.set_xlim(max(1.0 - far, -0.05), 1.0 + far)


def _attributes(data, narrow):
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
    figure, axes = _figure(1.1 + 0.24 * rows.height, 2 if observed else 1, narrow=narrow)
    left = axes[0]
    left.plot([group["predicted"] for group in groups], rows.places, "o", color=_colour(0), label="predicted")
    if observed:
        values = [group["observed"] for group in groups]
        left.plot(values, rows.places, "s", mfc="none", color=_colour(1), label="observed")
        right = axes[1]
        ends = np.array([[_nan(group[side]) for group in groups] for side in ("lower", "upper")])
        right.hlines(rows.places, *ends, color=GREY, linewidth=1.4)
        ratios = np.array([_nan(group["actual_to_expected"]) for group in groups])
        right.plot(ratios, rows.places, "D", color=_colour(0), markersize=4)
        right.axvline(1.0, color="black", linewidth=0.8)
        right.set_xlabel("actual / expected, with interval")
        _limit_ratios(right, ratios)
    left.set_xlabel("mean per unit of exposure")
    left.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    _name_levels(rows, axes, narrow)
    return figure


def _nan(value):
    return np.nan if value is None else value


def _distributions(data, narrow):
    found = data["distributions"]
    columns = found["columns"]
    figure, axes = _figure(3.0 if narrow else 3.6, len(columns), narrow=narrow, sharex=True, sharey=True)
    for ax, (title, column) in zip(axes, columns.items(), strict=True):
        for position, (label, density) in enumerate(zip(found["groups"], column["densities"], strict=True)):
            style = series_style(position)
            ax.plot(column["grid"], density, color=style["color"], linestyle=style["linestyle"], label=_short(label))
        ax.plot(column["grid"], column["pooled"], color="black", linewidth=1.6, label="all compared")
        ax.set_title(title, fontsize="medium")
        light_grid(ax)
    for ax in axes[-1:] if narrow else axes:
        ax.set_xlabel("prediction")
    # The axes share their limits, which are known when everything is drawn.
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("density")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=1 if narrow else 3)
    return figure


def _table(rows):
    """Rows of a table of figures; those that are not defined are NaN."""
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(("observed", "lower", "upper"), np.float64))


def _lift(data, narrow):
    lorenz = data["lift"]["lorenz"]
    figure, axes = _figure(3.6, 2 if lorenz else 1, narrow=narrow)
    LiftDisplay(table=_table(data["lift"]["table"])).plot(axes[0])
    _wrap_label(axes[0], narrow)
    if lorenz:
        curves = {"predictions": (lorenz["exposure_share"], lorenz["observed_share"])}
        gini = {"predictions": data["balance"]["gini"]}
        # Reports of earlier versions have no curve of the baseline.
        before = lorenz.get("observed_share_of_the_baseline")
        if before is not None and data["change"]["before"]["gini"] is not None:
            curves["baseline"] = (lorenz["exposure_share"], before)
            gini["baseline"] = data["change"]["before"]["gini"]
        LorenzDisplay(curves=curves, gini=gini).plot(axes[1])
    return figure


def _proxies(data, narrow):
    proxies = data["proxies"]
    features = proxies["features"][:_MOST_FEATURES]
    names = proxies["attributes"]
    kinds = [(_short(name), [_nan(feature["distance_correlation"][name]) for feature in features]) for name in names]
    if len(names) > 1:
        kinds.append(("all jointly", [_nan(feature["jointly"]) for feature in features]))
    figure, axes = _figure(1.5 + (0.2 + 0.1 * len(kinds)) * len(features), narrow=narrow)
    ax = axes[0]
    places = np.arange(len(features))
    # Below each other within the line of a feature: most values are near 0, and would hide each other.
    shifts = np.linspace(-0.3, 0.3, len(kinds)) if len(kinds) > 1 else [0.0]
    for position, ((label, values), shift) in enumerate(zip(kinds, shifts, strict=True)):
        style = series_style(position) | {"linestyle": "", "markersize": 5}
        if position == len(names):
            style |= {"color": "black", "marker": "*", "markersize": 7}
        ax.plot(values, places + shift, label=label, **style)
    for place in places[:-1]:
        ax.axhline(place + 0.5, color="0.9", linewidth=0.8)
    ax.set_yticks(places, [_short(feature["feature"]) for feature in features])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(features) - 0.5, -0.5)
    ax.set_xlim(left=min(-0.01, ax.get_xlim()[0]))
    ax.set_xlabel("squared distance correlation")
    light_grid(ax, "x")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2 if narrow else 5)
    return figure


def _tiers(data, narrow):
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
    figure, axes = _figure(1.1 + 0.24 * rows.height, narrow=narrow)
    ax = axes[0]
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
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=1 if narrow else len(thresholds))
    light_grid(ax)
    rows.label(axes)
    return figure


def _double_lift(data, narrow):
    figure, axes = _figure(3.6, narrow=narrow)
    table = _table(data["change"]["double_lift"])
    display = DoubleLiftDisplay(table=table, names=("predictions", "baseline"))
    display.plot(axes[0], legend=not narrow)
    _wrap_label(axes[0], narrow)
    if narrow:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _changes(data, narrow):
    table = pd.DataFrame(data["change"]["by_attribute"][: 2 * _MOST_LEVELS]).rename(columns={"attribute": "factor"})
    rows = level_rows(table)
    figure, axes = _figure(1.6 + 0.24 * rows.height, 2, narrow=narrow)
    display = PremiumChangeDisplay(table=table).plot(axes, legend=False)
    if narrow:
        rows.label(axes[1:])
    else:
        axes[0].get_gridspec().set_width_ratios([2.2, 1])
    handles = [display.ranges_, display.halves_, display.medians_, display.totals_]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 4)
    return figure


_DRAWN = {
    "attributes": _attributes,
    "changes": _changes,
    "distributions": _distributions,
    "double_lift": _double_lift,
    "glance": _glance,
    "lift": _lift,
    "proxies": _proxies,
    "tiers": _tiers,
}


def draw_figure(data, name, *, narrow=False):
    """One picture as a matplotlib Figure."""
    return _DRAWN[name](data, narrow)


def draw(data, picture, *, narrow=False):
    """One picture as an ``<svg>`` element with a title and a description.

    Parameters
    ----------
    data : dict
        Plain data of the report.
    picture : Picture
        Which one, and its words.
    narrow : bool, default=False
        For the width of a phone: what stands beside each other stands below each other.

    Returns
    -------
    str
    """
    matplotlib = import_optional("matplotlib", "AuditReport.to_html")
    buffer = io.StringIO()
    with matplotlib.rc_context(_OPTIONS), warnings.catch_warnings():
        # Names may have characters that the font does not: they are boxes in the picture and right in the tables.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        draw_figure(data, picture.name, narrow=narrow).savefig(buffer, format="svg", metadata={"Date": None})
    return _inline(buffer.getvalue(), picture, narrow)


def _inline(svg, picture, narrow):
    """The element alone, without comments (which hold names) and addresses, with names of its own."""
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    # Hundredths of a point are more than any screen shows.
    svg = re.sub(r'\sd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    name = picture.name.replace("_", "-") + ("-narrow" if narrow else "")
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

"""The page: what is in it, what must not be, and how a real browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from fairdcov.report import AuditReport, audit
from fairdcov.report._readable import with_readable_bins
from fairdcov.report._view_glance import groups_at_a_glance

from .conftest import page_of

NASTY = "<script>alert(1)</script>"
FORMULA = "=SUM(A1)"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def page(report):
    return page_of(report)


@pytest.fixture(scope="module")
def nasty():
    """A report on categories, columns and metadata of someone who means no good."""
    rng = np.random.default_rng(0)
    n = 400
    S = pd.DataFrame(
        {
            NASTY: rng.choice([NASTY, FORMULA, "a & b", "--><b>", "$\\frac$", "保険"], n),
            "g": pd.Categorical(rng.choice(["{{ 7 * 7 }}", "|", "[x](javascript:alert(1))"], n)),
        }
    )
    features = pd.DataFrame({f"{NASTY}f": rng.normal(size=n), "</title>": rng.choice([NASTY, "x"], n)})
    u = rng.gamma(5, 0.1, n)
    return audit(
        rng.poisson(u),
        u,
        S,
        features=features,
        baseline=u[::-1],
        legitimate_features=[f"{NASTY}f"],
        tolerance=0.1,
        min_group_size=10,
        n_permutations=5,
        n_bootstrap=0,
        metadata={NASTY: {"x": NASTY}, "broken": "\ud800", "alternatives": [{NASTY: FORMULA}, NASTY]},
        verbose=0,
    )


@pytest.fixture(scope="module")
def nasty_page(nasty):
    return page_of(nasty)


class _Parser(HTMLParser):
    """Tags with their attributes, ids, and links to parts of the page."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


def test_the_page_is_well_formed_and_its_contents_lead_somewhere(page):
    parsed = _Parser(page)
    ids = parsed.ids()
    assert len(ids) == len(set(ids))
    targets = [
        a["href"] for tag, a in parsed.tags if tag in ("a", "use") for a in [a] if a.get("href", "").startswith("#")
    ]
    targets += [a["xlink:href"] for _, a in parsed.tags if "xlink:href" in a]
    assert len(targets) > 100
    assert {target[1:] for target in targets} <= set(ids)
    for used in re.findall(r"url\(#([^)]+)\)", page):
        assert used in ids
    assert parsed.tags[0] == ("html", {"lang": "en"})
    assert sum(tag == "h1" for tag, _ in parsed.tags) == 1


def test_every_section_is_there(page):
    titles = re.findall(r"<h[23]>(.*?)</h[23]>", page)
    assert titles[1:4] == ["At a glance", "Summary", "Within tolerance?"]
    for title in (
        "What was audited",
        "Balance and order",
        "Groups",
        "gender × region × age",
        "Groups furthest apart",
        "Tests of independence",
        "Given legitimate factors",
        "Proxies",
        "Before and after",
        "Sensitivity to the bins",
        "Groups too small to judge",
        "Alternatives tried",
        "Limits",
        "Technical record",
    ):
        assert title in titles
    assert "GLM, strength 10" in page
    assert "C-236/09" in page
    assert "Demographic parity is not the absence of proxy discrimination" in page


def test_figures_of_the_data_are_on_the_page(page, data):
    for group in data["groups"][0]["groups"]:
        row = re.search(
            rf'<th scope="row"[^>]*>{group["label"]}</th>(.*?)</tr>', page[page.index('id="groups-1"') :], re.DOTALL
        )
        # On a phone a figure stands beside the name of its column.
        assert f'<td data-label="rows">{group["rows"]:,}</td>' in row[1]
        assert f'<td data-label="actual / expected">{group["actual_to_expected"]:.3f}</td>' in row[1]


def test_pictures_and_tables_say_what_they_are(page):
    parsed = _Parser(page)
    pictures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    # Each for a screen and for a phone.
    assert len(pictures) == 2 * 8
    ids = parsed.ids()
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert all(name in ids for name in attributes["aria-labelledby"].split())
        # without it, nothing scales
        assert "viewbox" in attributes
    counts = {
        tag: sum(found == tag for found, _ in parsed.tags) for tag in ("table", "caption", "figure", "figcaption")
    }
    assert counts["table"] == counts["caption"] > 15
    assert counts["figure"] == counts["figcaption"] == 8


def test_pictures_show_the_figures_of_the_data(data):
    pytest.importorskip("matplotlib")
    draw = pytest.importorskip("fairdcov.report._figures").draw_figure
    lift, lorenz = draw(data, "lift").axes
    assert lift.lines[0].get_ydata() == pytest.approx([row["predicted"] for row in data["lift"]["table"]])
    assert lorenz.lines[1].get_ydata() == pytest.approx(data["lift"]["lorenz"]["observed_share"])
    assert f"Gini {data['balance']['gini']:.3f}" in lorenz.get_legend().get_texts()[0].get_text()
    (double,) = draw(data, "double_lift").axes
    for line, name in zip(double.lines, ("predicted", "baseline", "observed"), strict=True):
        assert line.get_ydata() == pytest.approx([row[name] for row in data["change"]["double_lift"]])
    baseline = data["lift"]["lorenz"]["observed_share_of_the_baseline"]
    assert lorenz.lines[2].get_ydata() == pytest.approx(baseline)
    assert f"Gini {data['change']['before']['gini']:.3f}" in lorenz.get_legend().get_texts()[1].get_text()
    changes, shares = draw(data, "changes").axes
    levels = [row["level"] for row in data["change"]["by_attribute"]]
    assert [text.get_text() for text in changes.get_yticklabels()] == levels
    assert [bar.get_width() for bar in shares.containers[1]] == pytest.approx(
        [100 * row["share_up"] for row in data["change"]["by_attribute"]]
    )
    means, _ = draw(data, "attributes").axes
    singles = [group for section in data["groups"][:3] for group in section["groups"]]
    assert [text.get_text() for text in means.get_yticklabels()] == [group["label"] for group in singles]
    assert means.lines[1].get_xdata() == pytest.approx([group["observed"] for group in singles])
    assert [text.get_text() for text in means.texts] == ["gender", "region", "age"]


def test_the_opening_picture_shows_gaps_and_experience(data):
    pytest.importorskip("matplotlib")
    draw = pytest.importorskip("fairdcov.report._figures").draw_figure
    gaps, experience = draw(data, "glance").axes
    tested = {(tuple(row["attributes"]), row["group"]): row for row in data["equivalence"]["tests"][-1]["groups"]}
    marked = {line.get_label(): line.get_xdata() for line in gaps.lines}
    singles = [
        (group, tested[tuple(part["attributes"]), group["label"]])
        for part in data["groups"][:3]
        for group in part["groups"]
    ]
    for group, row in singles:
        assert np.isclose(marked[row["outcome"]], 100 * row["gap"]).any(), group["label"]
        assert np.isclose(experience.lines[1].get_xdata(), group["actual_to_expected"]).any(), group["label"]
    before = {row["label"]: row["before"] for row in data["cost"]["cross_subsidies"][0]["groups"]}
    assert experience.lines[2].get_xdata()[:2] == pytest.approx(
        [1 / before[group["label"]] for group in data["groups"][0]["groups"]]
    )
    (band,) = gaps.patches
    tolerance = data["equivalence"]["tolerance"]
    assert band.get_x() == pytest.approx(-100 * tolerance / (1 + tolerance))
    assert band.get_x() + band.get_width() == pytest.approx(100 * tolerance)
    # On a phone one panel stands below the other, each with its names.
    for name in ("glance", "attributes", "changes"):
        panels = draw(data, name, narrow=True).axes[-2:]
        names = [[text.get_text() for text in ax.get_yticklabels()] for ax in panels]
        assert names[0] == names[1]
        assert names[0][0]


def test_groups_furthest_from_the_rest_are_those_shown(data):
    found = groups_at_a_glance(data)
    assert [part["attributes"] for part in found] == [["gender"], ["region"], ["age"], ["gender", "region", "age"]]
    crossed = found[-1]
    assert len(crossed["rows"]) == 10 < crossed["n_compared"]
    gaps = {
        row["group"]: row["gap"]
        for row in data["equivalence"]["tests"][-1]["groups"]
        if row["kind"] == "intersection" and not row["too_small"]
    }
    furthest = sorted(gaps, key=lambda label: -abs(gaps[label]))[:10]
    assert {row["label"] for row in crossed["rows"]} == set(furthest)
    untested = groups_at_a_glance(data | {"equivalence": None})[0]["rows"]
    first, second = data["groups"][0]["groups"]
    assert untested[0]["gap"] == pytest.approx(first["predicted"] / second["predicted"] - 1)
    assert untested[0]["outcome"] is None


def test_bins_are_written_as_people_say_them(report, page, data):
    assert "45 and over" in page
    assert "30 to under 45" in page
    for text in (page, report.to_markdown(), report.summary):
        assert "[45, 100]" not in text
        assert r"\[45, 100\]" not in text
    # Programs go by the labels.
    assert "[45, 100]" in {group["label"] for group in data["groups"][2]["groups"]}


def test_labels_that_mean_different_bins_stay_as_they_are():
    bins = {"age": {"edges": ["-inf", 25.0, 60.0, "inf"]}, "years": {"edges": [25.0, 60.0, 90.0]}, "other": None}
    text = "f × [25, 60), < 25, ≥ 60, [60, 90]"
    assert with_readable_bins([text], bins) == ["f × [25, 60), under 25, 60 and over, 60 and over"]
    given = {"label": "[60, 90]", "metadata": {"scope": "[60, 90]"}, "rows": 3}
    assert with_readable_bins(given, bins) == given | {"label": "60 and over"}
    assert with_readable_bins(given, {"all": {"edges": [60.0, 90.0]}}) == given


def test_nothing_is_loaded_from_elsewhere(page):
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//\w", page.replace("://", ":"), re.IGNORECASE)
    assert not re.search(r"@import|url\((?!#)|\bsrc=", page)
    assert not {tag for tag, _ in _Parser(page).tags} & {"script", "link", "iframe", "object", "embed", "img"}


def test_the_same_report_gives_the_same_page(report, page):
    assert page_of(AuditReport.from_json(report.to_json())) == page


def test_names_are_shown_and_do_nothing(nasty_page):
    parsed = _Parser(nasty_page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert "b" not in {tag for tag, _ in parsed.tags}
    assert "<script" not in nasty_page
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    shown = "".join(parsed.text)
    for name in (NASTY, FORMULA, "a & b", "--><b>", "$\\frac$", "保険", "{{ 7 * 7 }}"):
        assert name in shown
    nasty_page.encode("utf-8")


def test_names_do_nothing_in_markdown(nasty):
    text = nasty.to_markdown()
    assert "<script" not in text
    assert "&lt;script" in text
    assert not re.search(r"(?<!\\)\]\(", text)
    for line in text.splitlines():
        if line.startswith("| "):
            header = len(re.findall(r"(?<!\\)\|", line))
            break
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert header > 2


def test_names_survive_json(nasty, tmp_path):
    nasty.to_json(tmp_path / "report.json")
    again = AuditReport.from_json(tmp_path / "report.json")
    labels = {group["label"] for group in again.to_dict()["groups"][0]["groups"]}
    assert {NASTY, FORMULA, "保険"} <= labels


def test_markdown_has_the_sections_of_the_page(report, page, tmp_path):
    text = report.to_markdown(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == text
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == titles[1:]


def test_files_are_what_is_returned(report, page, tmp_path):
    assert page_of(report, tmp_path / "report.html") == page
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


# --- in a browser --------------------------------------------------------------------------------------------------

MEASURE = """<script>addEventListener("load", () => {
const wide = [...document.querySelectorAll("body *")].filter(
  e => !e.closest(".scroll") && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1);
const tall = [...document.querySelectorAll("figure svg")].filter(e => e.getBoundingClientRect().height > 100);
parent.postMessage("measured " + [innerWidth, document.documentElement.scrollWidth,
  performance.getEntriesByType("resource").length, wide.length, tall.length,
  [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).length].join(" "), "*");
});</script>"""
# Windows of a browser have a least width, frames have none.
FRAME = """<!doctype html><title>waiting</title>
<script>addEventListener("message", event => { document.title = event.data; });</script>
<iframe src="inner.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>"""


def _browse(page, folder, width, *arguments):
    """Run headless Chromium on a page and return what it prints."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},1200",
        *arguments,
        file.as_uri(),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("which", ["page", "nasty_page"])
def test_in_a_browser_the_page_fits_and_asks_for_nothing(request, tmp_path, width, which):
    page = request.getfixturevalue(which)
    # The policy would stop the measurement, and with it hide what the page wants to load.
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", page)
    assert without_policy != page
    (tmp_path / "inner.html").write_text(without_policy.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    dumped = _browse(FRAME.replace("WIDTH", str(width)), tmp_path, 1400, "--dump-dom", "--virtual-time-budget=10000")
    inner, scroll, resources, too_wide, pictures, scrolling = map(
        int, re.search(r"<title>measured ([\d ]+)</title>", dumped)[1].split()
    )
    assert inner == width
    assert scroll <= inner, "the page scrolls sideways"
    assert too_wide == 0
    assert resources == 0
    assert pictures == 8 if which == "page" else pictures >= 4
    if width == 400:
        assert scrolling == 0  # rows of tables and pictures take the width that there is


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_in_a_browser_the_page_is_drawn(page, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    shot = tmp_path / "shot.png"
    _browse(page, tmp_path, 1280, f"--screenshot={shot}")
    pixels = image.imread(shot)[..., :3]
    assert pixels.shape[1] == 1280
    # Mostly white, with ink in the column of contents and in the main one.
    assert 0.75 < (pixels.min(axis=2) > 0.95).mean() < 0.995
    assert (pixels[:, 40:270].min(axis=2) < 0.5).any()
    assert (pixels[:, 320:].min(axis=2) < 0.5).mean() > 0.005

"""What fairness costs and who pays, against figures made by hand; and the gap to the frontier in a report."""

import numpy as np
import pandas as pd
import pytest

from fairdcov import frontier_gap, with_probabilities
from fairdcov.metrics import gini, mean_deviance
from fairdcov.report import AuditReport, audit

QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}


@pytest.fixture
def book(rng):
    """Men have twice the claims of women; the baseline knows, the predictions do not."""
    n = 4_000
    group, exposure = rng.choice(["f", "m"], n), rng.uniform(0.2, 1.0, n)
    risk = rng.gamma(20, 0.01, n)
    baseline = risk * np.where(group == "m", 2.0, 1.0)
    return rng.poisson(exposure * baseline) / exposure, 1.5 * risk, group, exposure, baseline


def test_cross_subsidies_by_hand(book):
    y, u, group, exposure, baseline = book
    found = audit(y, u, group, sample_weight=exposure, baseline=baseline, **QUICK).to_dict()
    (section,) = found["cost"]["cross_subsidies"]
    assert [row["label"] for row in section["groups"]] == ["f", "m"]
    for row in section["groups"]:
        inside = group == row["label"]
        observed, after, before = (exposure[inside] @ values[inside] for values in (y, u, baseline))
        assert row["predicted_to_observed"] == pytest.approx(after / observed)
        assert row["before"] == pytest.approx(before / observed)
        assert row["transfer"] == pytest.approx((after - observed) / (exposure @ u))
        assert row["lower"] < row["predicted_to_observed"] < row["upper"]
        experience = next(entry for entry in found["groups"][0]["groups"] if entry["label"] == row["label"])
        assert row["lower"] == pytest.approx(1 / experience["upper"])
    women, men = (row["predicted_to_observed"] for row in section["groups"])
    assert men < 0.85 < 1.3 < women
    sentence = next(text for text in found["summary"] if text.startswith("Predicted over observed"))
    assert f"from {100 * men:.0f} % (m;" in sentence
    assert f"to {100 * women:.0f} % (f;" in sentence
    assert "under the baseline" in sentence
    # Before anything about groups: it is among the first lines.
    assert found["summary"].index(sentence) < 5


def test_what_is_kept_and_what_moves(book):
    y, u, group, exposure, baseline = book
    found = audit(y, u, group, sample_weight=exposure, baseline=baseline, **QUICK).to_dict()["cost"]
    of_mean = mean_deviance(y, np.full(len(y), np.average(y, weights=exposure)), sample_weight=exposure)
    explained = [1 - mean_deviance(y, price, sample_weight=exposure) / of_mean for price in (baseline, u)]
    assert found["kept"]["deviance_explained"]["kept"] == pytest.approx(explained[1] / explained[0])
    indices = [gini(y, price, sample_weight=exposure) for price in (baseline, u)]
    assert found["kept"]["gini"]["kept"] == pytest.approx(indices[1] / indices[0])
    premium = exposure @ baseline
    assert found["moved"]["changed"] == pytest.approx(exposure @ np.abs(u - baseline) / premium)
    shares = exposure * u / (exposure @ u) - exposure * baseline / premium
    assert found["moved"]["between_policies"] == pytest.approx(np.abs(shares).sum() / 2)


def test_without_baseline_or_observed_values(book):
    y, u, group, exposure, baseline = book
    alone = audit(y, u, group, sample_weight=exposure, **QUICK)
    assert alone.to_dict()["cost"]["kept"] is None
    assert alone.to_dict()["cost"]["moved"] is None
    assert alone.to_frame("cross_subsidies")["before"].isna().all()
    assert "Who pays for whom" in alone.to_markdown()
    unobserved = audit(None, u, group, baseline=baseline, **QUICK)
    assert unobserved.to_dict()["cost"]["cross_subsidies"] == []
    assert unobserved.to_dict()["cost"]["moved"]["changed"] > 0
    assert "moves between policies" in unobserved.summary
    nothing = audit(None, u, group, **QUICK)
    assert nothing.to_dict()["cost"] is None
    assert "who pays" not in nothing.to_markdown()
    # Reports of earlier versions have no such section.
    old = {name: value for name, value in alone.to_dict().items() if name not in ("cost", "frontier")}
    assert "who pays" not in AuditReport(old | {"schema_version": "1.2"}).to_markdown()
    assert AuditReport(old).to_frame("cross_subsidies").empty


def test_a_group_without_claims_has_no_ratio():
    y, group = np.array([0.0, 0, 1, 2] * 50), np.array(["a", "a", "b", "b"] * 50)
    found = audit(y, np.full(200, 0.75), group, min_group_size=2, **QUICK).to_dict()
    first, second = found["cost"]["cross_subsidies"][0]["groups"]
    assert first["predicted_to_observed"] is None
    assert first["transfer"] == pytest.approx(0.5)
    assert second["predicted_to_observed"] == pytest.approx(0.5)
    assert not any("Predicted over observed" in text for text in found["summary"])


def test_shares_of_certainty_are_groups(book):
    y, u, group, exposure, baseline = book
    shares = pd.DataFrame({"p_f": 1.0 * (group == "f"), "p_m": 1.0 * (group == "m")})
    soft = with_probabilities(shares, {"sex": ["p_f", "p_m"]})
    given = {"sample_weight": exposure, "baseline": baseline, **QUICK}
    both = [audit(y, u, S, **given).to_dict()["cost"]["cross_subsidies"][0]["groups"] for S in (soft, group)]
    for name in ("predicted_to_observed", "before", "transfer"):
        assert [row[name] for row in both[0]] == pytest.approx([row[name] for row in both[1]])


# --- the frontier --------------------------------------------------------------------------------------------------


def gap_of(book, **options):
    y, u, group, exposure, _ = book
    # Two references whose own prices differ between groups, ever less.
    paths = {strength: u * np.where(group == "m", 1 + share, 1.0) for strength, share in ((0.0, 1.0), (9.0, 0.0))}
    given = {"sensitive_features": group, "sample_weight": exposure, "aware": paths, "unaware": paths}
    return frontier_gap(y, u, **given | options)


def test_the_gap_is_shown(book):
    y, u, group, exposure, _ = book
    gap = gap_of(book)
    report = audit(y, u, group, sample_weight=exposure, frontier=gap, **QUICK)
    found = report.to_dict()["frontier"]
    assert found["text"] == str(gap)
    assert found["left_on_the_table"] == pytest.approx(gap.left_on_the_table)
    table = report.to_frame("frontier").set_index("price")
    np.testing.assert_allclose(table["deviance"], gap.table["deviance"])
    assert f"Beside the best that parity allows: {gap}." in report.summary
    for page in (report.to_markdown(), AuditReport.from_json(report.to_json()).to_markdown()):
        assert "Distance to the best that parity allows" in page
    pytest.importorskip("jsonschema").validate(report.to_dict(), AuditReport.json_schema())


def test_a_gap_of_other_predictions_is_refused(book):
    y, u, group, exposure, baseline = book
    with pytest.raises(ValueError, match="frontier is of other predictions or rows"):
        audit(y, baseline, group, sample_weight=exposure, frontier=gap_of(book), **QUICK)
    # Deviances of another family cannot be compared.
    other = gap_of(book, loss="squared_error")
    assert (
        audit(y, u, group, sample_weight=exposure, frontier=other, **QUICK).to_dict()["frontier"]["loss"] == other.loss
    )
    with pytest.raises(TypeError, match=r"frontier must be what fairdcov\.frontier_gap returns; found DataFrame"):
        audit(y, u, group, sample_weight=exposure, frontier=other.table, **QUICK)

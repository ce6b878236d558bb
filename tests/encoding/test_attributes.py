"""Attributes are read once: their rows and columns give what reading these rows and columns anew would give."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fairdcov import SensitiveEncoder
from fairdcov.cli._parser import make_parser
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    SensitiveBlocks,
    SensitiveColumn,
    as_given,
    encode_attributes,
    make_groups,
    read_factor,
    read_frame,
    select_rows,
    take_rows,
)
from fairdcov.metrics import ccdcov, js_divergence, make_fairness_scorer, null_distribution

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*declares level"),
    pytest.mark.filterwarnings("ignore:.*have no row of positive weight"),
]

BINS = {"age": [0.0, 30.0, 60.0, 100.0]}
ROWS = np.array([7, 3, 3, 19, 0, 11, 25, 28])


@pytest.fixture
def people(rng):
    return pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], 30),
            "age": rng.uniform(18, 90, 30),
            "region": pd.Categorical(rng.choice(["n", "s"], 30), categories=["w", "s", "n"]),
            "children": rng.integers(0, 4, 30),
        },
        index=np.arange(100, 130),
    )


@pytest.fixture
def reads(monkeypatch):
    """Names of the columns that have been read."""
    names = []
    read = SensitiveColumn.__init__

    def counted(self, name, *arguments, **options):
        names.append(name)
        read(self, name, *arguments, **options)

    monkeypatch.setattr(SensitiveColumn, "__init__", counted)
    return names


def in_form(people, form):
    return {
        "pandas": people,
        "polars": pl.DataFrame({name: people[name].tolist() for name in people}),
        "array": people[["age", "children"]].to_numpy(),
        "list": people[["gender", "children"]].to_numpy().tolist(),
        "series": people["gender"],
    }[form]


FORMS = ["pandas", "polars", "array", "list", "series"]


def assert_same_groups(found, expected):
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert (found.labels, found.names) == (expected.labels, expected.names)


def assert_same_blocks(found, expected):
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert found.names == expected.names
    for a, b in zip(found.points, expected.points, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("known_before", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_those_of_a_new_reading(people, form, known_before):
    data = in_form(people, form)
    bins = {"pandas": BINS, "polars": BINS, "array": {0: BINS["age"]}}.get(form)
    attributes = Attributes.read(data)
    if known_before:
        attributes.groups(bins)
        attributes.profiles()
    part, expected = attributes.rows(ROWS), Attributes.read(take_rows(data, ROWS))
    assert len(part) == len(ROWS)
    assert_same_groups(part.groups(bins), expected.groups(bins))
    assert_same_blocks(part.profiles(), expected.profiles())
    # Rows of rows, by a mask, levels that none of them has left out.
    keep = part.groups(bins).codes > 0
    again, expected = part.rows(keep), Attributes.read(take_rows(data, ROWS[keep]))
    assert_same_groups(again.groups(bins), expected.groups(bins))
    assert_same_blocks(again.profiles(), expected.profiles())
    if isinstance(data, pd.DataFrame | pd.Series):
        assert again.index.equals(as_given(expected).index)
    else:
        assert again.index is None


@pytest.mark.parametrize("form", FORMS)
def test_given_is_what_the_user_passed(people, form):
    data = in_form(people, form)
    attributes = Attributes.read(data)
    assert as_given(attributes) is data
    assert as_given(data) is data
    given, expected = as_given(attributes.rows(ROWS)), take_rows(data, ROWS)
    assert type(given) is type(expected)
    np.testing.assert_array_equal(np.asarray(given), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(attributes.rows(ROWS)), np.asarray(expected))


def test_selection(people):
    attributes = Attributes.read(people)
    pair = attributes.select(["region", "gender"])
    assert attributes.select(("region", "gender")) is pair
    assert attributes.select(attributes.names) is attributes
    assert_same_groups(pair.groups(), make_groups(people[["region", "gender"]]))
    assert pair.groups() is pair.groups()
    pd.testing.assert_frame_equal(as_given(pair), people[["region", "gender"]])
    pd.testing.assert_frame_equal(as_given(pair.rows(ROWS).select("gender")), people[["gender"]].iloc[ROWS])
    assert_same_blocks(
        pair.rows(ROWS).profiles(), encode_attributes(people[["region", "gender"]].iloc[ROWS], None, None)
    )
    with pytest.raises(ValueError, match="'wealth'"):
        attributes.select("wealth")


def test_groups_are_made_once_for_the_same_edges(people, rng):
    attributes = Attributes.read(people)
    quantiles = attributes.groups({"age": 3})
    assert attributes.groups({"age": 3}) is quantiles
    assert attributes.groups(attributes.edges({"age": 3})) is quantiles
    assert attributes.groups({"age": 3, "children": None}) is quantiles
    weighted = attributes.groups({"age": 3}, rng.integers(1, 9, 30).astype(float))
    assert weighted is not quantiles
    assert_same_groups(attributes.groups({"age": 3}), make_groups(people, {"age": 3}))


def test_factors_are_those_of_the_tables(people):
    attributes = Attributes.read(people)
    frame = read_frame(people, "features")
    bins = {"age": 4, "children": None}
    for name in attributes.names:
        found = attributes.factor(name, bins)
        expected = read_factor(frame[name], "features", {name: bins[name]} if name in bins else 10)
        np.testing.assert_array_equal(found.codes, expected.codes)
        assert (found.name, found.levels) == (expected.name, expected.levels)


def test_everything_takes_attributes_and_reads_nothing(people, rng, reads):
    prediction, weights = rng.uniform(1, 2, 30), rng.integers(0, 3, 30).astype(float)
    attributes = Attributes.read(people)
    assert sorted(reads) == sorted(people.columns)
    encoder = SensitiveEncoder().fit(people)
    reads.clear()
    found = [
        js_divergence(None, prediction, sensitive_features=attributes, sample_weight=weights, bins=BINS),
        ccdcov(None, prediction, sensitive_features=attributes, sample_weight=weights),
        ccdcov(None, prediction, sensitive_features=attributes, encoder=encoder),
        null_distribution(
            js_divergence, None, prediction, sensitive_features=attributes, bins=BINS, n_permutations=3, random_state=0
        ).values.sum(),
        SensitiveEncoder().fit(attributes).transform(attributes).sum(),
    ]
    assert SensitiveEncoder().fit(attributes).feature_names_in_.tolist() == list(people)
    assert reads == []
    expected = [
        js_divergence(None, prediction, sensitive_features=people, sample_weight=weights, bins=BINS),
        ccdcov(None, prediction, sensitive_features=people, sample_weight=weights),
        ccdcov(None, prediction, sensitive_features=people, encoder=encoder),
        null_distribution(
            js_divergence, None, prediction, sensitive_features=people, bins=BINS, n_permutations=3, random_state=0
        ).values.sum(),
        SensitiveEncoder().fit(people).transform(people).sum(),
    ]
    assert found == expected


def test_functions_of_the_user_get_what_was_passed(people, rng):
    got = []

    def metric(y_true, y_pred, *, sensitive_features):
        got.append(sensitive_features)
        return 0.0

    class Constant:
        def predict(self, X):
            return np.ones(len(X))

    attributes = Attributes.read(people)
    make_fairness_scorer(metric)(Constant(), people, sensitive_features=attributes)
    assert got[0] is people
    null_distribution(metric, None, np.ones(30), sensitive_features=attributes, n_permutations=1, random_state=0)
    assert all(isinstance(sensitive_features, pd.DataFrame) for sensitive_features in got)

    class Encoder(SensitiveEncoder):
        def fit_encode(self, X, sample_weight=None):
            got.append(X)
            return super().fit_encode(X, sample_weight)

    ccdcov(None, rng.uniform(size=30), sensitive_features=attributes, encoder=Encoder())
    assert got[-1] is people


def test_remarks_come_as_before(people, rng):
    text = pd.DataFrame({"age": people["age"].astype(str)})
    attributes = Attributes.read(text)
    for sensitive_features in (text, attributes):
        with pytest.warns(UserWarning, match="holds numbers as text") as seen:
            SensitiveEncoder().fit_encode(sensitive_features)
        assert len(seen) == 1
    prediction = pd.Series(rng.uniform(size=30), index=people.index[::-1])
    for sensitive_features in (people, Attributes.read(people)):
        with pytest.warns(UserWarning, match="another order") as seen:
            js_divergence(None, prediction, sensitive_features=sensitive_features, bins=BINS)
        assert len(seen) == 1


def test_pickles(people):
    attributes = Attributes.read(people)
    attributes.groups(BINS)
    part = pickle.loads(pickle.dumps(attributes.rows(ROWS)))
    assert_same_groups(part.groups(BINS), make_groups(people.iloc[ROWS], BINS))


def test_rows_of_blocks_keep_the_profiles_of_the_whole(people):
    blocks = encode_attributes(people, None, None)
    part = select_rows(blocks, np.arange(30) < 8)
    assert isinstance(part, SensitiveBlocks)
    assert len(part) == 8
    assert part.points is blocks.points
    present = SensitiveEncoder().fit_encode(part)
    assert present.n_profiles == len(np.unique(part.codes)) < blocks.n_profiles
    for a, b in zip(present.points, blocks.points, strict=True):
        np.testing.assert_array_equal(a[present.codes], b[blocks.codes[:8]])


def test_the_help_says_the_default_number_of_groups(capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["audit", "--help"])
    assert f"into {DEFAULT_GROUPS} by default" in " ".join(capsys.readouterr().out.split())

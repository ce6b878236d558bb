"""Attributes known as probabilities: shares of profiles, the observed case to the last digit, what is none."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fairdcov import (
    CCDCovPenalty,
    DCovPenalty,
    DCovPoissonRegressor,
    JDCovPenalty,
    SensitiveEncoder,
    with_probabilities,
)
from fairdcov.encoding import SoftBlocks, select_rows
from fairdcov.encoding._blocks import SensitiveBlocks
from fairdcov.encoding._soft_blocks import certain_shares, row_products
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.penalties import BoundPenalty, Penalty

LEVELS = ["p_white", "p_black", "p_other"]
N = 200


@pytest.fixture
def people(rng):
    frame = pd.DataFrame(rng.dirichlet([1.0, 1.0, 0.5], N), columns=LEVELS)
    frame.insert(0, "gender", rng.choice(["f", "m"], N))
    frame["age"] = rng.integers(20, 26, N)
    return frame


def encoder(**options):
    return SensitiveEncoder(probabilities={"race": LEVELS}, **options)


def with_certainty(people, rng):
    """The same people with a race each: as probabilities of 0 and 1, and observed."""
    race = rng.integers(0, 3, N)
    certain = people.assign(**dict(zip(LEVELS, np.eye(3)[race].T, strict=True)))
    observed = people[["gender"]].assign(race=np.array(["x", "y", "z"])[race], age=people["age"])
    return certain, observed


def test_blocks_names_and_expected_coordinates(people):
    fitted = encoder().fit(people)
    assert fitted.attributes_ == ["gender", "race", "age"]
    assert fitted.kinds_ == {"gender": "categorical", "race": "probabilities", "age": "continuous"}
    assert fitted.n_features_in_ == 5
    assert fitted.feature_names_in_.tolist() == list(people)
    names = ["gender_m", "race_p_white", "race_p_black", "race_p_other", "age"]
    assert fitted.get_feature_names_out().tolist() == names
    coordinates = fitted.transform(people)
    assert_allclose(coordinates[:, 1:4], people[LEVELS], rtol=1e-12)
    blocks = fitted.encode(people)
    assert isinstance(blocks, SoftBlocks)
    assert (len(blocks), blocks.n_samples, blocks.names) == (N, N, ("gender", "race", "age"))
    assert_allclose(blocks.shares.sum(axis=1), 1.0, rtol=1e-14)
    # Expected coordinates are the shares times those of the profiles, for observed attributes as well.
    assert_allclose(blocks.shares @ np.hstack(blocks.points), coordinates, atol=1e-14)


def test_shares_of_intersections_are_products(rng):
    first, second = rng.dirichlet([1, 1], 5), rng.dirichlet([1, 1, 1], 5)
    frame = pd.DataFrame(np.hstack([first, second]), columns=["a0", "a1", "b0", "b1", "b2"])
    blocks = SensitiveEncoder(probabilities={"a": ["a0", "a1"], "b": ["b0", "b1", "b2"]}).fit_encode(frame)
    assert blocks.points[0].shape == (6, 1)  # two levels are 1 apart
    assert blocks.points[1].shape == (6, 3)
    for k in range(6):
        level_a, level_b = int(blocks.points[0][k, 0]), int(blocks.points[1][k].argmax())
        share = blocks.shares[:, [k]].toarray().ravel()
        assert_allclose(share, first[:, level_a] * second[:, level_b], rtol=1e-14)


@pytest.mark.parametrize("penalty", [CCDCovPenalty, JDCovPenalty, DCovPenalty])
@pytest.mark.parametrize("weighted", [False, True])
def test_certain_probabilities_are_the_observed_attribute_to_the_last_digit(people, penalty, weighted, rng):
    certain, observed = with_certainty(people, rng)
    weights = rng.uniform(0.1, 1, N) * (rng.uniform(size=N) > 0.2) if weighted else None
    u = rng.integers(0, 50, N) / 7
    ours = penalty(encoder=encoder()).bind(certain, weights)
    theirs = penalty().bind(observed, weights)
    assert (ours.method, ours.n_profiles) == (theirs.method, theirs.n_profiles)
    for mine, other in zip(ours.value_gradient_curvature(u), theirs.value_gradient_curvature(u), strict=True):
        assert_array_equal(mine, other)


def test_a_fit_with_sharp_probabilities_has_the_coefficients_of_the_observed_one(people, rng):
    certain, observed = with_certainty(people, rng)
    X, y = rng.normal(size=(N, 3)), rng.poisson(1.0, N)
    hard = DCovPoissonRegressor(strength=0.5).fit(X, y, sensitive_features=observed)
    penalty = CCDCovPenalty(encoder=encoder())
    sharp = DCovPoissonRegressor(strength=0.5, penalty=penalty).fit(X, y, sensitive_features=certain)
    assert_array_equal(sharp.coef_, hard.coef_)
    doubt = 1e-9
    certain[LEVELS] = (1 - doubt) * certain[LEVELS] + doubt / 3
    near = DCovPoissonRegressor(strength=0.5, penalty=penalty).fit(X, y, sensitive_features=certain)
    assert_allclose(near.coef_, hard.coef_, atol=1e-6)


def test_rows_slices_and_weights(people, rng):
    blocks = encoder().fit_encode(people)
    rows = rng.permutation(N)[:50]
    part = blocks[rows]
    assert_array_equal(part.shares.toarray(), blocks.shares.toarray()[rows])
    mask = rng.uniform(size=N) < 0.5
    assert_array_equal(select_rows(blocks, mask).shares.toarray(), blocks.shares.toarray()[mask])
    assert_array_equal(blocks[10:20].shares.toarray(), blocks.shares.toarray()[10:20])
    weights = rng.uniform(size=N)
    assert_allclose(blocks.profile_weights(weights), blocks.shares.toarray().T @ weights)
    wide = part.spread(np.isin(np.arange(N), rows[:1]) | np.isin(np.arange(N), rows[1:]))
    assert wide.shares.shape == (N, blocks.n_profiles)
    present = blocks[:1].present()
    assert present.n_profiles == 3
    assert_allclose(present.shares @ np.hstack(present.points), blocks[:1].shares @ np.hstack(blocks.points))
    with pytest.raises(IndexError, match="rows must be a slice or a vector"):
        blocks[3]
    single = blocks.single(0)  # an observed attribute has a level for each row again
    assert type(single) is SensitiveBlocks
    assert_array_equal(single.points[0][single.codes, 0], (people["gender"] == "m").astype(float))
    assert_allclose(blocks.single(1).shares.toarray(), people[LEVELS], rtol=1e-12)


def test_rows_of_equal_probabilities_are_constant(rng):
    frame = pd.DataFrame({"p_a": np.full(9, 0.25), "p_b": np.full(9, 0.75)})
    penalty = CCDCovPenalty(encoder=SensitiveEncoder(probabilities={"race": ["p_a", "p_b"]}))
    with pytest.warns(SensitiveFeaturesWarning, match=r"protected attributes \['race'\] are constant"):
        bound = penalty.bind(frame)
    # By chance alone: the same for every prediction.
    assert_allclose(bound.value(rng.normal(size=9)), bound.value(rng.normal(size=9)), rtol=1e-10)
    frame.loc[8] = [0.5, 0.5]
    penalty.bind(frame)
    with pytest.warns(SensitiveFeaturesWarning, match="are constant"):
        penalty.bind(frame, np.r_[np.ones(8), 0.0])


def test_rows_of_weight_zero_are_absent(people, rng):
    weights = rng.uniform(0.1, 1, N)
    weights[:40] = 0.0
    wild = people.copy()
    wild.loc[:39, "age"] = 1000
    wild.loc[:39, "gender"] = "?"
    u = rng.normal(size=N)
    penalty = JDCovPenalty(encoder=encoder())
    value, gradient = penalty.bind(wild, weights).value_gradient(u)
    expected, slope = penalty.bind(people[40:], weights[40:]).value_gradient(u[40:])
    assert_allclose(value, expected, rtol=1e-12)
    assert_allclose(gradient[40:], slope, rtol=1e-9, atol=1e-15)


def test_any_input_of_columns(people):
    expected = encoder().fit_encode(people).shares.toarray()
    assert_array_equal(
        encoder().fit_encode(pl.DataFrame({name: people[name].tolist() for name in people})).shares.toarray(), expected
    )
    numbers = people[[*LEVELS, "age"]]
    array = SensitiveEncoder(probabilities={"race": [0, 1, 2]}).fit_encode(numbers.to_numpy())
    assert_allclose(array.shares.toarray(), encoder().fit_encode(numbers).shares.toarray())
    integers = pd.DataFrame({"p": [1, 0, 1], "q": [0, 1, 0]})
    certain = SensitiveEncoder(probabilities={"race": ["p", "q"]})
    assert type(certain.fit_encode(integers)) is SensitiveBlocks
    assert_array_equal(certain.fit_encode(integers == 1).codes, certain.fit_encode(integers).codes)


def test_small_misses_of_the_sum_are_scaled_away(rng):
    rounded = pd.DataFrame(rng.dirichlet([1, 1, 1], 50).round(7), columns=LEVELS)
    assert (rounded.sum(axis=1) != 1).any()
    assert_allclose(encoder().fit_encode(rounded).shares.sum(axis=1), 1.0, rtol=1e-15)


def test_clones_pickles_and_refits(people):
    fitted = clone(encoder()).fit(people)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.encode(people).shares.toarray(), fitted.encode(people).shares.toarray())
    blocks = fitted.encode(people)
    copied = pickle.loads(pickle.dumps(blocks))
    assert_array_equal(copied.shares.toarray(), blocks.shares.toarray())
    with pytest.raises(ValueError, match=r"must have the columns seen in fit, \['gender', 'p_white'"):
        fitted.encode(people.drop(columns="p_other"))


# -- what is no probability


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"p_white": -0.1}, ValueError, r"\['race'\] must lie between 0 and 1; found -0.1 in row 7 of 'p_white'"),
        ({"p_white": 1.5}, ValueError, r"must lie between 0 and 1; found 1.5 in row 7 of 'p_white' \(1 such row"),
        ({"p_white": 0.5, "p_black": 0.5, "p_other": 0.1}, ValueError, r"must sum to 1 .* found 1.1 in row 7 \(1 such"),
        ({"p_white": 0.5, "p_black": 0.5, "p_other": 2e-6}, ValueError, r"must sum to 1 .* found 1.000002 in row 7"),
        ({"p_white": np.nan}, ValueError, "column 'p_white' has 1 missing value"),
    ],
)
def test_rows_that_are_no_probabilities(people, change, error, message):
    for name, value in change.items():
        people.loc[7, name] = value
    new = encoder()
    for fit in (new.fit, new.fit_encode):
        with pytest.raises(error, match=message):
            fit(people)
    assert not hasattr(new, "attributes_")  # nor half fitted
    with pytest.raises(error, match=message):
        CCDCovPenalty(encoder=encoder()).bind(people)


def test_new_rows_are_checked_too(people):
    fitted = encoder().fit(people)
    people.loc[3, "p_white"] += 0.5
    for method in (fitted.encode, fitted.transform):
        with pytest.raises(ValueError, match=r"must sum to 1 in each row|must lie between"):
            method(people)


def test_a_level_without_mass_is_named(people):
    people["p_none"] = 0.0
    with pytest.warns(SensitiveFeaturesWarning, match="level.s. of probability 0 in every row, 'p_none'"):
        SensitiveEncoder(probabilities={"race": [*LEVELS, "p_none"]}).fit(people)


def test_undeclared_probabilities_get_a_remark(people):
    with pytest.warns(SensitiveFeaturesWarning, match=r"'p_black', 'p_other'\] lie between 0 and 1 and sum"):
        CCDCovPenalty().bind(people)


@pytest.mark.parametrize(
    ("probabilities", "error", "message"),
    [
        ({"race": ["p_white", "p_blak"]}, ValueError, "probabilities names 'p_blak'; the protected attributes are"),
        ({"race": ["p_white", "p_white"]}, ValueError, "uses the column 'p_white' twice, for 'race' and 'race'"),
        ({"a": LEVELS[:2], "b": LEVELS[1:]}, ValueError, "uses the column 'p_black' twice, for 'a' and 'b'"),
        ({"race": ["p_white"]}, ValueError, "must name the columns of at least two levels"),
        ({"race": "p_white"}, TypeError, r"probabilities\['race'\] must be a list of column names; found 'p_white'"),
        ({"race": 3}, TypeError, "must be a list of column names; found 3"),
        (LEVELS, TypeError, "probabilities must be a dict of attributes"),
        (
            {"gender": LEVELS},
            ValueError,
            "name 'gender' to an attribute, and sensitive_features has an",
        ),
        ({"race": ["gender", "p_white"]}, TypeError, "names the column 'gender', which holds no numbers"),
    ],
)
def test_wrong_columns(people, probabilities, error, message):
    with pytest.raises(error, match=message):
        SensitiveEncoder(probabilities=probabilities).fit(people)


def test_a_column_is_nominal_or_a_probability(people):
    with pytest.raises(ValueError, match="categorical_features names 'p_white', which is a column of probabilities"):
        encoder(categorical_features=["gender", "p_white"]).fit(people)
    assert encoder(categorical_features="all").fit(people).kinds_["race"] == "probabilities"


def test_what_needs_a_profile_for_each_row_says_so(people):
    class Own(Penalty):
        def bind_attributes(self, attributes, probabilities):
            return BoundPenalty(attributes.points[0][attributes.codes, 0])

    with pytest.raises(TypeError, match=r"\['gender', 'race', 'age'\] are probabilities: a row has a share in several"):
        Own(encoder=encoder()).bind(people)
    with pytest.raises(ValueError, match="U-statistic is not defined for protected attributes known as probabilities"):
        CCDCovPenalty(encoder=encoder(), statistic="u").bind(people)


def test_too_many_combinations(people, rng):
    people["age"] = rng.normal(size=N)
    with sklearn.config_context(working_memory=1):
        with pytest.raises(ValueError, match=r"cut or round the attribute of most values \('age'\)"):
            JDCovPenalty(encoder=encoder()).bind(people)
        DCovPenalty(encoder=encoder()).bind(people)
    with (
        sklearn.config_context(working_memory=0.001),
        pytest.raises(ValueError, match=r"combinations of the levels of .* merge levels of small probability"),
    ):
        encoder().fit_encode(people[LEVELS])


@pytest.mark.parametrize("certain", [False, True])
def test_shares_in_pairs_are_products(certain, rng):
    """Of levels that are observed on the left, and of shares on both sides; few of them, and rows without any."""
    n = 50
    left = certain_shares(rng.integers(3, size=n), 3)
    if not certain:
        left = sp.csr_array(rng.dirichlet(np.ones(3), n) * (rng.uniform(size=(n, 3)) < 0.6))
    right = sp.csr_array(rng.dirichlet(np.ones(4), n) * (rng.uniform(size=(n, 4)) < 0.6))
    expected = (left.toarray()[:, :, None] * right.toarray()[:, None, :]).reshape(n, 12)
    found = row_products(left, right)
    assert found.shape == (n, 12)
    assert_array_equal(found.toarray(), expected)


def test_shares_in_groups_are_made_once_for_the_same_cuts(people):
    attributes = with_probabilities(people, {"race": LEVELS})
    shares, labels, names = attributes.memberships({"age": 2})
    assert attributes.memberships({"age": 2})[0] is shares
    assert attributes.memberships({"age": 3})[0] is not shares
    assert shares.shape == (N, len(labels))
    assert names == ["gender", "race", "age"]
    other = attributes.rows(np.arange(N) < 100).memberships({"age": 2})[0]
    assert other.shape[0] == 100

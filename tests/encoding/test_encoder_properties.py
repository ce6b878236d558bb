"""What holds for any protected attributes: of the encoder, drawn at random."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from fairdcov import SensitiveEncoder

NUMBERS = st.one_of(
    st.integers(-(2**53), 2**53).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, -1.7e308, 1e-300]),
)
# Also what looks like something else: numbers, nothing, missing values, spaces.
# Hash tables of pandas 2 end text at a NUL.
_CHARACTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\x00" if pd.__version__ < "3" else "")
LEVELS = st.one_of(
    st.sampled_from(["f", "m", "", "nan", "None", " f", "1", "01", "é"]), st.text(_CHARACTERS, max_size=3)
)
SCALINGS = st.sampled_from(["minmax", "standard", None])


@st.composite
def peoples(draw, least=1, most=12):
    """A frame of one to four attributes: text, booleans and numbers."""
    n = draw(st.integers(least, most))
    kinds = draw(st.lists(st.sampled_from([NUMBERS, LEVELS, st.booleans()]), min_size=1, max_size=4))
    return pd.DataFrame({f"s{c}": draw(st.lists(kind, min_size=n, max_size=n)) for c, kind in enumerate(kinds)})


def points(encoder, people):
    with np.errstate(all="raise", under="ignore"):
        return encoder.transform(people)


def distances_by_hand(people):
    """Squared: 1 or 2 between levels, and the difference as a share of the range between numbers."""
    squares = np.zeros((len(people), len(people)))
    for name in people:
        values = people[name].tolist()
        if isinstance(values[0], float):
            # Quarters of large numbers, so that no difference overflows.
            parts = np.array(values)
            parts = parts / 4 if np.abs(parts).max() > 1e300 else parts
            spread = parts.max() - parts.min()
            if spread > 0:
                squares += ((parts[:, None] - parts[None, :]) / spread) ** 2
        else:
            different = np.array([[a != b for b in values] for a in values], dtype=float)
            squares += different * (1 if len(set(values)) <= 2 else 2)
    return squares


def check_distances(people):
    found = cdist(*[points(SensitiveEncoder().fit(people), people)] * 2, "sqeuclidean")
    np.testing.assert_allclose(found, distances_by_hand(people), rtol=1e-9, atol=1e-9)


def check_forms(people, scaling):
    encoder = SensitiveEncoder(continuous_scaling=scaling)
    expected = points(encoder.fit(people), people)
    rows = people.astype(object).to_numpy().tolist()
    texts = [name for name in people if isinstance(people[name].iloc[0], str)]
    forms = [
        people.astype(object).to_numpy(),
        rows,
        [tuple(row) for row in rows],
        people.astype(object),
        people.set_axis(range(people.shape[1]), axis=1),
        people.astype(dict.fromkeys(texts, "category")),
        pl.DataFrame({name: people[name].tolist() for name in people}),
    ]
    for form in forms:
        np.testing.assert_array_equal(points(encoder.fit(form), form), expected)


def check_order_and_names(people, scaling, seed):
    encoder = SensitiveEncoder(continuous_scaling=scaling)
    expected = points(encoder.fit(people), people)
    order = np.random.default_rng(seed).permutation(len(people))
    moved = people.iloc[order]
    found = points(encoder.fit(moved), moved)
    # A weighted mean is a sum whose last digit depends on the order.
    np.testing.assert_allclose(found, expected[order], rtol=1e-9, atol=1e-9)
    renamed = people.copy()
    for name in people:
        if isinstance(people[name].iloc[0], str):
            levels = sorted(set(people[name]))
            numbers = np.random.default_rng(seed).permutation(len(levels))
            renamed[name] = people[name].map(dict(zip(levels, (f"level {k}" for k in numbers), strict=True)))
    again = points(SensitiveEncoder().fit(renamed), renamed)
    same = points(SensitiveEncoder().fit(people), people)
    np.testing.assert_allclose(cdist(again, again), cdist(same, same), rtol=1e-9, atol=1e-9)


def check_weights(people, scaling, seed):
    """Rows of weight 0 are absent, whatever stands in them; whole weights repeat rows."""
    weights = np.random.default_rng(seed).integers(0, 4, len(people)).astype(float)
    weights[seed % len(people)] = 2.0
    keep = weights > 0
    weighted = SensitiveEncoder(continuous_scaling=scaling).fit(people, sample_weight=weights)
    absent = SensitiveEncoder(continuous_scaling=scaling).fit(people[keep], sample_weight=weights[keep])
    assert weighted.get_feature_names_out().tolist() == absent.get_feature_names_out().tolist()
    np.testing.assert_array_equal(points(weighted, people[keep]), points(absent, people[keep]))
    repeated = people.iloc[np.repeat(np.arange(len(people)), weights.astype(int))]
    by_rows = SensitiveEncoder(continuous_scaling=scaling).fit(repeated)
    np.testing.assert_allclose(points(weighted, people[keep]), points(by_rows, people[keep]), rtol=1e-7, atol=1e-7)


def check_profiles(people, scaling):
    encoder = SensitiveEncoder(continuous_scaling=scaling)
    blocks = encoder.fit_encode(people)
    np.testing.assert_array_equal(np.hstack([part[blocks.codes] for part in blocks.points]), points(encoder, people))
    assert blocks.n_profiles == len(people.drop_duplicates())


CHECKS = {
    "distances": (check_distances, {"people": peoples()}),
    "forms": (check_forms, {"people": peoples(), "scaling": SCALINGS}),
    "order and names": (
        check_order_and_names,
        {"people": peoples(), "scaling": SCALINGS, "seed": st.integers(0, 2**32 - 1)},
    ),
    "weights": (check_weights, {"people": peoples(), "scaling": SCALINGS, "seed": st.integers(0, 2**32 - 1)}),
    "profiles": (check_profiles, {"people": peoples(), "scaling": SCALINGS}),
}


@pytest.mark.parametrize("n_examples", [15, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("check", CHECKS)
def test_properties_of_the_encoder(check, n_examples):
    function, arguments = CHECKS[check]
    settings(max_examples=n_examples, deadline=None, derandomize=True, database=None)(given(**arguments)(function))()

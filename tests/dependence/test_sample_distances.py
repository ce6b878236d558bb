"""Distances between wide points, where most columns are 0."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from fairdcov.dependence._sample import distances


@pytest.mark.parametrize("n_right", [1, 3, 40, 200])
@pytest.mark.parametrize("n_levels", [10, 64, 65, 300])
def test_distances_of_one_hot_columns_beside_numbers(n_levels, n_right, rng):
    points = np.hstack(
        [
            np.eye(n_levels)[rng.integers(0, n_levels, 200)],
            rng.normal(size=(200, 2)),
            np.eye(2)[rng.integers(0, 2, 200)],
        ]
    )
    for right in (points[:n_right], np.median(points, axis=0, keepdims=True), points[:n_right] + 0.5):
        np.testing.assert_allclose(distances(points, right), cdist(points, right), rtol=1e-14)

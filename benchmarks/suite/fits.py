"""Whole fits, as a user has them."""

import warnings

from fairdcov import DCovLGBMRegressor, DCovPoissonRegressor, JSDivergenceCalibrator, independence_test

from .book import make_book


class Fits:
    """Linear, boosted, calibrated, and a test."""

    timeout = 300

    def setup(self):
        """The book of each size once."""
        warnings.simplefilter("ignore")  # of what does not matter for the time
        self.small, self.medium = make_book(5_000), make_book(20_000)

    def time_poisson_glm(self):
        X, y, weight, people = self.medium
        DCovPoissonRegressor(strength=5.0, alpha=1e-4, n_threads=1).fit(X, y, weight, sensitive_features=people)

    def time_strength_path(self):
        X, y, weight, people = self.small
        model = DCovPoissonRegressor(alpha=1e-4, n_threads=1)
        list(model.strength_path(X, y, [0.0, 1.0, 10.0], sample_weight=weight, sensitive_features=people))

    def time_lightgbm(self):
        X, y, weight, people = self.small
        model = DCovLGBMRegressor(strength=5.0, objective="poisson", n_estimators=30, n_penalised_rounds=30, n_jobs=1)
        model.fit(X, y, weight, sensitive_features=people)

    def time_calibrator(self):
        X, y, weight, people = self.small
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(alpha=1e-4, n_threads=1),
            strengths=[0.0, 1.0, 10.0],
            rule="score_budget",
            score_budget=1.0,
            cv=2,
            random_state=0,
            verbose=0,
        )
        calibrator.fit(X, y, weight, sensitive_features=people)

    def time_independence_test(self):
        X, _, _, people = self.small
        independence_test(X[:, 0], sensitive_features=people, n_permutations=99, random_state=0)

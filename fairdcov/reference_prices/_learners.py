"""The two things that prices without the protected attributes are made of: estimates of y, and of who is who."""

from types import SimpleNamespace

import numpy as np
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.utils.metadata_routing import process_routing

from fairdcov._checks import check_finite_matrix, check_finite_vector, metadata_for_fit

__all__ = [
    "check_classifier",
    "default_classifier",
    "default_regressor",
    "estimates",
    "fit_learner",
    "posteriors",
    "weights_for",
]


def default_regressor(random_state, *, binary=False):
    """Boosted trees of scikit-learn for a mean of counts, or for a probability."""
    if binary:
        return _requesting_weights(HistGradientBoostingClassifier(random_state=random_state))
    return _requesting_weights(HistGradientBoostingRegressor(loss="poisson", random_state=random_state))


def default_classifier(random_state):
    """Boosted trees of scikit-learn for levels, small ones that stop early: who is who is hardly ever told."""
    return _requesting_weights(
        HistGradientBoostingClassifier(
            learning_rate=0.1,
            max_iter=100,
            max_leaf_nodes=15,
            min_samples_leaf=50,
            early_stopping=True,
            n_iter_no_change=5,
            random_state=random_state,
        )
    )


def _requesting_weights(learner):
    if sklearn.get_config()["enable_metadata_routing"]:
        learner.set_fit_request(sample_weight=True)
    return learner


def check_classifier(classifier):
    """Raise unless a classifier gives probabilities."""
    if not hasattr(classifier, "predict_proba"):
        raise TypeError(
            f"classifier must have predict_proba, the probability of each level; {type(classifier).__name__} has none: "
            "take one that has it, or wrap it in sklearn.calibration.CalibratedClassifierCV"
        )


def weights_for(owner, learners, weights):
    """Metadata with weights for the ``fit`` of learners (a dict by their names in the owner's router)."""
    if sklearn.get_config()["enable_metadata_routing"]:
        if weights is None:
            return {name: {} for name in learners}
        routed = process_routing(owner, "fit", sample_weight=weights)
        return {name: dict(routed[name].fit) for name in learners}
    return {
        name: metadata_for_fit(SimpleNamespace(estimator=learner), weights, {}) for name, learner in learners.items()
    }


def fit_learner(learner, X, y, params):
    """A fitted clone."""
    return clone(learner).fit(X, y, **params)


def estimates(model, X):
    """Prediction of y (n,): of a classifier the probability of the second class."""
    if is_classifier(model):
        return check_finite_matrix(model.predict_proba(X), "the probability that the regressor gives")[:, 1]
    return check_finite_vector(model.predict(X), "the prediction of the regressor")


def posteriors(model, X, n_levels):
    """Probability of each level, (n, n_levels); 0 for levels that the classifier has not seen."""
    found = check_finite_matrix(model.predict_proba(X), "the probability that the classifier gives")
    known = np.asarray(model.classes_, dtype=np.int64)
    if len(known) == n_levels:
        return found
    shares = np.zeros((len(found), n_levels))
    shares[:, known] = found
    return shares

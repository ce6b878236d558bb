"""What else there is: a constant, and LightGBM or networks with the public fairness methods of other packages."""

import lightgbm
import numpy as np
import pandas as pd
from candidates import Candidate, boosting_settings, frame_features, levels, linear_features, predicted
from sklearn.preprocessing import StandardScaler

from fairdcov import DiscriminationFreeRegressor

__all__ = [
    "adversarial_candidates",
    "constant_candidates",
    "discrimination_free_candidates",
    "equipy_candidates",
    "remover_candidates",
    "unpenalised_booster",
]

# Deviance needs predictions above 0, which corrections and networks without a link do not promise.
SMALLEST = 1e-6


def unpenalised_booster(task, settings):
    """LightGBM's own estimator, with the same settings."""
    options = boosting_settings(settings) | {"verbose": -1}
    return lightgbm.LGBMClassifier(**options) if task.binary else lightgbm.LGBMRegressor(objective="poisson", **options)


def constant_candidates(task, settings):
    """The same frequency or probability for everybody."""
    mean = task.fit.exposure @ task.fit.target / task.fit.exposure.sum()
    yield Candidate("constant", "the mean", None, False, np.full(len(task.held.target), mean))


def discrimination_free_model(task, settings):
    """LightGBM with S among its features, averaged over S: of frequencies, as it needs a regressor."""
    model = DiscriminationFreeRegressor(unpenalised_booster(task, settings))
    given = {"sample_weight": task.fit.exposure, "sensitive_features": task.fit.protected}
    return model.fit(frame_features(task.fit, False), task.fit.target, **given)


def discrimination_free_candidates(task, settings):
    """The discrimination-free price of LightGBM, which asks for no parity between groups."""
    if not task.binary:
        prediction = discrimination_free_model(task, settings).predict(frame_features(task.held, False))
        yield Candidate("discrimination-free", "LightGBM", None, False, prediction)


def transported(task, of_fit, of_held, epsilon=None):
    """EquiPy's sequential transport to the barycentre of the groups, fitted on the rows that the model has seen."""
    from equipy.fairness import MultiWasserstein

    transport = MultiWasserstein()
    transport.fit(of_fit, levels(task, task.fit.protected))
    fair = transport.transform(of_held, levels(task, task.held.protected), epsilon)
    return np.clip(fair, SMALLEST, 1 - SMALLEST if task.binary else None)


def equipy_candidates(task, settings):
    """LightGBM with S followed by EquiPy on its rows, along ε, the share of the differences that is left."""
    without = (0.0,) if 0.0 in settings.epsilons else ()
    for aware, epsilons in ((True, settings.epsilons), (False, without)):
        X, X_held = (frame_features(rows, aware) for rows in (task.fit, task.held))
        model = unpenalised_booster(task, settings).fit(X, task.fit.target, sample_weight=task.fit.exposure)
        of_fit, of_held = predicted(model, X), predicted(model, X_held)
        for epsilon in epsilons:
            parts = [epsilon] * task.fit.protected.shape[1] if epsilon else None
            # Nothing is moved where all differences are left.
            fair = of_held if epsilon == 1 else transported(task, of_fit, of_held, parts)
            yield Candidate("EquiPy", f"LightGBM {'with' if aware else 'without'} S", 1 - epsilon, True, fair)


def remover_candidates(task, settings):
    """fairlearn's CorrelationRemover before LightGBM; it needs the protected attributes to predict."""
    from fairlearn.preprocessing import CorrelationRemover

    X = pd.concat([task.fit.features, task.held.features])
    X, S = (pd.get_dummies(X, dtype=float), pd.get_dummies(both_protected(task), dtype=float, drop_first=True))
    # LightGBM refuses some characters that levels have.
    X.columns = [f"x{k}" for k in range(X.shape[1])]
    S.columns = [f"s{k}" for k in range(S.shape[1])]
    table, n = pd.concat([X, S], axis=1), len(task.fit.target)
    remover = CorrelationRemover(sensitive_feature_ids=list(S.columns)).fit(table.iloc[:n])
    model = unpenalised_booster(task, settings)
    X_fit, X_held = remover.transform(table.iloc[:n]), remover.transform(table.iloc[n:])
    model.fit(X_fit, task.fit.target, sample_weight=task.fit.exposure)
    yield Candidate(
        "CorrelationRemover",
        "LightGBM",
        None,
        True,
        predicted(model, X_held),
    )


def both_protected(task):
    """Protected attributes of the rows of the fit, then of those held back."""
    return pd.concat([task.fit.protected, task.held.protected])


def adversarial_candidates(task, settings):
    """fairlearn's adversarial networks, whose adversary has to tell the intersectional group.

    The regressor knows the squared error only and has no weights: it learns the count, with exposure as a feature. The
    classifier does not show probabilities, so the regressor takes its place. The target is shifted by a half, because
    whole numbers would be read as classes.
    """
    from fairlearn.adversarial import AdversarialFairnessRegressor

    X, X_held = linear_features(task, aware=False)
    if not task.binary:
        X, X_held = np.column_stack([X, task.fit.exposure]), np.column_stack([X_held, task.held.exposure])
    scaler = StandardScaler().fit(X)
    group = levels(task, task.fit.protected).agg("|".join, axis=1).to_numpy()
    for alpha in (0.0, 1.0, 10.0):
        model = AdversarialFairnessRegressor(
            backend="torch",
            predictor_model=[32, "relu", 32, "relu"],
            adversary_model=[32, "relu"],
            alpha=alpha,
            epochs=settings.epochs,
            batch_size=128,
            shuffle=True,
            random_state=0,
        )
        model.fit(scaler.transform(X), task.fit.claims + 0.5, sensitive_features=group)
        prediction = (np.ravel(model.predict(scaler.transform(X_held))) - 0.5) / task.held.exposure
        prediction = np.clip(prediction, SMALLEST, 1 - SMALLEST if task.binary else None)
        yield Candidate("fairlearn adversarial", f"α = {alpha:g}", None, False, prediction)

"""The estimators: a regressor for all families, and a binary classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fairdcov._checks import PenaltyLike, RandomState, documented
from fairdcov._fitting import BinaryClassifier, ObjectiveRegressor
from fairdcov.neural._networks import PenalisedNetwork

__all__ = ["DCovMLPClassifier", "DCovMLPRegressor"]

_PENALTY = """penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, default="ccdcov"
        Dependence measure, with default options when given by name; see :class:`fairdcov.CCDCovPenalty`.
    strength : float, default=1.0
        Multiplier of the penalty, in units of the mean loss for the default, scale-free penalty. 0 gives an ordinary
        network. :class:`fairdcov.CCDCovPenalty` says what ``normalize=False`` means for it."""

_PARAMETERS = """activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers.
    alpha : float, default=1e-4
        Weight decay: multiplier of ``|coefs|^2 / 2`` beside the weighted *sum* of losses, as in scikit-learn's
        networks. It acts on standardised features. On large samples it takes values of the order of n / 1000 to matter.
    learning_rate_init : float, default=1e-3
        Step of Adam, for the loss.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch of the loss; ``"auto"`` makes about a hundred of an epoch, of 32 to 1,024 rows. The penalty
        is always that of the full sample.
    max_epochs : int, default=200
        Epochs at most, of the loss.
    max_iter : int, default=200
        Iterations at most on the full sample, of loss and penalty.
    early_stopping : bool, default=True
        Hold back part of the rows, keep the parameters with the best ``validation_curve_``, and stop when it has not
        improved for ``n_iter_no_change`` steps. Otherwise the objective of the training rows decides.
    validation_fraction : float, default=0.1
        Share of the rows that are held back, at least 4 rows; of no meaning when ``fit`` gets an ``eval_set``.
    n_iter_no_change : int, default=10
        Epochs, and iterations, without improvement after which to stop.
    tol : float, default=1e-4
        Improvements of less than this share do not count.
    warm_start : bool, default=False
        Start from the parameters of the previous fit, if it had the same layers.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, of the order of the rows and of the part that is held back. The same seed and
        the same number of threads give the same bits; torch's own generator is neither used nor changed.
    sensitive_columns : list of str or int, optional
        Columns of X that hold the protected attributes, instead of ``sensitive_features``.
    drop_sensitive_columns : bool, default=True
        Whether these columns are no features. They are then not needed in ``predict``.
    n_threads : int, optional
        Threads of PyTorch where it passes over the full sample, and of the tile kernels; all available for None.
    device : str, default="cpu"
        Where PyTorch trains: ``"cuda"`` or ``"cuda:1"`` copies the rows to that card once, and loss and penalty stay
        there with them. A penalty whose ``penalty_method_`` is not ``"profiles"`` is evaluated on the host, to which
        predictions are copied. Fitted models are NumPy either way.
    verbose : int, default=0
        1 shows progress bars."""

_ATTRIBUTES = """coefs_ : list of arrays
        Weights of each layer, (inputs, outputs), for features in their own units.
    intercepts_ : list of arrays
        Intercepts of each layer.
    n_iter_ : int
        Epochs and iterations taken.
    n_epochs_ : int
        Epochs taken by the loss alone; 0 for a fit that started from another one.
    converged_ : bool
        Whether it stopped before ``max_epochs`` and ``max_iter``.
    loss_curve_ : (m,) array
        Mean loss of the training rows after each epoch and iteration.
    penalty_curve_ : (m,) array
        Their penalty after each iteration; NaN for the epochs, which do not evaluate it.
    validation_curve_ : (m,) array or None
        What early stopping goes by: the loss of the rows held back, plus ``strength`` times the penalty of all rows
        together (a functional of a sample is not well measured on a small part), or of the ``eval_set``.
    effective_strength_ : float
        Strength that the fit goes by: ``strength``, or the largest one below it that was found to give a model not
        worse than a constant on the rows passed to ``fit``.
    penalty_null_level_ : float
        Where a constant would have a lower objective than the model: what the penalty of these rows is at most in 95 %
        of the cases when its predictions fall to the rows at random. The fit warns of a ``penalty_value_`` above it.
        NaN elsewhere.
    loss_value_ : float
        Weighted mean loss (half deviance) on the rows passed to ``fit``, held back or not.
    penalty_value_ : float
        Penalty on these rows, before ``strength`` and net of the terms without predictions; NaN when fitted without
        protected attributes.
    objective_value_ : float
        ``loss_value_ + effective_strength_ * penalty_value_`` plus the weight decay.
    penalty_method_ : str or None
        Algorithm the penalty used.
    penalty_error_bound_ : float or None
        Bound on the error of the normalised penalty; 0 unless ``penalty_method_`` is ``"approximate"``.
    fitted_with_offset_ : bool
        Whether the fit had an offset, which predictions then need as well.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Names of the features, where X had names."""


@documented(penalty=_PENALTY, parameters=_PARAMETERS, attributes=_ATTRIBUTES)
class DCovMLPRegressor(ObjectiveRegressor, PenalisedNetwork):
    """Fully connected network for regression whose predictions do not depend on protected attributes.

    Minimises ``sum_i w_i loss(y_i, u_i) / sum_i w_i + strength * penalty(u, S) + alpha |coefs|^2 / (2 sum_i w_i)``:
    first the loss alone, by Adam on mini-batches, then the whole, by L-BFGS on the full sample with the exact penalty.
    The output layer's intercept is settled last, so that with the default penalty and a Poisson loss the total
    predicted for the rows passed to ``fit`` equals the observed total.

    Parameters
    ----------
    <penalty>
    objective : {"squared_error", "poisson", "negative_binomial", "gamma", "tweedie"}, default="squared_error"
        Loss: half the deviance of the family. All but the squared error have a log link.
    tweedie_power : float, default=1.5
        Power of the variance function for ``objective="tweedie"``, above 1 and below 2.
    dispersion : float, default=1.0
        For ``objective="negative_binomial"``, as in :class:`fairdcov.DCovNegativeBinomialRegressor`.
    hidden_layer_sizes : int or tuple of int, default=(64, 64)
        Width of each hidden layer; ``()`` is a generalised linear model.
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    fairdcov.DCovPoissonRegressor : The linear model.
    fairdcov.neural.DependenceLoss : The penalty for networks of one's own.

    Notes
    -----
    Training needs PyTorch, ``pip install 'fairdcov[neural]'``. Predictions are matrix products in NumPy, so that a
    fitted model can be used, pickled and loaded where PyTorch is not installed.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.neural import DCovMLPRegressor
    >>> book = make_motor_portfolio(3_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    >>> settings = {"objective": "poisson", "hidden_layer_sizes": (16,), "random_state": 0}
    >>> unaware = DCovMLPRegressor(strength=0, **settings).fit(X, book.target, **data)
    >>> penalised = DCovMLPRegressor(strength=10.0, **settings).fit(X, book.target, **data)
    >>> penalised.penalty_value_ < 0.5 * unaware.penalty_value_
    True
    >>> total = (penalised.predict(X) * book.exposure).sum()
    >>> bool(abs(total / book.claims.sum() - 1) < 1e-6)
    True
    """

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        *,
        objective: Literal["squared_error", "poisson", "negative_binomial", "gamma", "tweedie"] = "squared_error",
        tweedie_power: float = 1.5,
        dispersion: float = 1.0,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        activation: Literal["relu", "tanh", "logistic", "identity"] = "relu",
        alpha: float = 1e-4,
        learning_rate_init: float = 1e-3,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int = 200,
        max_iter: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: RandomState | None = None,
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        n_threads: int | None = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            penalty,
            strength,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_epochs=max_epochs,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            sensitive_columns=sensitive_columns,
            drop_sensitive_columns=drop_sensitive_columns,
            n_threads=n_threads,
            device=device,
            verbose=verbose,
        )
        self.objective = objective
        self.tweedie_power = tweedie_power
        self.dispersion = dispersion


@documented(penalty=_PENALTY, parameters=_PARAMETERS, attributes=_ATTRIBUTES)
class DCovMLPClassifier(BinaryClassifier, PenalisedNetwork):
    """Fully connected network for binary classification whose probabilities do not depend on protected attributes.

    Minimises the weighted mean log loss, plus ``strength * penalty(p, S)`` with the probability ``p`` of the second
    class (or, with ``scale="link"`` in the penalty, its logit), plus weight decay, as :class:`DCovMLPRegressor` does.

    Parameters
    ----------
    <penalty>
    hidden_layer_sizes : int or tuple of int, default=(64, 64)
        Width of each hidden layer; ``()`` is logistic regression.
    <parameters>

    Attributes
    ----------
    classes_ : (2,) array
        Class labels.
    <attributes>

    See Also
    --------
    fairdcov.DCovLogisticRegression : The linear model.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.neural import DCovMLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> gender = rng.choice(["f", "m"], size=600)
    >>> X = np.column_stack([(gender == "f") + rng.normal(size=600), rng.normal(size=600)])
    >>> y = X.sum(axis=1) + rng.normal(size=600) > 0
    >>> settings = {"hidden_layer_sizes": (8,), "random_state": 0}
    >>> unaware = DCovMLPClassifier(strength=0, **settings).fit(X, y, sensitive_features=gender)
    >>> penalised = DCovMLPClassifier(strength=10.0, **settings).fit(X, y, sensitive_features=gender)
    >>> penalised.penalty_value_ < 0.2 * unaware.penalty_value_
    True
    >>> penalised.predict_proba(X).shape
    (600, 2)
    """

"""What the networks share: what ``fit`` takes, and predictions without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from fairdcov._checks import PenaltyLike, RandomState, Table, fill_docstring
from fairdcov._fitting import FIT_PARTS, PenalisedEstimator
from fairdcov.neural._layers import raw_predictions
from fairdcov.neural._problem import NetworkProblem

__all__ = ["PenalisedNetwork"]


class PenalisedNetwork(PenalisedEstimator):
    """Fully connected network fitted to ``mean loss + strength * penalty + weight decay``.

    Subclasses say which loss and how predictions are returned.
    """

    __metadata_request__fit = {  # noqa: RUF012
        "eval_set": True,
        "eval_sample_weight": True,
        "eval_sensitive_features": True,
        "eval_control_features": True,
        "eval_offset": True,
    }

    _problem_class = NetworkProblem
    _learnt = "coefs_"

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        *,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        activation: str = "relu",
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
        self.penalty = penalty
        self.strength = strength
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.n_threads = n_threads
        self.device = device
        self.verbose = verbose

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        eval_set: Any = None,
        eval_sample_weight: Any = None,
        eval_sensitive_features: Any = None,
        eval_control_features: Any = None,
        offset: ArrayLike | None = None,
        eval_offset: Any = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : array or DataFrame, (n, p)
            Numeric features, one column for each level of a category. They are standardised inside, and indicators of
            0 and 1 are centred.
        <rows>
        <evaluation>

        <outcome>
        ImportError
            Without PyTorch; the message names the extra to install.

        Warns
        -----
        ConvergenceWarning
            When training ends at ``max_epochs`` or ``max_iter`` while it still gets better; the message says what to
            do.
        StrengthWarning
            When a network of this strength would be worse than a constant, and a smaller one was taken; when the
            penalty of the rows of the fit, or of ``eval_set``, is above its level under independence although a
            constant would have the lower objective.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            sensitive_features,
            control_features=control_features,
            eval_set=eval_set,
            eval_sample_weight=eval_sample_weight,
            eval_sensitive_features=eval_sensitive_features,
            eval_control_features=eval_control_features,
            offset=offset,
            eval_offset=eval_offset,
        )

    fill_docstring(fit, **FIT_PARTS, **{"use of eval_set": "Rows to stop early by, instead of a part of ``X``."})

    def _warm_start(self, problem):
        if not (self.warm_start and hasattr(self, "coefs_")):
            return None
        return problem.starting_parameters(self.coefs_, self.intercepts_)

    def _raw_predict(self, X):
        return raw_predictions(self._features(X), self.coefs_, self.intercepts_, self.activation)

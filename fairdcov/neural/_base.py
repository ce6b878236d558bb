"""What the networks share: what ``fit`` takes, and predictions without PyTorch."""

from fairdcov._checks import fill_docstring
from fairdcov._fitting import FIT_PARTS, PenalisedEstimator
from fairdcov.neural._layers import raw_predictions
from fairdcov.neural._problem import Problem

__all__ = ["PenalisedNetwork"]


class PenalisedNetwork(PenalisedEstimator):
    """Fully connected network fitted to ``mean loss + strength * penalty + weight decay``.

    Subclasses say which loss and how predictions are returned.
    """

    __metadata_request__fit = {  # noqa: RUF012
        "eval_set": True,
        "eval_sample_weight": True,
        "eval_sensitive_features": True,
    }

    _problem_class = Problem

    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        sensitive_features=None,
        eval_set=None,
        eval_sample_weight=None,
        eval_sensitive_features=None,
    ):
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
            When a network of this strength would be worse than a constant, and a smaller one was taken.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            sensitive_features,
            eval_set=eval_set,
            eval_sample_weight=eval_sample_weight,
            eval_sensitive_features=eval_sensitive_features,
        )

    fill_docstring(fit, **FIT_PARTS, **{"use of eval_set": "Rows to stop early by, instead of a part of ``X``."})

    def _warm_start(self, problem):
        if not (self.warm_start and hasattr(self, "coefs_")):
            return None
        return problem.starting_parameters(self.coefs_, self.intercepts_)

    def _raw_predict(self, X):
        return raw_predictions(self._features(X), self.coefs_, self.intercepts_, self.activation)

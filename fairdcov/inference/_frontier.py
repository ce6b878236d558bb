"""How far a model is from the best that parity allows, without the protected attributes and with them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import (
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_sample_weight,
)
from fairdcov._fitting import FAMILIES_BY_LOSS
from fairdcov.encoding import Attributes, check_sensitive_features, warn_about_order
from fairdcov.metrics import js_divergence

__all__ = ["FrontierGap", "frontier_gap"]

_MODEL, _UNAWARE, _AWARE = "this model", "best without S", "best with S"


@dataclass(frozen=True, eq=False)
class FrontierGap:
    """Deviance of a model beside that of references at its divergence.

    Attributes
    ----------
    table : DataFrame
        A row for the model, and one for each reference (``"best without S"``, ``"best with S"``): ``deviance``,
        ``divergence``, ``strength`` (position on the reference's path, between the ones given), ``difference`` (the
        model's deviance less the reference's, positive where the reference is better), ``std_error`` of it, paired, and
        ``reached``, whether the reference gets down to the model's divergence.
    net : bool
        Whether divergences are net of their mean under permuted groups.
    loss : str
        Family of the deviance.
    """

    table: pd.DataFrame
    net: bool
    loss: str = "poisson"

    def _difference(self, better, worse):
        if not {better, worse} <= set(self.table.index):
            return None
        return float(self.table.loc[better, "difference"] - self.table.loc[worse, "difference"])

    @property
    def left_on_the_table(self) -> float | None:
        """Deviance by which the model is above the best that does not see the attributes, at its divergence."""
        return self._difference(_UNAWARE, _MODEL)

    @property
    def left_on_the_table_std_error(self) -> float | None:
        """Standard error of :attr:`left_on_the_table`, paired."""
        return None if _UNAWARE not in self.table.index else float(self.table.loc[_UNAWARE, "std_error"])

    @property
    def cost_of_not_seeing(self) -> float | None:
        """Deviance by which the best without the attributes is above the best with them; None where one is missing."""
        return self._difference(_AWARE, _UNAWARE)

    @property
    def cost_of_not_seeing_std_error(self) -> float | None:
        """Standard error of :attr:`cost_of_not_seeing`, paired; None where a reference is missing."""
        return self.table.attrs.get("cost_std_error")

    def __str__(self):
        divergence = "net divergence" if self.net else "divergence"
        row = self.table.loc[_MODEL]
        lines = [f"deviance {row['deviance']:.5f} at a {divergence} of {row['divergence']:.3e}"]
        for value, error, text in (
            (self.left_on_the_table, self.left_on_the_table_std_error, "what this model leaves on the table"),
            (self.cost_of_not_seeing, self.cost_of_not_seeing_std_error, "what not seeing S costs"),
        ):
            if value is not None:
                lines.append(f"{text}: {value:.5f} ± {error:.5f}")
        for name in self.table.index[1:]:
            if not self.table.loc[name, "reached"]:
                lines.append(f"{name}: does not reach this divergence; compared at its lowest")
        return "; ".join(lines)


def frontier_gap(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    unaware: Any = None,
    aware: Any = None,
    loss: Literal["poisson", "negative_binomial", "gamma", "tweedie", "squared_error", "binomial"] = "poisson",
    net: bool = True,
    **divergence: Any,
) -> FrontierGap:
    """What not seeing the protected attributes costs, and what a model leaves on the table, in deviance.

    The model is compared, at the Jensen-Shannon divergence that it has on these rows, with paths of reference
    predictions of the same rows, such as those of :meth:`FairBarycentreRegressor.strength_path`: the best that does not
    see the attributes, and the best that does. Between two strengths deviance and divergence are interpolated.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure, on rows that no model was fitted to.
    y_pred : (n,) array
        The model's predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes.
    sample_weight : (n,) array, optional
        Row weights, such as exposure: of deviances and divergences.
    unaware, aware : mapping of float to (n,) array, optional
        Reference predictions by strength, of models that do not see the attributes and of models that do; at least one
        of the two.
    loss : {"poisson", "negative_binomial", "gamma", "tweedie", "squared_error", "binomial"}, default="poisson"
        Family of the deviance, of its default parameter.
    net : bool, default=True
        Whether divergences are net of their mean under permuted groups, which differs between models.
    **divergence
        Options of :func:`fairdcov.metrics.js_divergence`, such as ``bins``, ``bandwidth`` and ``min_group_size``.

    Returns
    -------
    FrontierGap

    Raises
    ------
    ValueError
        Without references, for predictions out of the range of the loss, and as :func:`fairdcov.metrics.js_divergence`.

    Notes
    -----
    The standard errors are those of the weighted mean of the rows' differences in deviance. They leave out the error of
    the divergences at which models are matched, of the references' own fits, and what was chosen by looking at these
    rows. References are estimates of the best from the learners given: a model may well be better than a reference, and
    the difference is then negative.

    Examples
    --------
    >>> from fairdcov import DCovPoissonRegressor, FairBarycentreRegressor, frontier_gap
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(4_000, random_state=0)
    >>> X, S = book.data.select_dtypes("number"), book.sensitive_features["gender"]
    >>> train, test = slice(0, 3_000), slice(3_000, None)
    >>> fitted = {"sample_weight": book.exposure[train], "sensitive_features": S[train]}
    >>> glm = DCovPoissonRegressor(strength=1.0)
    >>> reference = FairBarycentreRegressor(DCovPoissonRegressor(strength=0), aware=True)
    >>> path = reference.strength_path(X[train], book.target[train], [0.0, 1.0, 10.0], **fitted)
    >>> aware = {model.strength: model.predict(X[test], sensitive_features=S[test]) for model in path}
    >>> gap = frontier_gap(
    ...     book.target[test],
    ...     glm.fit(X[train], book.target[train], **fitted).predict(X[test]),
    ...     sensitive_features=S[test],
    ...     sample_weight=book.exposure[test],
    ...     aware=aware,
    ... )
    >>> gap.table.index.tolist()
    ['this model', 'best with S']
    """
    check_choice(loss, "loss", tuple(FAMILIES_BY_LOSS))
    check_flag(net, "net")
    if not unaware and not aware:
        raise ValueError("frontier_gap needs reference predictions by strength: pass unaware=, aware=, or both")
    warn_about_order(y_true=y_true, y_pred=y_pred, sample_weight=sample_weight, sensitive_features=sensitive_features)
    y_true = check_finite_vector(y_true, "y_true")
    n_samples = len(y_true)
    check_sensitive_features(sensitive_features, n_samples, reference="y_true")
    weights = check_sample_weight(sample_weight, n_samples, reference="y_true")
    weights = weights / weights.sum()
    attributes = Attributes.read(sensitive_features)
    family = FAMILIES_BY_LOSS[loss].loss()

    def measured(prediction: Any, name: str) -> Any:
        prediction = check_finite_vector(prediction, name)
        check_consistent_rows(n_samples, prediction, name, reference="y_true")
        deviances = family.deviance(y_true, prediction)
        wrong = ~np.isfinite(deviances) & (weights > 0)
        if wrong.any():
            raise ValueError(
                f"{name} has {int(wrong.sum())} prediction(s) without a finite deviance for loss={loss!r}, such as "
                f"{prediction[wrong][0]:g}"
            )
        value = js_divergence(
            None, prediction, sensitive_features=attributes, sample_weight=sample_weight, net=net, **divergence
        )
        return np.where(weights > 0, deviances, 0.0), float(value)

    own, reached = measured(y_pred, "y_pred")
    rows = {_MODEL: [float(weights @ own), reached, np.nan, 0.0, 0.0, True]}
    found = {}
    for name, argument, path in ((_UNAWARE, "unaware", unaware), (_AWARE, "aware", aware)):
        if path:
            points = [
                (float(strength), *measured(prediction, f"{argument}[{strength!r}]"))
                for strength, prediction in sorted(path.items())
            ]
            deviances, at, strength, met = _at_divergence(points, reached)
            found[name] = deviances
            difference, error = _paired(own - deviances, weights)
            rows[name] = [float(weights @ deviances), at, strength, difference, error, met]
    columns = ["deviance", "divergence", "strength", "difference", "std_error", "reached"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    if len(found) == 2:
        table.attrs["cost_std_error"] = _paired(found[_UNAWARE] - found[_AWARE], weights)[1]
    return FrontierGap(table, net, loss)


def _at_divergence(points, wanted):
    """Deviances of the rows where a path first gets down to a divergence, and divergence and strength there."""
    strength, deviances, divergence = points[0]
    if divergence <= wanted:
        # The reference without any penalty is as independent already.
        return deviances, divergence, strength, True
    for before, after in pairwise(points):
        if after[2] <= wanted:
            share = (before[2] - wanted) / (before[2] - after[2])
            strength = (1 - share) * before[0] + share * after[0] if np.isfinite(after[0]) else after[0]
            return (1 - share) * before[1] + share * after[1], wanted, strength, True
    strength, deviances, divergence = min(points, key=lambda point: point[2])
    return deviances, divergence, strength, False


def _paired(differences, weights):
    """Weighted mean of differences of the rows, and its standard error."""
    mean = float(weights @ differences)
    return mean, float(np.sqrt((weights**2) @ (differences - mean) ** 2))

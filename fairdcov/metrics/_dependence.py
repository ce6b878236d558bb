"""The distance-covariance measures of a prediction with attributes of any type, in the convention of the metrics."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fairdcov._checks import (
    Bins,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_sample_weight,
    documented,
    is_constant,
)
from fairdcov.dependence import permutable_dependence
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    SensitiveEncoder,
    check_sensitive_features,
    encode_attributes,
    select_rows,
    warn_about_order,
    warn_of_attributes,
    with_target,
)
from fairdcov.metrics._conditional import CONTROL_OPTIONS, read_strata

__all__ = ["DependenceSample", "ccdcov", "dcov", "jdcov"]

_OPTIONS = """y_true : (n,) array or None
        Not used; there for scikit-learn's and fairlearn's convention.
    y_pred : (n,) array
        Predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes of any type; continuous ones need no bins.
    sample_weight : (n,) array, optional
        Row weights such as exposure, for the V-statistic only.
    statistic : {"v", "u"}, default="v"
        V-statistic, which takes weights, as in the penalties; or the unbiased U-statistic, which is about 0 for an
        independent prediction and which the published figures use.
    normalize : bool, default=False
        Divide the part that depends on the prediction by the Gini mean difference of the predictions, so that
        rescaling them changes nothing. A constant prediction depends on nothing: the part is 0, as without it.
    encoder : SensitiveEncoder, optional
        Turns attributes into points. An encoder that has been fitted is used as it is, so that levels and scales stay
        those of the training data; otherwise a copy is fitted to the rows given.
    method : {"auto", "profiles", "univariate", "tiles", "approximate"}, default="auto"
        Algorithm, as in the penalties: ``"auto"`` is exact but for more than 20,000 rows with too many distinct
        profiles.
    <control>"""


class DependenceSample:
    """Checked predictions and encoded attributes, with the measure of random permutations of one against the other."""

    def __init__(
        self,
        measure,
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        *,
        statistic="v",
        normalize=False,
        encoder=None,
        method="auto",
        c=1.0,
        net=True,
        permuted=False,
        control_features=None,
        control_bins=DEFAULT_GROUPS,
        given=None,
    ):
        warn_about_order(
            y_pred=y_pred, y_true=y_true, sensitive_features=sensitive_features, sample_weight=sample_weight
        )
        self._predictions = check_finite_vector(y_pred, "y_pred")
        n = len(self._predictions)
        check_choice(statistic, "statistic", ("v", "u"))
        normalize, net = check_flag(normalize, "normalize"), check_flag(net, "net")
        if y_true is not None:
            check_consistent_rows(n, np.asarray(y_true), "y_true", reference="y_pred")
        self._weights = None
        if sample_weight is not None:
            self._weights = check_sample_weight(sample_weight, n, reference="y_pred")
        control = with_target(given, control_features, control_bins, y_true, self._weights)
        self._strata = read_strata(control[0], y_pred, control[1], self._weights)
        if sample_weight is not None:
            keep = self._weights > 0
            if not keep.all() and sensitive_features is not None:
                # Rows of weight 0 are absent: they bring in no level and stretch no scale.
                check_sensitive_features(sensitive_features, n, reference="y_pred")
                self._predictions, self._weights = self._predictions[keep], self._weights[keep]
                sensitive_features, n = select_rows(sensitive_features, keep), len(self._predictions)
                self._strata = None if self._strata is None else self._strata.part(keep)
            if (self._weights == self._weights[0]).all():
                self._weights = None
        blocks = encode_attributes(sensitive_features, encoder, self._weights)
        check_consistent_rows(n, blocks, "sensitive_features", reference="y_pred")
        self.n_samples = n
        if n == 0 or is_constant(self._predictions):
            # 0 / 0 where normalised, and rounding where not.
            self._predictions, normalize = np.zeros(n), False
        if self._strata is not None:
            self._strata.warn_of_attributes_among(blocks)
        self._measure = permutable_dependence(
            self._predictions,
            blocks,
            measure,
            self._strata,
            statistic=statistic,
            sample_weight=self._weights,
            net=net,
            normalize=normalize,
            c=c,
            method=method,
            n_permutations=int(permuted),
        )
        if blocks.is_constant(self._weights):
            warn_of_attributes(
                f"the protected attributes {list(blocks.names)} are constant: nothing can depend on them"
            )

    def value(self):
        """The measure."""
        return self._measure.value_of(self._measure.form)

    def permuted_values(self, n_permutations, generator):
        """The measure after each row's attributes were replaced by those of another, in random orders.

        With control features by those of another row of the same stratum.
        """
        if self._strata is not None:
            return self._measure.values_of(self._strata.permutation(generator) for _ in range(n_permutations))
        return self._measure.values_of(generator.permutation(self.n_samples) for _ in range(n_permutations))


@documented(options=_OPTIONS, control=CONTROL_OPTIONS)
def dcov(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    statistic: Literal["v", "u"] = "v",
    normalize: bool = False,
    encoder: SensitiveEncoder | None = None,
    method: Literal["auto", "profiles", "univariate", "tiles", "approximate"] = "auto",
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Squared distance covariance of the predictions with each protected attribute, summed over the attributes.

    Blind to dependence that shows in intersections only.

    Parameters
    ----------
    <options>

    Returns
    -------
    float
        Units of ``y_pred`` times those of the encoded attributes, or of the latter alone with ``normalize=True``.

    See Also
    --------
    fairdcov.distance_covariance : The measure of numeric arrays, with its gradient.

    Examples
    --------
    >>> from fairdcov.metrics import dcov
    >>> dcov(None, [1.0, 1.0, 2.0, 2.0], sensitive_features=["f", "f", "m", "m"])
    0.25
    """
    return DependenceSample(
        "dcov",
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        statistic=statistic,
        normalize=normalize,
        encoder=encoder,
        method=method,
        control_features=control_features,
        control_bins=control_bins,
        given=given,
    ).value()


@documented(options=_OPTIONS, control=CONTROL_OPTIONS)
def ccdcov(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    statistic: Literal["v", "u"] = "v",
    normalize: bool = False,
    encoder: SensitiveEncoder | None = None,
    method: Literal["auto", "profiles", "univariate", "tiles", "approximate"] = "auto",
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Squared concatenated distance covariance: of the predictions with all protected attributes as one vector.

    Zero in the population if and only if predictions and attributes are independent, intersections included.

    Parameters
    ----------
    <options>

    Returns
    -------
    float
        Units of ``y_pred`` times those of the encoded attributes, or of the latter alone with ``normalize=True``.

    See Also
    --------
    fairdcov.concatenated_distance_covariance : The measure of numeric arrays, with its gradient.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov.metrics import ccdcov, dcov
    >>> people = pd.DataFrame({"gender": ["f", "f", "m", "m"], "young": [True, False, True, False]})
    >>> prediction = [1.0, 2.0, 2.0, 1.0]  # exclusive or: neither attribute alone shows it
    >>> dcov(None, prediction, sensitive_features=people), round(ccdcov(None, prediction, sensitive_features=people), 4)
    (0.0, 0.0732)
    """
    return DependenceSample(
        "ccdcov",
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        statistic=statistic,
        normalize=normalize,
        encoder=encoder,
        method=method,
        control_features=control_features,
        control_bins=control_bins,
        given=given,
    ).value()


@documented(options=_OPTIONS, control=CONTROL_OPTIONS)
def jdcov(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    net: bool = True,
    c: float = 1.0,
    statistic: Literal["v", "u"] = "v",
    normalize: bool = False,
    encoder: SensitiveEncoder | None = None,
    method: Literal["auto", "profiles", "univariate", "tiles", "approximate"] = "auto",
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Squared joint distance covariance of the predictions and the protected attributes, net or raw.

    Parameters
    ----------
    <options>
    net : bool, default=True
        Leave out the terms without the prediction: the dependence of the attributes among themselves, which no model
        can change and which keeps the raw value of a perfectly fair model away from 0. The published figures are raw.
    c : float, default=1.0
        At least 0; the larger, the more pairwise dependence counts against that of higher order.

    Returns
    -------
    float

    See Also
    --------
    fairdcov.joint_distance_covariance : The (raw) measure of numeric arrays, with its gradient.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov.metrics import jdcov
    >>> people = pd.DataFrame({"gender": ["f", "f", "m", "m"], "young": [True, True, False, False]})
    >>> fair = [1.0, 2.0, 1.0, 2.0]
    >>> jdcov(None, fair, sensitive_features=people), jdcov(None, fair, sensitive_features=people, net=False)
    (0.0, 0.25)
    """
    return DependenceSample(
        "jdcov",
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        net=net,
        c=c,
        statistic=statistic,
        normalize=normalize,
        encoder=encoder,
        method=method,
        control_features=control_features,
        control_bins=control_bins,
        given=given,
    ).value()

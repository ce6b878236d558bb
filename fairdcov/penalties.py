"""Penalties: small exchangeable objects that hold options, and what they become once bound to data.

To the learners a penalty is this: :class:`Penalty` is bound to protected attributes and weights, and the
:class:`BoundPenalty` that comes out gives value and gradient of a prediction. All else has defaults.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone

from fairdcov._checks import (
    Bins,
    FloatArray,
    PenaltyLike,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_sample_weight,
    documented,
    is_constant,
    row_probabilities,
    within_counted,
    without_exponent,
)
from fairdcov.dependence import (
    GRID_SIZE,
    GridForm,
    ProfileForm,
    Reduction,
    Strata,
    ascending_order,
    bind_dependence,
    bind_strata,
    device_sweep,
    gini_mean_difference,
)
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    MissingSensitiveFeaturesError,
    SensitiveBlocks,
    SensitiveEncoder,
    check_encoder,
    check_sensitive_features,
    given_to,
    select_rows,
    warn_about_order,
    warn_of_attributes,
)

__all__ = [
    "BoundDependence",
    "BoundPenalty",
    "CCDCovPenalty",
    "DCovPenalty",
    "DependencePenalty",
    "JDCovPenalty",
    "Penalty",
    "resolve_penalty",
]

# Steps of the power method for the curvature of a penalty that gives none, of this share of the standard deviation of
# the predictions: far enough that the gradient of a piecewise linear penalty turns on the way.
_CURVATURE_STEPS = 3
_CURVATURE_REACH = 0.01


class BoundPenalty(ABC):
    """A penalty bound to protected attributes and weights: a function of the prediction alone.

    A subclass provides :meth:`value_gradient`; all that the learners ask for beside it has a default.

    Attributes
    ----------
    scale : {"response", "link"}, default="response"
        Which prediction of the model to pass in.
    scale_free : bool, default=False
        Whether the value stays the same when all predictions are multiplied by a number.
    shift_free : bool, default=False
        Whether the value stays the same when a number is added to all predictions.
    method : str, default="exact"
        Algorithm in use.
    error_bound : float, default=0.0
        Bound on the approximation error of the value.

    Notes
    -----
    ``scale_free`` and ``shift_free`` may always be False: learners that keep totals in balance then reckon with a
    penalty that changes with them.

    Examples
    --------
    The square of the difference between the means of two groups:

    >>> import numpy as np
    >>> from fairdcov.penalties import BoundPenalty
    >>> class SquaredGap(BoundPenalty):
    ...     def __init__(self, second):
    ...         self.direction = np.where(second, 1 / second.sum(), -1 / (~second).sum())
    ...
    ...     def value_gradient(self, u):
    ...         gap = self.direction @ u
    ...         return gap**2, 2 * gap * self.direction
    >>> float(SquaredGap(np.array([False, False, True, True])).value(np.array([1.0, 2.0, 2.0, 3.0])))
    1.0
    """

    scale = "response"
    scale_free = False
    shift_free = False
    method = "exact"
    error_bound = 0.0

    @abstractmethod
    def value_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Penalty of the predictions ``u`` (n,), finite float64, and its gradient (n,).

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        value : float
            Penalty.
        gradient : (n,) array
            Its derivatives by the predictions.
        """

    def value(self, u: FloatArray) -> float:
        """Penalty of the predictions ``u`` (n,).

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        float
            Penalty.
        """
        return self.value_gradient(u)[0]

    def value_gradient_curvature(self, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Penalty of the predictions ``u`` (n,), its gradient, and a curvature for each row, not negative (n,).

        Boosting divides gradients by the curvature, of which it takes a quarter since the rows of a leaf move together,
        and takes steps back that were too long all the same. The default is one number for all rows: the largest ratio
        of a change of the gradient to a change of the predictions that a few steps of the power method find, the norm
        of the Hessian where there is one. It costs three more gradients. A penalty that is not defined around ``u``
        needs a method of its own.

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        value : float
            Penalty.
        gradient : (n,) array
            Its derivatives by the predictions.
        curvature : (n,) array
            Not negative.
        """
        value, gradient = self.value_gradient(u)
        reach = _CURVATURE_REACH * float(np.std(u)) * np.sqrt(len(u))
        direction, curvature = np.asarray(gradient), 0.0
        for _ in range(_CURVATURE_STEPS if reach > 0 else 0):
            length = np.linalg.norm(direction)
            if not 0 < length < np.inf:
                break
            direction = gradient - self.value_gradient(u - (reach / length) * direction)[1]
            curvature = max(curvature, np.linalg.norm(direction) / reach)
        return value, gradient, np.full(len(u), curvature)


class BoundDependence(BoundPenalty):
    """A dependence penalty bound to protected attributes and weights.

    Predictions are vectors (n,), or columns (n, 1), of finite numbers, one for each row of the protected attributes;
    anything else raises a ValueError.

    A constant prediction depends on nothing: value, gradient and curvature are zero there, also in the scale-free form,
    where 0 is divided by 0. It is a kink of the penalty. Predictions count as constant that are equal up to rounding
    (64 units in the last place) on all rows of positive weight.

    Attributes
    ----------
    scale, scale_free, shift_free, method, error_bound
        As in :class:`BoundPenalty`; for the methods see :func:`fairdcov.distance_covariance`, and the bound is that of
        the normalised value, 0 for exact methods. With nodes of the predictions it is that of the predictions evaluated
        last, by whichever thread, infinity before.
    multiplier : (n,) array or None
        What predictions are multiplied by before they are compared: the weights for ``scale="total"``.
    n_profiles : int
        Distinct combinations of protected attributes.
    n_strata : int
        Strata of the control features, 1 without any.
    constant : float
        The part of the measure that depends on the attributes alone. It is left out of the value, since no model can
        change it.
    encoder : SensitiveEncoder
        The fitted encoder.
    """

    def __init__(
        self,
        form: Any,
        *,
        scale: Literal["response", "link", "total"],
        normalize: bool,
        statistic: Literal["v", "u"],
        probabilities: FloatArray | None,
        n_profiles: int,
        encoder: SensitiveEncoder,
        multiplier: FloatArray | None = None,
        n_strata: int = 1,
    ) -> None:
        self.scale = scale
        self.multiplier = multiplier
        self.method = form.method
        self.n_profiles = n_profiles
        self.n_strata = n_strata
        self.constant = form.constant
        self.encoder = encoder
        self._form = form
        self.scale_free = normalize
        self.shift_free = multiplier is None
        self._statistic = statistic
        self._probabilities = probabilities
        self._counted = None if probabilities is None or probabilities.all() else probabilities > 0

    @property
    def error_bound(self) -> float:  # type: ignore[override]
        """See above."""
        return self._form.error_bound

    def value(self, u: FloatArray) -> float:
        """Penalty of the predictions ``u`` (n,), net of :attr:`constant`.

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        float
            Penalty.
        """
        # The gradient of predictions near 0 may be beyond the range of floats where the value is not.
        with np.errstate(over="ignore"):
            return self._evaluate(u)[0]

    def value_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Penalty of the predictions ``u`` (n,) and its gradient (n,).

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        value : float
            Penalty.
        gradient : (n,) array
            Its derivatives by the predictions.
        """
        return self._evaluate(u)[:2]

    def value_gradient_curvature(self, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Penalty of the predictions ``u`` (n,), its gradient, and a positive curvature for each row, all but one (n,).

        The penalty is piecewise linear and has no second derivative, but its gradient turns as rows pass each other. At
        independence its smoothed Hessian is ``4 f(u_i) delta(u_i - u_j) (-M_ij)``, with the density f of the
        predictions; the curvature ``4 f(u_i) sum_j |M_ij|`` bounds it from above, so that steps of a learner which
        divides by it do not overshoot. In the tails, where a step leads to denser places, f counts as at least 2 % of
        the inverse Gini mean difference. Within strata both are those of the row's stratum.

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        value : float
            Penalty.
        gradient : (n,) array
            Its derivatives by the predictions.
        curvature : (n,) array
            Positive, all but one.
        """
        value, gradient, totals, spread, order, exponent = self._evaluate(u)
        if order is None:
            return value, gradient, np.zeros(len(gradient))
        width = spread
        if isinstance(self._form, GridForm):
            width = order.spread
        elif not self.scale_free:
            width, _ = gini_mean_difference(totals, self._probabilities, statistic=self._statistic, order=order)
        curvature = self._form.density(totals, order, self._probabilities, width)
        curvature *= self._pulls
        curvature *= 4.0 / spread
        if exponent:
            curvature = np.ldexp(curvature, -2 * exponent if self.scale_free else -exponent)
        return value, gradient, curvature if self.multiplier is None else curvature * self.multiplier**2

    def smoothed(self, width: float) -> BoundPenalty | None:
        """The same penalty without the kinks that predictions constant within a stratum are, a BoundPenalty.

        Where the value within a stratum (over the spread of all predictions, if normalised) is below ``width`` a
        parabola takes its place, so that it is too large by at most half of ``width``. None where there are no strata,
        and for the U-statistic.

        Parameters
        ----------
        width : float
            Value below which the parabola takes the place of the penalty.

        Returns
        -------
        BoundPenalty or None
            The smooth penalty.
        """
        return _SmoothedDependence(self, width) if self._has_kinks() else None

    def values_within(self, u: FloatArray) -> FloatArray | None:
        """Penalty of each stratum before its share; None where :meth:`smoothed` is.

        Parameters
        ----------
        u : (n,) array
            Predictions, finite float64.

        Returns
        -------
        (L,) array or None
            One value for each stratum.
        """
        if not self._has_kinks():
            return None
        u = u if self.multiplier is None else u * self.multiplier
        if is_constant(u):
            return np.zeros(len(self._form.forms))
        order = ascending_order(u)
        values = self._form.values_within(u, order)
        return values / gini_mean_difference(u, self._probabilities, order=order)[0] if self.scale_free else values

    def _has_kinks(self):
        return hasattr(self._form, "smoothed") and self._statistic == "v"

    def _evaluate(self, u, smoothing=None):
        """Value, gradient, and what they were made of.

        That is what is compared, divided by a power of two; what value and gradient were divided by; the order of the
        rows (on a grid, what is known of it), None for a constant prediction; and the exponent of that power.
        """
        u = check_finite_vector(u, "u")
        check_consistent_rows(
            self._form.n_samples, u, "u", reference="the protected attributes that the penalty is bound to"
        )
        if self.multiplier is not None:
            u = check_finite_vector(u * self.multiplier, "u times sample_weight")
        if self._counted is not None:
            # Rows of weight 0 have no say in what is large or small.
            u = within_counted(u, self._counted)
        if isinstance(self._form, GridForm):
            found = self._form.evaluate(u, normalize=self.scale_free)
            gradient = found.gradient if self.multiplier is None else found.gradient * self.multiplier
            order = None if found.masses is None else found
            return found.value, gradient, found.u, found.spread if self.scale_free else 1.0, order, found.exponent
        if is_constant(u):
            return 0.0, np.zeros(len(u)), u, 1.0, None, 0
        u, exponent = without_exponent(u)
        order = ascending_order(u, n_threads=self._form.n_threads)
        if isinstance(self._form, ProfileForm) and smoothing is None:
            value, gradient, spread = self._form.evaluate(u, order, normalize=self.scale_free)
            return self._with_units(value, gradient, u, spread, order, exponent)
        spread, signed_weights = 1.0, None
        if smoothing is None:
            value, gradient, signed_weights = self._form.value_gradient_weights(u, order)
        if self.scale_free:
            spread, spread_gradient = gini_mean_difference(
                u, self._probabilities, statistic=self._statistic, order=order, signed_weights=signed_weights
            )
        if smoothing is not None:
            width = spread * smoothing if self.scale_free else np.ldexp(smoothing, -exponent)
            value, gradient, slope = self._form.smoothed(u, order, width)
            if self.scale_free:
                gradient += (slope * smoothing) * spread_gradient
        if self.scale_free:
            value /= spread
            spread_gradient *= value
            gradient -= spread_gradient
            gradient /= spread
        return self._with_units(value, gradient, u, spread, order, exponent)

    def _with_units(self, value, gradient, u, spread, order, exponent):
        """What :meth:`_evaluate` returns, from what was found for predictions divided by ``2 ** exponent``."""
        if exponent and self.scale_free:
            gradient = np.ldexp(gradient, -exponent)
        elif exponent:
            value = float(np.ldexp(value, exponent))
        if self.multiplier is not None:
            gradient = gradient * self.multiplier
        return value, gradient, u, spread, order, exponent

    def profile_terms(self) -> ProfileTerms | None:
        """What value and gradient are made of where M is one of profiles, for code that sums on another device.

        Returns
        -------
        ProfileTerms or None
            None for other methods, and within strata.
        """
        terms = self._form.profile_terms()
        if terms is None:
            return None
        codes, matrix, row_weights = terms
        return ProfileTerms(
            codes,
            matrix,
            row_weights,
            self._probabilities,
            self._counted,
            self.multiplier,
            self.scale_free,
            self._statistic,
        )

    def grid_terms(self, rows: ArrayLike) -> Any:
        """What value and gradient are made of on a grid of profiles, for rows that are in many places.

        Parameters
        ----------
        rows : (m,) integer array
            Rows that stand for all with their attributes.

        Returns
        -------
        fairdcov.dependence.GridTerms or None
            None for other methods.
        """
        return self._form.terms(rows) if isinstance(self._form, GridForm) else None

    def on_device(self, device: Any) -> Any:
        """The same function of PyTorch tensors, computed where they are.

        Parameters
        ----------
        device : torch.device
            Where predictions will be, and where the attributes are copied to.

        Returns
        -------
        object or None
            With ``value_gradient(u)`` of float64 tensors (n,); None where :meth:`profile_terms` is.
        """
        terms = self.profile_terms()
        return None if terms is None else device_sweep(terms, device)

    @cached_property
    def _pulls(self):
        return self._form.pull_bounds()


@dataclass(frozen=True, eq=False)
class ProfileTerms:
    """Parts of a bound dependence penalty of profiles, ``sum_ij |u_i - u_j| q_i q_j D[k_i, k_j]``.

    Attributes
    ----------
    codes : (n,) int32 array
        Profile k of each row.
    matrix : (K, K) float64 array
        D.
    row_weights : (n,) float64 array or None
        q, None for ones.
    probabilities : (n,) float64 array or None
        Row weights of sum 1 of the Gini mean difference, None for equal ones.
    counted : (n,) bool array or None
        Rows of positive weight; None for all.
    multiplier : (n,) float64 array or None
        What predictions are multiplied by first.
    scale_free : bool
        Whether the value is divided by the Gini mean difference.
    statistic : {"v", "u"}
        Of the Gini mean difference.
    """

    codes: np.ndarray
    matrix: np.ndarray
    row_weights: np.ndarray | None
    probabilities: np.ndarray | None
    counted: np.ndarray | None
    multiplier: np.ndarray | None
    scale_free: bool
    statistic: str


class _SmoothedDependence(BoundPenalty):
    """A penalty within strata without its kinks."""

    def __init__(self, bound, width):
        self.scale, self.scale_free, self.shift_free = bound.scale, bound.scale_free, bound.shift_free
        self._bound, self._width = bound, width

    def value_gradient(self, u):
        """See :meth:`BoundPenalty.value_gradient`."""
        return self._bound._evaluate(u, self._width)[:2]


class Penalty(BaseEstimator):
    """Base of the penalties: options, no data, and one way to read protected attributes and weights.

    A subclass provides :meth:`bind_attributes`; options of its own are parameters of its ``__init__``, as in any
    estimator of scikit-learn. The estimators take an object of it as ``penalty``.

    Parameters
    ----------
    scale : {"response", "link"}, default="response"
        Penalise the prediction itself or the linear predictor.
    weighted : bool, default=True
        Whether the ``sample_weight`` of the fit (exposure) also weights the penalty.
    encoder : SensitiveEncoder, optional
        Turns attributes into points; cloned before use.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.penalties import BoundPenalty, Penalty
    >>> class SquaredCovariance(Penalty):
    ...     def bind_attributes(self, attributes, probabilities):
    ...         first = attributes.points[0][attributes.codes, 0]
    ...         return BoundSquare(probabilities * (first - probabilities @ first))
    >>> class BoundSquare(BoundPenalty):
    ...     def __init__(self, direction):
    ...         self.direction = direction
    ...
    ...     def value_gradient(self, u):
    ...         covariance = self.direction @ u
    ...         return covariance**2, 2 * covariance * self.direction
    >>> float(SquaredCovariance().bind(["f", "f", "m", "m"]).value(np.array([1.0, 1.0, 2.0, 2.0])))
    0.0625
    """

    _scales: tuple = ("response", "link")

    def __init__(
        self,
        scale: Literal["response", "link"] = "response",
        weighted: bool = True,
        encoder: SensitiveEncoder | None = None,
    ) -> None:
        self.scale = scale
        self.weighted = weighted
        self.encoder = encoder

    def bind(
        self, sensitive_features: Table, sample_weight: ArrayLike | None = None, *, n_threads: int | None = None
    ) -> BoundPenalty:
        """Compute once all that depends on the protected attributes.

        Parameters
        ----------
        sensitive_features : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes of any type; they are encoded by ``encoder``.
        sample_weight : (n,) array, optional
            Row weights such as exposure, ignored when ``weighted=False``.
        n_threads : int, optional
            Threads that the penalty may use, such as those of the tile kernels.

        Returns
        -------
        BoundPenalty
            With ``value(u)`` and ``value_gradient(u)``.

        Raises
        ------
        ValueError
            For missing values, weights with the U-statistic, lengths that differ and unknown options.
        TypeError
            For columns of mixed types or dates.

        Warns
        -----
        SensitiveFeaturesWarning
            When the protected attributes are constant: there is nothing to penalise.

        Notes
        -----
        What a fit knows of its rows beside attributes and weights comes as a keyword. Learners pass those keywords that
        the user has given something for; a penalty whose ``bind`` does not name one of them raises a TypeError there,
        but for ``n_threads``, which it may go without.
        """
        encoder, blocks, weights, given_weights = self._read(sensitive_features, sample_weight)
        return self._bind(encoder, blocks, weights, given_weights, n_threads)

    def _bind(self, encoder, attributes, weights, given_weights, n_threads):
        n_samples = attributes.n_samples
        probabilities = np.full(n_samples, 1.0 / n_samples) if weights is None else row_probabilities(weights)
        bound = self.bind_attributes(attributes, probabilities)
        bound.scale = self.scale
        return bound

    def bind_attributes(self, attributes: Any, probabilities: FloatArray) -> BoundPenalty:
        """The penalty bound to checked and encoded attributes; what subclasses provide.

        Parameters
        ----------
        attributes : object
            ``points[b][codes]`` are the coordinates of the rows in attribute ``b``, (n, q), ``names[b]`` is its name:
            rows with equal attributes share a profile, ``codes`` (n,) are the profiles of the rows and ``points`` a
            tuple of coordinates of the profiles, (K, q) each.
        probabilities : (n,) array
            Row weights of sum 1.

        Returns
        -------
        BoundPenalty
            With the ``scale`` of this object, which :meth:`bind` sets.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method bind_attributes(attributes, probabilities)")

    def _read(self, sensitive_features, sample_weight, *, shared=False):
        """The fitted encoder, the profiles, the weights of the rows (None where equal), and the weights as given.

        Where rows are ``shared`` with other processes, profiles that are given stay as they are: they are those of all.
        """
        check_choice(self.scale, "scale", self._scales)
        weighted = check_flag(self.weighted, "weighted")
        if self.encoder is not None:
            check_encoder(self.encoder)
        if sensitive_features is None:
            raise MissingSensitiveFeaturesError(f"{type(self).__name__}.bind needs sensitive_features; found None")
        if not hasattr(sensitive_features, "__len__"):
            raise TypeError(
                "sensitive_features must be a DataFrame, a Series or an array; found a "
                f"{type(sensitive_features).__name__}"
            )
        warn_about_order(sensitive_features=sensitive_features, sample_weight=sample_weight)
        n_samples = len(sensitive_features)
        check_sensitive_features(sensitive_features, n_samples)
        weights = given = None
        if sample_weight is not None and (weighted or self.scale == "total"):
            weights = given = check_sample_weight(sample_weight, n_samples, reference="sensitive_features")
        # Totals of rows carry their weight themselves: the rows count once each.
        if weights is not None and (self.scale == "total" or (weights == weights[0]).all()):
            weights = None
        encoder = SensitiveEncoder() if self.encoder is None else clone(self.encoder)
        sensitive_features = given_to(encoder.fit_encode, sensitive_features)
        if shared and isinstance(sensitive_features, SensitiveBlocks):
            return encoder, sensitive_features, weights, given
        if weights is None or weights.all():
            blocks = encoder.fit_encode(sensitive_features, weights)
        else:
            # Rows of weight 0 must not bring in levels or stretch a scale; any profile will do for them.
            keep = weights > 0
            blocks = encoder.fit_encode(select_rows(sensitive_features, keep), weights[keep]).spread(keep)
        if blocks.is_constant(weights):
            warn_of_attributes(
                f"the protected attributes {list(blocks.names)} are constant: there is nothing to penalise"
            )
        return encoder, blocks, weights, given


class DependencePenalty(Penalty):
    """Base of the distance-covariance penalties. Subclasses name the measure; :meth:`bind` does the work."""

    _scales = (*Penalty._scales, "total")
    # Of penalties in models that were saved before there were control features and grids.
    control_bins: Bins = DEFAULT_GROUPS
    grid_size = GRID_SIZE

    def __init__(
        self,
        statistic: Literal["v", "u"] = "v",
        normalize: bool = True,
        weighted: bool = True,
        scale: Literal["response", "link", "total"] = "response",
        method: str = "auto",
        encoder: SensitiveEncoder | None = None,
        n_components: int = 256,
        random_state: RandomState = 0,
        control_bins: Bins = DEFAULT_GROUPS,
        grid_size: int = GRID_SIZE,
    ) -> None:
        super().__init__(scale, weighted, encoder)  # type: ignore[arg-type]  # one scale more
        self.statistic = statistic
        self.normalize = normalize
        self.method = method
        self.n_components = n_components
        self.random_state = random_state
        self.control_bins = control_bins
        self.grid_size = grid_size

    def bind(
        self,
        sensitive_features: Table,
        sample_weight: ArrayLike | None = None,
        *,
        control_features: Table | None = None,
        n_threads: int | None = None,
        reduction: Reduction | None = None,
    ) -> BoundDependence:
        """Compute once all that depends on the protected attributes.

        Parameters
        ----------
        sensitive_features : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes of any type; they are encoded by ``encoder``, in all strata alike.
        sample_weight : (n,) array, optional
            Row weights such as exposure, ignored when ``weighted=False``.
        control_features : DataFrame, Series or array, (n,) or (n, d), optional
            Legitimate factors L of any type, within whose levels the dependence is measured:
            ``sum_l pi_l psi(u, S | L = l)`` with the shares pi_l of the weight. Several are crossed; numbers are cut as
            ``control_bins`` says.
        n_threads : int, optional
            Threads that the penalty may use; its numbers do not depend on it.
        reduction : fairdcov.dependence.Reduction, optional
            With ``method="grid"``: the processes that share the rows, of which each binds and evaluates its own with
            the same profiles in the same order. Value and gradient are then those of all rows together.

        Returns
        -------
        BoundDependence
            With ``value(u)`` and ``value_gradient(u)``.

        Raises
        ------
        ValueError
            For missing values, weights with the U-statistic, lengths that differ and unknown options; for control
            features that determine the protected attributes.
        TypeError
            For columns of mixed types or dates.

        Warns
        -----
        SensitiveFeaturesWarning
            When the protected attributes are constant: there is nothing to penalise; for strata that count as 0 since
            their attributes do not vary or their rows are too few (fewer than 2, for the U-statistic than 4); for a
            control feature that is a protected attribute.
        """
        shared = reduction is not None
        encoder, blocks, weights, given_weights = self._read(sensitive_features, sample_weight, shared=shared)
        strata = None
        if control_features is not None:
            warn_about_order(sensitive_features=sensitive_features, control_features=control_features)
            strata = Strata.read(control_features, blocks.n_samples, self.control_bins, weights)
            strata.warn_of_attributes_among(blocks, slice(None) if weights is None else weights > 0)
        return self._bind(encoder, blocks, weights, given_weights, n_threads, strata, reduction)

    @property
    @abstractmethod
    def _measure(self):
        """Name of the measure in :data:`fairdcov.dependence.MEASURES`."""

    def _measure_options(self):
        return {}

    def _bind(self, encoder, blocks, weights, given_weights, n_threads, strata=None, reduction=None):
        normalize = check_flag(self.normalize, "normalize")
        if weights is not None and self.statistic == "u":
            raise ValueError(
                "a weighted U-statistic is not defined: use statistic='v', or weighted=False for an unweighted penalty "
                "beside a weighted loss"
            )
        options = {
            "statistic": self.statistic,
            "sample_weight": weights,
            "method": self.method,
            "n_threads": n_threads,
            "n_components": self.n_components,
            "random_state": self.random_state,
            "grid_size": self.grid_size,
            **self._measure_options(),
        }
        if reduction is not None:
            if strata is not None:
                raise ValueError("control_features do not go with rows in several processes: leave out one of the two")
            if self.scale != "total":
                # Weights that are equal here may be others elsewhere.
                options["sample_weight"] = weights = given_weights
            options["reduction"] = reduction
        if strata is None:
            form = bind_dependence(blocks, self._measure, attribute_nodes=True, parallel_sweep=True, **options)
        else:
            form = bind_strata(blocks, strata, self._measure, **options)
        total = self.scale == "total"
        return BoundDependence(
            form,
            scale="response" if total else self.scale,
            multiplier=given_weights if total else None,
            normalize=normalize,
            statistic=self.statistic,
            probabilities=None if weights is None else row_probabilities(weights),
            n_profiles=blocks.n_profiles,
            encoder=encoder,
            n_strata=1 if strata is None else len(strata),
        )


_OPTIONS = """statistic : {"v", "u"}, default="v"
        V-statistic, which takes weights and is never negative, or unbiased U-statistic.
    normalize : bool, default=True
        Divide by the Gini mean difference ``sum_ij p_i p_j |u_i - u_j|`` of the predictions; a constant prediction has
        no penalty and no gradient. Within strata it is that of all rows, so that predictions which only differ between
        strata have no penalty either. The penalty is then free of the units of ``u``; with a log link and an intercept
        the fitted total keeps equal to the observed total. The penalty is in units of the encoded attributes, the
        strength in those of the mean loss. With ``False`` the penalty has the units of ``u`` (the published form), and
        so has the strength inversely.
    weighted : bool, default=True
        Whether the ``sample_weight`` of the fit (exposure) also weights the penalty.
    scale : {"response", "link", "total"}, default="response"
        Penalise the prediction itself (a frequency, a probability), the linear predictor, or the prediction times
        ``sample_weight`` with all rows alike (expected counts where the weight is exposure: the published form).
    method : {"auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"}, default="auto"
        Algorithm; ``"auto"`` is exact but for more than 20,000 rows with too many distinct profiles, where it
        approximates and the bound penalty's ``error_bound`` says how well: by nodes of the attributes that have many
        values, if one or two of them do, and otherwise by features. ``"grid"`` spares the sort of the predictions: it
        takes linear time and many threads, its value is off by about 1e-6 of itself and its gradient by 1e-3.
    encoder : SensitiveEncoder, optional
        Turns attributes into points; cloned before use. By default text, booleans and categories are nominal and
        numbers are continuous on [0, 1].
    n_components : int, default=256
        Features of the approximation.
    random_state : int, default=0
        Seed of the approximation.
    control_bins : int or dict, default=5
        How numbers among the control features of :meth:`bind` are cut into strata, as the ``bins`` of
        :func:`fairdcov.metrics.js_divergence`: into so many weighted quantile groups where there are more than 20
        distinct values, or each control feature of a dict as it says.
    grid_size : int, default=4096
        Nodes that ``method="grid"`` has for the predictions, about; the error of the value falls with its square."""


@documented(options=_OPTIONS)
class DCovPenalty(DependencePenalty):
    """Distance covariance summed over the protected attributes, one at a time.

    Blind to dependence that shows in intersections only ("fairness gerrymandering"); prefer :class:`CCDCovPenalty` or
    :class:`JDCovPenalty` where several attributes are protected.

    Parameters
    ----------
    <options>

    See Also
    --------
    fairdcov.distance_covariance : The measure as a function.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import DCovPenalty
    >>> bound = DCovPenalty().bind(np.array(["a", "a", "b", "b"]))
    >>> value, gradient = bound.value_gradient(np.array([1.0, 1.0, 2.0, 2.0]))
    >>> value
    0.5
    """

    _measure = "dcov"


@documented(options=_OPTIONS)
class CCDCovPenalty(DependencePenalty):
    """Concatenated distance covariance: of the prediction with all protected attributes as one vector.

    Zero in the population if and only if the prediction is independent of the attributes jointly.

    Parameters
    ----------
    <options>

    See Also
    --------
    fairdcov.concatenated_distance_covariance : The measure as a function.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from fairdcov import CCDCovPenalty
    >>> people = pd.DataFrame({"gender": ["f", "f", "m", "m"], "young": [True, False, True, False]})
    >>> bound = CCDCovPenalty().bind(people)
    >>> bound.n_profiles, bound.method
    (4, 'profiles')
    >>> round(bound.value(np.array([1.0, 2.0, 2.0, 1.0])), 4)  # exclusive or: neither attribute alone shows it
    0.1464
    """

    _measure = "ccdcov"


@documented(options=_OPTIONS)
class JDCovPenalty(DependencePenalty):
    """Joint distance covariance of the prediction and the protected attributes, net of its terms without prediction.

    Parameters
    ----------
    <options>
    c : float, default=1.0
        At least 0; the larger, the more pairwise dependence counts against that of higher order.

    See Also
    --------
    fairdcov.joint_distance_covariance : The measure as a function.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from fairdcov import JDCovPenalty
    >>> people = pd.DataFrame({"gender": ["f", "f", "m", "m"], "young": [True, False, True, False]})
    >>> round(JDCovPenalty(c=0.5).bind(people).value(np.array([1.0, 2.0, 2.0, 1.0])), 4)
    0.25
    """

    _measure = "jdcov"

    def __init__(
        self,
        statistic: Literal["v", "u"] = "v",
        normalize: bool = True,
        weighted: bool = True,
        scale: Literal["response", "link", "total"] = "response",
        method: Literal["auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"] = "auto",
        encoder: SensitiveEncoder | None = None,
        n_components: int = 256,
        random_state: RandomState = 0,
        c: float = 1.0,
        control_bins: Bins = DEFAULT_GROUPS,
        grid_size: int = GRID_SIZE,
    ) -> None:
        super().__init__(
            statistic, normalize, weighted, scale, method, encoder, n_components, random_state, control_bins, grid_size
        )
        self.c = c

    def _measure_options(self):
        return {"c": self.c}


_PENALTIES = {"ccdcov": CCDCovPenalty, "dcov": DCovPenalty, "jdcov": JDCovPenalty}


def resolve_penalty(penalty: PenaltyLike) -> Any:
    """The penalty object that a parameter value stands for.

    Parameters
    ----------
    penalty : {"ccdcov", "jdcov", "dcov"} or penalty object
        A name gives the penalty with its default options.

    Returns
    -------
    object with a method ``bind``

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> from fairdcov.penalties import resolve_penalty
    >>> resolve_penalty("jdcov")
    JDCovPenalty()
    """
    if isinstance(penalty, str) and penalty in _PENALTIES:
        return _PENALTIES[penalty]()
    if hasattr(penalty, "bind"):
        return penalty
    raise ValueError(
        f"penalty must be one of {', '.join(map(repr, _PENALTIES))} or a penalty object such as "
        f"fairdcov.CCDCovPenalty(normalize=False); found {penalty!r}"
    )


def bind_penalty(penalty, sensitive_features, sample_weight, *, n_threads=None, **given):
    """Bind a penalty for a learner, or raise the error that says what is missing, before the learner does any work.

    Parameters
    ----------
    penalty : {"ccdcov", "jdcov", "dcov"} or penalty object
        What the user passed.
    sensitive_features, sample_weight
        As in :meth:`Penalty.bind`.
    n_threads : int, optional
        Passed on where the penalty takes it.
    **given
        What else the user gave (None: nothing): a penalty that does not take it raises a TypeError.

    Returns
    -------
    BoundPenalty
        Also of penalties that are no :class:`Penalty`.
    """
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError(
            "strength > 0 needs sensitive_features: pass fit(..., sensitive_features=S), name columns of X with "
            "sensitive_columns=[...], or set strength=0 for an unpenalised fit"
        )
    penalty = resolve_penalty(penalty)
    options = {name: given_to(penalty.bind, value) for name, value in given.items() if value is not None}
    parameters = inspect.signature(penalty.bind).parameters.values()
    taken = {parameter.name for parameter in parameters}
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    unknown = [name for name in options if name not in taken]
    if unknown and not takes_all:
        raise TypeError(f"{type(penalty).__name__}.bind does not take {', '.join(unknown)}: leave it out of the fit")
    if takes_all or "n_threads" in taken:
        options["n_threads"] = n_threads
    return _as_bound_penalty(
        penalty.bind(given_to(penalty.bind, sensitive_features), sample_weight, **options), penalty
    )


def _as_bound_penalty(bound, penalty):
    """What a penalty became once bound, with the defaults of :class:`BoundPenalty` for all that it lacks."""
    maker = f"{type(penalty).__name__}.bind"
    if not callable(getattr(bound, "value_gradient", None)):
        raise TypeError(
            f"{maker} must return an object with a method value_gradient(u), as fairdcov.penalties.BoundPenalty "
            f"describes it; found {type(bound).__name__} without"
        )
    if not isinstance(bound, BoundPenalty):
        bound = _BoundElsewhere(bound)
    if bound.scale not in Penalty._scales:
        raise ValueError(f"{maker} must return an object with scale 'response' or 'link'; found {bound.scale!r}")
    return bound


# What BoundPenalty has beside the gradient.
_DEFAULTS = ("scale", "scale_free", "shift_free", "method", "error_bound", "value", "value_gradient_curvature")


class _BoundElsewhere(BoundPenalty):
    """A bound penalty that derives from nothing of ours, with defaults for what it lacks."""

    def __init__(self, bound):
        for name in _DEFAULTS:
            if hasattr(bound, name):
                setattr(self, name, getattr(bound, name))
        self._bound = bound

    def value_gradient(self, u):
        """See :meth:`BoundPenalty.value_gradient`."""
        return self._bound.value_gradient(u)

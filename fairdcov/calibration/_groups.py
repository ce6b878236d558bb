"""The groups that are compared, the same in all folds."""

from dataclasses import dataclass

import numpy as np

from fairdcov.dependence import Strata
from fairdcov.encoding import Attributes

__all__ = ["CalibrationGroups"]


@dataclass(frozen=True)
class CalibrationGroups:
    """Groups of the protected attributes, and strata of the control features, of all rows.

    Attributes
    ----------
    attributes : Attributes
        Protected attributes.
    bins : dict or None
        Edges of those that are numbers, from all rows.
    codes : (n,) integer array
        Group of each row; of attributes known as probabilities the likeliest one.
    shares : (n, K) array or None
        Of each row in the groups, where attributes are known as probabilities.
    labels : list of tuple
        Levels of each group.
    control : Attributes or None
        Control features.
    control_bins : dict or None
        Edges of those that are numbers.
    strata : Strata or None
        Their strata.
    """

    attributes: Attributes
    bins: dict | None
    codes: np.ndarray
    shares: object
    labels: list
    control: Attributes | None = None
    control_bins: object = None
    strata: Strata | None = None

    @classmethod
    def read(cls, sensitive_features, control_features, n_samples, sample_weight, *, bins, control_bins):
        """Groups of attributes and of control features of any type."""
        attributes = Attributes.read(sensitive_features)
        attributes.warn_of_likely_probabilities()
        bins = attributes.edges(bins, sample_weight)
        shares = None
        if attributes.probabilities:
            shares, labels, _ = attributes.memberships(bins, sample_weight)
            # Folds are to mix the groups: the likeliest one of each row will do for that, and for nothing else.
            codes = np.asarray(shares.argmax(axis=1), dtype=np.int64).ravel()
        else:
            codes, labels, _ = attributes.groups(bins, sample_weight)
        if len(labels) < 2:
            raise ValueError(
                f"sensitive_features has a single group, {labels[0]}: there is nothing to calibrate; fit the estimator "
                "with strength 0"
            )
        if control_features is None:
            return cls(attributes, bins, codes, shares, labels)
        strata = Strata.read(control_features, n_samples, control_bins, sample_weight, reference="X")
        control = Attributes.read(control_features)
        edges = control.edges(control_bins, sample_weight)
        return cls(attributes, bins, codes, shares, labels, control, edges, strata)

    @property
    def sections(self):
        """What folds are to mix, (n,): the groups, each within the strata."""
        return self.codes if self.strata is None else self.strata.codes * len(self.labels) + self.codes

    def divergence_options(self, **options):
        """Options of the divergence."""
        options = {**options, "bins": self.bins}
        return options if self.control is None else {**options, "control_bins": self.control_bins}

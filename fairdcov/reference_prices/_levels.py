"""Protected attributes as groups of rows: levels of each attribute, bands of numbers, and crossed profiles."""

from copy import copy

import numpy as np
import pandas as pd

from fairdcov.encoding import Attributes, SensitiveEncoder, describe_groups, level_text

__all__ = ["Levels", "too_few_rows"]


def too_few_rows(what, levels, count, problem):
    """Error for a level or profile with too few rows, saying what to put together."""
    named = " × ".join(level_text(level) for level in levels)
    return ValueError(
        f"the {what} {named!r} of sensitive_features has {count} row(s), {problem}: merge it with another (put levels "
        "together in sensitive_features, or cut numbers into fewer bins)"
    )


class Levels:
    """Crossed profiles of protected attributes as the rows of a fit have them, with numbers cut into bands.

    Parameters
    ----------
    attributes : Attributes
        Rows of the fit, all of which count.
    bins : int, dict or None
        How numeric attributes are cut, as in the metrics.
    weights : (n,) array
        Weights of the quantiles, all positive.

    Attributes
    ----------
    names : list of str
        Names of the attributes.
    labels : list of K tuples
        Level of each profile in every attribute.
    codes : (n,) array
        Profile of each row.
    points : (K, q) array
        Coordinates of the profiles, whose distances the dependence measures use; bands are at their mean.
    """

    def __init__(self, attributes, bins, weights):
        attributes.require_observed("a level for each row, which a classifier could learn")
        edges = attributes.edges(bins, weights)
        # Open at the ends, so that other rows have the same bands; what is not cut keeps its values.
        self._edges = {
            name: None if edges.get(name) is None else np.concatenate([[-np.inf], edges[name][1:-1], [np.inf]])
            for name, column in attributes.columns.items()
            if column.numeric
        }
        self.codes, self.labels, self.names = attributes.groups(self._edges)
        for c, name in enumerate(self.names):
            if len({label[c] for label in self.labels}) < 2:
                raise ValueError(
                    f"sensitive_features column {name!r} is {level_text(self.labels[0][c])!r} in every row, one class "
                    "only: there is nothing to tell apart; leave it out"
                )
        self.points = self._points(attributes, weights)

    def _points(self, attributes, weights):
        columns = {name: [label[c] for label in self.labels] for c, name in enumerate(self.names)}
        for name, edges in self._edges.items():
            if edges is not None:
                values = np.asarray(attributes.columns[name].values, dtype=np.float64)
                band = np.searchsorted(edges[1:-1], values, side="right")
                means = np.bincount(band, weights * values) / np.maximum(np.bincount(band, weights), 1e-300)
                columns[name] = [
                    means[np.searchsorted(edges[1:-1], level.left, side="right")] for level in columns[name]
                ]
        return SensitiveEncoder().fit(attributes, sample_weight=weights).transform(pd.DataFrame(columns))

    def __len__(self):
        return len(self.labels)

    def of_attribute(self, position):
        """Codes of the rows in one attribute, and its levels in the order of the profiles."""
        levels = list(dict.fromkeys(label[position] for label in self.labels))
        if all(isinstance(level, type(levels[0])) for level in levels) and not isinstance(levels[0], bool):
            levels = sorted(levels)
        place = {level: code for code, level in enumerate(levels)}
        return np.array([place[label[position]] for label in self.labels])[self.codes], levels

    def without_rows(self):
        """The same without the rows, for a fitted model."""
        kept = copy(self)
        kept.codes = None
        return kept

    def encode(self, sensitive_features):
        """Profile of each of other rows, (n,); a profile that the fit has not seen raises."""
        attributes = Attributes.read(sensitive_features)
        if attributes.names != self.names:
            raise ValueError(
                f"sensitive_features must have the columns seen in fit, {self.names}; found {attributes.names}"
            )
        codes, labels, _ = attributes.groups(self._edges)
        known = {label: code for code, label in enumerate(self.labels)}
        found = np.array([known.get(label, -1) for label in labels])
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            counts = np.bincount(codes, minlength=len(labels))[unseen]
            raise ValueError(
                "sensitive_features has group(s) that were not there in fit (group: rows): "
                f"{describe_groups([labels[k] for k in unseen], counts)}; merge each with a group of the fit, or take "
                "a model that does not need them to predict (aware=False)"
            )
        return found[codes]

"""The rows of a calibration with their metadata: cut and handed on as scikit-learn's searches do it."""

from dataclasses import dataclass, field

from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from fairdcov.encoding import given_to, take_rows

__all__ = ["CalibrationData", "count_rows", "handed_to", "route_to", "take_metadata"]


def count_rows(X):
    """Number of rows of a frame, matrix or list."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def _is_per_row(value, n_samples):
    if isinstance(value, str | bytes | dict) or not (hasattr(value, "shape") or hasattr(value, "__len__")):
        return False
    return getattr(value, "shape", None) != () and count_rows(value) == n_samples


def take_metadata(params, rows, n_samples):
    """Metadata of some rows; what is not one value per row goes through as it is."""
    return {name: take_rows(value, rows) if _is_per_row(value, n_samples) else value for name, value in params.items()}


def route_to(consumer, method, params):
    """What a consumer's or router's method is to be called with, under the names that it uses itself."""
    router = MetadataRouter(owner=consumer).add(
        consumer=consumer, method_mapping=MethodMapping().add(caller="fit", callee=method)
    )
    return dict(router.route_params(caller="fit", params=params)["consumer"][method])


def handed_to(function, params):
    """Metadata for a function: protected attributes as the user gave them unless it is one of this package."""
    return {name: given_to(function, value) for name, value in params.items()}


@dataclass(frozen=True)
class CalibrationData:
    """Rows with their metadata, for ``fit``, for the scorer and for ``predict``."""

    X: object
    y: object
    attributes: object
    sample_weight: object
    fit_params: dict
    score_params: dict
    control: object = None
    predict_params: dict = field(default_factory=dict)

    def part(self, rows):
        """Some of the rows."""
        n_samples = count_rows(self.X)
        return CalibrationData(
            take_rows(self.X, rows),
            take_rows(self.y, rows),
            self.attributes.rows(rows),
            None if self.sample_weight is None else self.sample_weight[rows],
            take_metadata(self.fit_params, rows, n_samples),
            take_metadata(self.score_params, rows, n_samples),
            None if self.control is None else self.control.rows(rows),
            take_metadata(self.predict_params, rows, n_samples),
        )

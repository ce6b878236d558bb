"""What all penalised estimators share: fit and path, families, losses, objective, training data, the guard."""

from fairdcov._fitting._device_arrays import as_given, follows_device, on_host, refuse_device
from fairdcov._fitting._device_data import every_row, features_on_device, read_device_data
from fairdcov._fitting._device_objective import DeviceCoefficientObjective, DeviceObjective
from fairdcov._fitting._device_penalty import bind_on_device, penalty_on_device
from fairdcov._fitting._estimator import FIT_PARTS, PenalisedEstimator, check_strengths
from fairdcov._fitting._families import FAMILIES, FAMILIES_BY_LOSS, Family, regression_family
from fairdcov._fitting._functions import functions_of, is_tensor
from fairdcov._fitting._guard import (
    OfNewRows,
    StrengthGuard,
    beside_chance,
    largest_sensible_strength,
    looks_independent,
    measures_of,
    observed_groups,
    of_new_rows,
    warn_of_dependence,
    warn_of_level,
    warn_of_new_rows,
    warn_of_strength,
)
from fairdcov._fitting._losses import ONE_PROCESS, HalfSquaredError, HalfTweedieLoss, PointwiseLoss
from fairdcov._fitting._naming import family_of, name_of_own_score
from fairdcov._fitting._objective import (
    CoefficientObjective,
    Parts,
    ProductCoefficientObjective,
    ProductObjective,
    RawObjective,
)
from fairdcov._fitting._part_reading import KeptRows, PartDescription, read_features, read_part
from fairdcov._fitting._part_stages import (
    HeldRows,
    PartPlan,
    Sums,
    curvature_diagonal,
    curvature_gradient,
    hold_part,
    loss_extent,
    loss_shifted,
    mean_response,
    mean_target,
    node_masses,
    objective_gradient,
    raw_predictions,
)
from fairdcov._fitting._prediction import BinaryClassifier, DevianceRegressor, ObjectiveRegressor, explained_deviance
from fairdcov._fitting._training_data import (
    LEAST_PENALISED_ROWS,
    TrainingData,
    check_offset,
    encode_binary_target,
    read_evaluation_data,
    read_training_data,
    warn_of_offset,
)

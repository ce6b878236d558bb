"""What all penalised estimators share: losses, objective, training data, the guard against large strengths."""

from fairdcov._fitting._guard import StrengthGuard, largest_sensible_strength, warn_of_level, warn_of_strength
from fairdcov._fitting._losses import (
    OBJECTIVES,
    HalfBinomialLoss,
    HalfSquaredError,
    HalfTweedieLoss,
    PointwiseLoss,
    regression_loss,
)
from fairdcov._fitting._objective import CoefficientObjective, Parts, RawObjective
from fairdcov._fitting._prediction import BinaryClassifier, DevianceRegressor
from fairdcov._fitting._training import (
    LEAST_PENALISED_ROWS,
    TrainingData,
    check_strengths,
    encode_binary_target,
    fitted_clone,
    read_training_data,
    unchanged_on_error,
)

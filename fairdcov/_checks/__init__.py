"""Checks of what users pass, one place for each; ranges of floats; optional packages; what meta-estimators share."""

from fairdcov._checks._blas import one_blas_thread
from fairdcov._checks._deprecation import renamed_attribute, renamed_class, renamed_parameters, renamed_state
from fairdcov._checks._docstrings import documented, fill_docstring
from fairdcov._checks._meta_estimators import balance_correction, last_step, metadata_for_fit
from fairdcov._checks._optional import import_optional
from fairdcov._checks._range import (
    is_constant,
    product_about_mean,
    row_probabilities,
    within_counted,
    within_range,
    without_exponent,
)
from fairdcov._checks._types import (
    Bins,
    Estimator,
    FloatArray,
    GroupWeights,
    Interval,
    MetricFunction,
    Options,
    PenaltyLike,
    RandomState,
    Table,
)
from fairdcov._checks._validation import (
    check_choice,
    check_confidence,
    check_consistent_rows,
    check_finite_matrix,
    check_finite_vector,
    check_flag,
    check_positive_number,
    check_sample_weight,
    check_squarable,
    check_whole_number,
    resolve_n_threads,
)
from fairdcov._checks._versions import show_versions
from fairdcov._checks._warning import warn_user

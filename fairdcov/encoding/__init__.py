"""Protected attributes of any kind, read once: profiles for penalties, groups for metrics, factors for tables."""

from fairdcov.encoding._attributes import (
    Attributes,
    as_given,
    check_sensitive_features,
    fixed_bins,
    given_to,
    make_groups,
    select_rows,
    sensitive_groups,
    take_rows,
    with_probabilities,
)
from fairdcov.encoding._blocks import SensitiveBlocks, combine_codes, factorise
from fairdcov.encoding._columns import drop_sensitive_columns, read_sensitive_columns

# Those with an underscore: where pickles of fairdcov 0.1.0 look for the classes of their parts.
from fairdcov.encoding._encoder import (
    SensitiveEncoder,
    _CategoricalCoder,
    _ContinuousCoder,
    check_encoder,
    encode_attributes,
)
from fairdcov.encoding._factors import MISSING, bins_of, missing_rows, nearest_name, read_factor, read_frame
from fairdcov.encoding._groups import (
    DEFAULT_FACTOR_BINS,
    DEFAULT_GROUPS,
    MAX_NUMERIC_LEVELS,
    describe_groups,
    interval_labels,
    level_text,
)
from fairdcov.encoding._rows import array_of_rows, warn_about_order, warn_of_attributes
from fairdcov.encoding._sensitive_column import SensitiveColumn, column_named, sensitive_columns_of
from fairdcov.encoding._soft_blocks import SoftBlocks, certain_shares
from fairdcov.encoding._target import target_strata, with_target

# What goes wrong with attributes, for those who import from here anyway.
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning

__all__ = ["SensitiveEncoder", "with_probabilities"]

"""A rating table as a pricing team applies it: relativities rounded and capped, and the balance given back."""

from dataclasses import replace

import numpy as np

from fairdcov._checks import check_positive_number, check_sample_weight, check_whole_number
from fairdcov.actuarial._rating_factor import premium_of
from fairdcov.encoding import nearest_name, read_frame

__all__ = ["adjusted_table"]


def adjusted_table(base_premium, factors_before, X, *, sample_weight, decimals, lower, upper, factors, total, unknown):
    """What an adjusted table is made of, by argument; see :meth:`RatingTable.adjusted`."""
    for name, value in (("lower", lower), ("upper", upper)):
        if value is not None:
            check_positive_number(value, name)
    if (lower is not None and lower > 1) or (upper is not None and upper < 1):
        raise ValueError(f"lower must be at most 1 and upper at least 1, the base; found {lower!r} and {upper!r}")
    if decimals is not None:
        check_whole_number(decimals, "decimals", 0)
    known = [part.name for part in factors_before]
    chosen = set(known) if factors is None else set([factors] if isinstance(factors, str) else factors)
    for name in chosen - set(known):
        raise ValueError(f"factors names {name!r}, which is no factor of the table{nearest_name(name, known)}")
    before = premium_of(base_premium, factors_before, X, unknown)
    exposure = check_sample_weight(sample_weight, len(before))
    wanted = float(exposure @ before) if total is None else check_positive_number(total, "total")
    parts = [_adjusted_factor(part, decimals, lower, upper) if part.name in chosen else part for part in factors_before]
    premium = premium_of(base_premium, parts, X, unknown)
    off_balance = float(exposure @ premium) / wanted
    premium /= off_balance
    frame = read_frame(X, "X")
    filled = [_factor_after_adjustment(part, frame, exposure * before, exposure * premium, unknown) for part in parts]
    return {"base_premium": base_premium / off_balance, "factors": filled, "off_balance": off_balance}


def _adjusted_factor(part, decimals, lower, upper):
    relativities = part.relativities
    if decimals is not None:
        relativities = np.round(relativities, int(decimals))
    relativities = np.clip(relativities, lower, upper) if (lower, upper) != (None, None) else relativities
    if (relativities <= 0).any():
        raise ValueError(
            f"decimals={decimals} rounds relativities of {part.name!r} to 0, such as "
            f"{np.nanmin(part.relativities):.4g}: keep more decimals, or set lower"
        )
    return replace(part, relativities=relativities)


def _factor_after_adjustment(part, frame, before, after, unknown):
    """The factor with its ratios of table to model moved by what the adjustment has done to its levels."""
    codes = part.codes(frame, nearest=unknown == "nearest")
    inside = np.all([code >= 0 for code in codes], axis=0)
    flat = np.ravel_multi_index([code[inside] for code in codes], part.relativities.shape)
    size = part.relativities.size
    with np.errstate(invalid="ignore"):
        ratio = np.bincount(flat, after[inside], size) / np.bincount(flat, before[inside], size)
    return replace(part, table_to_model=part.table_to_model * ratio.reshape(part.relativities.shape))

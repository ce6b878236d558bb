"""Which strengths are measured: those given, or a range that the first fold shows."""

import numpy as np

from fairdcov._checks import warn_user
from fairdcov.exceptions import SensitiveFeaturesWarning

__all__ = ["find_range", "strengths_to_measure"]

# Decades tried on each side of 1 when the range of strengths is looked for.
_MOST_DECADES = 8
# A divergence within this share of the one at strength 0 counts as unchanged.
_UNCHANGED = 0.03


def strengths_to_measure(strengths, n_strengths, null_quantile, measure_first_fold):
    """Strengths from 0 on, (m,).

    Parameters
    ----------
    strengths : "auto" or sequence of float
        As given.
    n_strengths : int
        Number of them for ``"auto"``.
    null_quantile : float
        Quantile of the divergence under permuted groups that is the null level.
    measure_first_fold : callable
        Strengths to what ``measure_fold`` finds in the first fold.
    """
    if not isinstance(strengths, str):
        values = np.array(strengths, dtype=np.float64)
        return values if values[0] == 0 else np.append(0.0, values)

    unpenalised = None

    def measure(strengths):
        nonlocal unpenalised
        found = measure_first_fold(strengths)
        divergence, level = found["divergence"], np.quantile(found["permuted"], null_quantile, axis=1)
        unpenalised = divergence[0], level[0]
        return divergence, level

    found = find_range(measure)
    if found is not None:
        return np.append(0.0, np.geomspace(*found, n_strengths - 1))
    divergence, level = unpenalised
    reason = "found no divergence at strength 0, where the predictions of the first fold are constant"
    if divergence > 0:
        reason = (
            f"found no strength that changes the divergence of the first fold, {divergence:.4g}, which is not "
            f"above its null level of {level:.4g} as it is"
        )
    warn_user(
        f"strengths='auto' {reason}: only strength 0 is measured; check the features, or pass strengths",
        SensitiveFeaturesWarning,
    )
    return np.zeros(1)


def find_range(measure):
    """From the smallest strength that changes the divergence to the one where it reaches its null level.

    Parameters
    ----------
    measure : callable
        Strengths to their divergences and null levels.

    Returns
    -------
    (float, float) or None
        None when there is no divergence to be changed, or none above its null level and no strength that changes it.

    Raises
    ------
    ValueError
        When no strength changes anything.
    """
    (start, at_one), (start_level, level) = measure([0.0, 1.0])
    if start == 0:
        return None
    low = high = 1.0
    if at_one >= (1 - _UNCHANGED) * start:
        # Too weak: go up to the first decade that changes something.
        for _ in range(_MOST_DECADES):
            high *= 10.0
            (_, reached), (_, level) = measure([0.0, high])
            if reached < (1 - _UNCHANGED) * start:
                break
            low = high
        else:
            if start <= start_level:
                return None
            raise ValueError(
                f"strengths='auto' found no strength up to {high:g} that changes the divergence of "
                f"{start:.4g}: pass strengths, and check that the penalty sees the groups' attributes"
            )
    else:
        reached = at_one
        for _ in range(_MOST_DECADES):
            (_, value), _ = measure([0.0, low / 10.0])
            low /= 10.0
            if value >= (1 - _UNCHANGED) * start:
                break
    best = reached
    for _ in range(_MOST_DECADES):
        if reached <= level:
            break
        (_, reached), (_, level) = measure([0.0, 10.0 * high])
        if reached > (1 - _UNCHANGED) * best:
            break
        best = min(best, reached)
        high *= 10.0
    # Half a decade of room, since one fold has decided.
    return low, max(high, 10.0 * low) * 10.0**0.5

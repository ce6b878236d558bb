"""The column of ``--offset``: a known part of predictions on the link scale, looked at for what is on another scale.

Nothing fails by itself where a column is a rate, an amount of money, or an exposure that is divided by already: the
predictions are of another size, or of something else.
"""

import numpy as np

__all__ = ["check_offset", "notes_on_scale"]

# On a logarithmic or logistic scale: 1e21 between 0 and the one, a factor of 1e13 between policies for the other.
_LARGEST, _WIDEST = 50.0, 30.0
# Exposures that differ by less than this factor cannot be told from none.
_LEAST_SPREAD = 1e-6
# Mean of a rate over that of the target, within which the one is taken for a price of the other.
_SAME_SIZE = 2.0


def check_offset(name, offset, rows, link):
    """Raise for a column that is no offset on the scale of a link.

    Parameters
    ----------
    name : str
        Of the column.
    offset : (n,) array
        Its values, of the rows that take part.
    rows : Experience or None
        Their exposure; None where there is none to compare with.
    link : {"log", "logit", "identity"}
        Of the family.

    Raises
    ------
    ValueError
        For values that no premium could have, and for the logarithm of the exposure, which the target is divided by.
    """
    if link == "identity":
        return
    low, high = offset.min(), offset.max()
    if max(-low, high) > _LARGEST or high - low > _WIDEST:
        what = "logarithms of rates" if link == "log" else "log odds"
        raise ValueError(
            f"--offset: column {name!r} runs from {low:.6g} to {high:.6g}, which are no {what}: --offset is on the "
            "link scale" + (", name a column with the logarithm of the base rate" if link == "log" else "")
        )
    if rows is None or not rows.weighted:
        return
    exposure = np.log(rows.exposure)
    if np.ptp(exposure) > _LEAST_SPREAD and np.ptp(offset - exposure) <= _LEAST_SPREAD * np.ptp(exposure):
        raise ValueError(
            f"--offset: column {name!r} is the logarithm of the --exposure, by which --target is divided already: "
            "leave --offset out, for predictions per unit of exposure"
        )


def notes_on_scale(name, offset, rows, link):
    """Remark on a column that looks like rates themselves where their logarithm is asked for; arguments as above."""
    if link != "log" or offset.min() < 0:
        return []
    mean, known, observed = (np.average(of, weights=rows.exposure) for of in (offset, np.exp(offset), rows.target))
    if not 1 / _SAME_SIZE <= mean / observed <= _SAME_SIZE or 1 / _SAME_SIZE <= known / observed <= _SAME_SIZE:
        return []
    return [
        f"--offset: the mean of {name} is {mean:.4g} and that of the target {observed:.4g}, but exp({name}) has a mean "
        f"of {known:.4g}: if {name} is a rate, take its logarithm"
    ]

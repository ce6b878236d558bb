"""The rating table that is filed: a base premium times relativities, from any model, to and from a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Estimator, FloatArray, PenaltyLike, Table, check_positive_number
from fairdcov.actuarial._comparison import comparison_lines
from fairdcov.actuarial._export import write_csv
from fairdcov.actuarial._rating_adjustment import adjusted_table
from fairdcov.actuarial._rating_factor import RatingFactor, premium_of
from fairdcov.actuarial._rating_file import cells_of, read_csv_file, read_excel_file, write_excel_file
from fairdcov.actuarial._rating_model import compare_with_model, factors_of_relativities, table_of_model

__all__ = ["RatingTable"]

_BY = ("by", "by_level", "by_lower", "by_upper")


class RatingTable:
    """A multiplicative rating table: the premium is a base times one relativity for each factor.

    Made by :meth:`from_model` of any model, by :meth:`from_relativities` of the exact table of a multiplicative one, or
    read by :meth:`from_csv`. It holds relativities and no policies, and it does not change: :meth:`adjusted` makes
    another.

    Attributes
    ----------
    base_premium : float
        Premium of a risk at relativity 1 in all factors, per unit of exposure.
    factors : tuple of str
        Columns, and pairs of columns as ``"age × region"``.
    n_relativities : int
        Rows of the table, base levels included.
    frame : pandas.DataFrame
        A row for each level of each factor: ``factor``, ``level``, ``lower`` and ``upper`` (ends of a range of numbers;
        the upper one belongs to the next level), for pairs ``by``, ``by_level``, ``by_lower``, ``by_upper``, then
        ``value`` (of the level, or the mean in a range), ``rows``, ``exposure``, ``share``, ``relativity``,
        ``is_base``, ``premium``, ``table_to_model`` and ``note`` as in :func:`relativities`.
    off_balance : float
        What the table predicted for its policies, over the total it was to predict, before its base premium was
        rebalanced; NaN for a table read from a file.
    strength : float
        Strength of the penalty that the relativities were fitted with, 0 without one.
    columns : list of str
        Columns that :meth:`predict` needs.
    comparison : pandas.DataFrame or None
        Table and model on the rows it was made of, see :meth:`compare`.

    See Also
    --------
    relativities : The exact table of a model that is multiplicative.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from fairdcov.actuarial import RatingTable
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(4_000, random_state=0)
    >>> X = book.data[["vehicle_type", "vehicle_power", "mileage"]].astype({"vehicle_type": "category"})
    >>> trees = HistGradientBoostingRegressor(loss="poisson", max_iter=30, random_state=0)
    >>> trees = trees.fit(X, book.target, sample_weight=book.exposure)
    >>> people = book.sensitive_features[["gender", "region"]]
    >>> data = {"sample_weight": book.exposure, "sensitive_features": people}
    >>> table = RatingTable.from_model(trees, X, book.target, max_relativities=30, **data)
    >>> table.n_relativities <= 30
    True
    >>> expected = (trees.predict(X) * book.exposure).sum()
    >>> bool(abs((table.predict(X) * book.exposure).sum() / expected - 1) < 1e-9)
    True
    >>> beside = table.comparison.set_index("measure").loc["dependence"]
    >>> bool(beside["table"] <= beside["model"])
    True
    """

    def __init__(
        self,
        base_premium: float,
        factors: Iterable[RatingFactor],
        *,
        off_balance: float = float("nan"),
        strength: float = 0.0,
        comparison: pd.DataFrame | None = None,
        power: float = 1.0,
    ) -> None:
        self.base_premium = check_positive_number(base_premium, "base_premium")
        self._factors = tuple(factors)
        self.off_balance = off_balance
        self.strength = strength
        self.comparison = comparison
        self._power = power

    # -- where tables come from ---------------------------------------------------------------------------------------

    @classmethod
    def from_model(
        cls,
        model: Estimator,
        X: Table,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        factors: Sequence[str] | None = None,
        bins: Bins | None = None,
        max_relativities: int = 120,
        pairs: Any = "auto",
        penalty: PenaltyLike | None = None,
        strength: float | Literal["auto"] = "auto",
        power: float = 1.0,
        max_levels: int = 1000,
    ) -> RatingTable:
        """A table distilled from the predictions of a model, such as boosted trees or a network, with its penalty kept.

        Parameters
        ----------
        model : estimator
            Fitted, with positive predictions: of any package and structure.
        X : DataFrame or array, (n, p)
            Features as they go into ``model.predict``; columns of an array are called ``x0``, ``x1`` and so on.
        y : (n,) array, optional
            Observed values per unit of exposure. Only for :attr:`comparison`: relativities come from predictions.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
            Protected attributes of the penalty. Needed where the model has a ``strength`` above 0, whose effect the
            table would lose otherwise. They are no factors unless they are columns of X.
        control_features : DataFrame, Series or array, (n,) or (n, d), optional
            Legitimate factors of a penalty within strata.
        factors : list of str, optional
            Columns of X to rate by; all by default. Those of equal relativities throughout are left out.
        bins : int or dict, optional
            By default levels are chosen. A dict gives columns of numbers a whole number of quantile groups, a list of
            edges or None for every value, a number all columns of more than 20 values; these levels stay as they are.
        max_relativities : int, default=120
            Rows of the table, base levels and pairs included.
        pairs : {"auto"}, None or list of pairs of str, default="auto"
            Columns that get relativities for each combination of a few of their levels, beside their own. ``"auto"``
            takes at most three pairs, each of which explains at least 1 % of what the model explains.
        penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, optional
            Dependence measure; by default that of the model, or ``"ccdcov"`` for one that has none.
        strength : float or "auto", default="auto"
            Of the penalty. ``"auto"`` takes the least of a grid (quarters of a decade from 0.1) at which the table is
            no more dependent than the model, or than the model's predictions in random order; 0 where it is not in the
            first place.
        power : float, default=1.0
            Variance power of the deviance that relativities minimise and the comparison speaks of: 1 Poisson (every
            level in balance where no penalty is needed), between 1 and 2 Tweedie, 2 gamma.
        max_levels : int or None, default=1000
            Levels that a column of categories may start with; None for any number.

        Returns
        -------
        RatingTable
            In balance: it predicts the total that the model predicts for the rows of X.

        Raises
        ------
        ValueError
            For predictions that are not positive, columns that are not there, columns of more than ``max_levels``
            levels, and levels that were asked for beyond ``max_relativities``.
        MissingSensitiveFeaturesError
            For a penalised model or a strength above 0 without ``sensitive_features``.
        TypeError
            For a classifier, and bins of categories.

        Warns
        -----
        StrengthWarning
            When no strength makes the table as independent as the model, and when the one that does leaves less than
            half of the variation of the model's premiums.

        Notes
        -----
        Columns start with a level for each category and whole number of up to 100, and 40 quantiles of other numbers.
        A GLM with log link is fitted to the *predictions*, weighted by exposure: they have no noise, and the table
        repeats the model rather than the claims. Levels are merged (neighbours for numbers, any for categories) in the
        order of what that costs in deviance: those that agree, until 0.1 % of the variation of the premiums is lost,
        and on while there are more than ``max_relativities``. Pairs are taken where they pay. Then
        :class:`fairdcov.DCovTweedieRegressor` is fitted to the levels with the penalty, and the base premium gives the
        balance back. Ranges begin and end with the policies: :meth:`predict` says what is done with values beyond.
        """
        made = table_of_model(
            model,
            X,
            y,
            sample_weight=sample_weight,
            sensitive_features=sensitive_features,
            control_features=control_features,
            factors=factors,
            bins=bins,
            max_relativities=max_relativities,
            pairs=pairs,
            penalty=penalty,
            strength=strength,
            power=power,
            max_levels=max_levels,
        )
        return cls(**made)

    @classmethod
    def from_relativities(cls, table: pd.DataFrame) -> RatingTable:
        """The table of :func:`relativities` as one that predicts.

        Parameters
        ----------
        table : pandas.DataFrame
            From :func:`relativities`, of all factors.

        Returns
        -------
        RatingTable

        Raises
        ------
        ValueError
            For a table without ``attrs``, which pandas loses when tables are put together.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.linear_model import PoissonRegressor
        >>> from fairdcov.actuarial import RatingTable, relativities
        >>> X = pd.DataFrame({"doors": [2, 3, 4, 4]})
        >>> model = PoissonRegressor(alpha=0, tol=1e-8).fit(X, [1.0, 2.0, 4.0, 4.0])
        >>> RatingTable.from_relativities(relativities(model, X)).predict(X).round(3).tolist()
        [1.0, 2.0, 4.0, 4.0]
        """
        factors = factors_of_relativities(table)
        return cls(table.attrs["base_premium"], factors, off_balance=table.attrs["off_balance_before"])

    @classmethod
    def from_csv(cls, path: str | Path) -> RatingTable:
        """A table from a file that :meth:`to_csv` has written, edited or not.

        Relativities and the base premium (``premium`` of the first row) are those of the file; what is derived of them
        is computed anew. After an edit :meth:`adjusted` puts the table back in balance.

        Parameters
        ----------
        path : str or Path
            File to read.

        Returns
        -------
        RatingTable

        Raises
        ------
        ValueError
            For files without the columns of a table, relativities that are no numbers above 0, and ranges that overlap.
        """
        return cls(*read_csv_file(path))

    # -- what it says -------------------------------------------------------------------------------------------------

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors."""
        return tuple(part.name for part in self._factors)

    @property
    def n_relativities(self) -> int:
        """Rows of the table, base levels included."""
        return sum(part.relativities.size for part in self._factors)

    @property
    def columns(self) -> list[str]:
        """Columns that predictions need."""
        return list(dict.fromkeys(column.name for part in self._factors for column in part.columns))

    @property
    def frame(self) -> pd.DataFrame:
        """The table as a DataFrame, made when it is asked for."""
        rows = [row for part in self._factors for row in part.frame(self.base_premium)]
        paired = any(len(part.columns) > 1 for part in self._factors)
        order = ["factor", "level", "lower", "upper", *(_BY if paired else ()), "value", "rows", "exposure", "share"]
        order += ["relativity", "is_base", "premium", "table_to_model", "note"]
        table = pd.DataFrame(rows, columns=order)
        for name in ("value", "level", *(("by", "by_level") if paired else ())):
            table[name] = table[name].astype(object)
        return table

    def __repr__(self):
        return (
            f"<RatingTable of {self.n_relativities} relativities of {len(self._factors)} factors, base premium "
            f"{self.base_premium:.5g}>"
        )

    def predict(self, X: Table, *, unknown: Literal["error", "base", "nearest"] = "error") -> FloatArray:
        """Premium of each row.

        Parameters
        ----------
        X : DataFrame or array, (n, p)
            With the :attr:`columns` of the table; others do not matter.
        unknown : {"error", "base", "nearest"}, default="error"
            What is done with values that no level contains: categories that are new, numbers outside all ranges, values
            that are missing where none were, and levels without exposure. ``"error"`` names them. ``"base"`` takes
            relativity 1. ``"nearest"`` takes the closest range for numbers, and relativity 1 for all else.

        Returns
        -------
        (n,) array

        Raises
        ------
        ValueError
            For columns that are not there, and with ``unknown="error"`` for values that no level contains.
        """
        return premium_of(self.base_premium, self._factors, X, unknown)

    def compare(
        self,
        model: Estimator,
        X: Table,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        bins: Bins | None = None,
        power: float | None = None,
        unknown: Literal["error", "base", "nearest"] = "error",
    ) -> pd.DataFrame:
        """The table beside its model, such as on policies that were held back: adequacy, order and independence.

        Parameters
        ----------
        model : estimator or (n,) array
            What the table was made of, or its predictions.
        X : DataFrame or array, (n, p)
            Features as they go into ``model.predict``.
        y : (n,) array, optional
            Observed values per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure.
        sensitive_features, control_features : DataFrame, Series or array, optional
            Protected attributes, and what dependence and divergence are given.
        bins : int or dict, optional
            How protected numbers are cut into groups; by default, those of more than 20 values, into 5 quantile groups.
        power : float, optional
            Variance power of the deviance; that of :meth:`from_model` by default, 1 for a table that was read.
        unknown : str, default="error"
            As in :meth:`predict`.

        Returns
        -------
        pandas.DataFrame
            Rows by ``measure``: ``predicted total``, ``deviance from the model`` (mean, of the table's predictions),
            with y ``predicted / observed``, ``deviance`` (mean), ``explained deviance`` (of a constant's) and ``Gini``;
            with protected attributes ``dependence`` (scale-free CCdCov), ``divergence`` (Jensen-Shannon, between their
            combinations, in bits), ``divergence, standard error`` (where groups are not conditional or probabilities)
            and with y ``A/E`` of each level. Columns ``model``, ``table`` and ``kept``, the share of what the model has
            that the table has: for ``deviance from the model`` the share of the model's own deviance from its mean that
            is *not* lost.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.linear_model import PoissonRegressor
        >>> from fairdcov.actuarial import RatingTable
        >>> X = pd.DataFrame({"doors": [2, 3, 4, 4]})
        >>> model = PoissonRegressor(alpha=0, tol=1e-8).fit(X, [1.0, 2.0, 4.0, 4.0])
        >>> table = RatingTable.from_model(model, X)
        >>> compared = table.compare(model, X, [1.0, 2.0, 4.0, 4.0]).set_index("measure")
        >>> compared.loc["explained deviance"].round(3).tolist()
        [1.0, 1.0, 1.0]
        """
        return compare_with_model(
            model,
            self.predict(X, unknown=unknown),
            X,
            y,
            sample_weight=sample_weight,
            people={"sensitive_features": sensitive_features, "control_features": control_features},
            bins=bins,
            power=self._power if power is None else power,
        )

    def summary(self) -> str:
        """What the table is and what it keeps of the model, in words.

        Returns
        -------
        str
        """
        lines = [
            f"rating table: {self.n_relativities} relativities of {len(self._factors)} factors, base premium "
            f"{self.base_premium:.5g}"
        ]
        if np.isfinite(self.off_balance):
            lines.append(f"off-balance {self.off_balance:.4f} before the base premium was rebalanced")
        if self.strength:
            lines.append(f"fitted with a penalty of strength {self.strength:.4g}")
        if self.comparison is not None:
            lines += comparison_lines(self.comparison)
        return "\n".join(lines)

    # -- what is made of it -------------------------------------------------------------------------------------------

    def adjusted(
        self,
        X: Table,
        *,
        sample_weight: ArrayLike | None = None,
        decimals: int | None = None,
        lower: float | None = None,
        upper: float | None = None,
        factors: Sequence[str] | None = None,
        total: float | None = None,
        unknown: Literal["error", "base", "nearest"] = "error",
    ) -> RatingTable:
        """The table with relativities rounded and capped, back in balance.

        Parameters
        ----------
        X : DataFrame or array, (n, p)
            Policies of the balance.
        sample_weight : (n,) array, optional
            Their exposure.
        decimals : int, optional
            Decimals that relativities are rounded to.
        lower, upper : float, optional
            Floor and cap of relativities, at most and at least 1; applied after rounding.
        factors : list of str, optional
            Factors that are adjusted; all by default.
        total : float, optional
            Total premium that the table is to predict for the policies, such as that of the model or of the claims; by
            default what it has predicted before. Without any of the others only the base premium changes.
        unknown : str, default="error"
            As in :meth:`predict`.

        Returns
        -------
        RatingTable
            Its :attr:`off_balance` is what the adjusted relativities predicted over the total, before the base premium
            made up for it. The base premium is not rounded.

        Raises
        ------
        ValueError
            For relativities that would be rounded to 0, and for floors above or caps below 1.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.linear_model import PoissonRegressor
        >>> from fairdcov.actuarial import RatingTable
        >>> X = pd.DataFrame({"doors": [2, 3, 4, 4]})
        >>> model = PoissonRegressor(alpha=0, tol=1e-8).fit(X, [1.0, 2.0, 4.0, 4.0])
        >>> table = RatingTable.from_model(model, X).adjusted(X, lower=0.4, decimals=1)
        >>> table.frame["relativity"].tolist(), round(float(table.predict(X).sum()), 6)
        ([0.4, 0.5, 1.0], 11.0)
        """
        made = adjusted_table(
            self.base_premium,
            self._factors,
            X,
            sample_weight=sample_weight,
            decimals=decimals,
            lower=lower,
            upper=upper,
            factors=factors,
            total=total,
            unknown=unknown,
        )
        return RatingTable(**made, strength=self.strength, power=self._power)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table for a spreadsheet; :meth:`from_csv` reads it back, the same to the last digit.

        Parameters
        ----------
        path : str or Path
            File to write; an existing one is replaced.

        Returns
        -------
        Path
            The file: a row with the base premium, then those of :attr:`frame`. The categories of a level are parted by
            a vertical line.
        """
        return write_csv(cells_of(self.frame, self.base_premium), path)

    def to_excel(self, path: str | Path) -> Path:
        """Write the table as an Excel workbook; needs the package openpyxl.

        Parameters
        ----------
        path : str or Path
            File to write, ``.xlsx``.

        Returns
        -------
        Path
            The file.
        """
        return write_excel_file(cells_of(self.frame, self.base_premium), path)

    @classmethod
    def from_excel(cls, path: str | Path) -> RatingTable:
        """A table from a workbook that :meth:`to_excel` has written, as :meth:`from_csv` reads one; needs openpyxl.

        Parameters
        ----------
        path : str or Path
            File to read.

        Returns
        -------
        RatingTable
        """
        return cls(*read_excel_file(path))

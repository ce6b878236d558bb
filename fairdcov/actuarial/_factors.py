"""Factors of a table, for the rows of a book that count."""

from fairdcov._checks import check_consistent_rows
from fairdcov.encoding import Attributes, bins_of, read_factor, read_frame, warn_about_order

__all__ = ["factors_of"]


def factors_of(data, argument, bins, book):
    """Factors of a table, for the rows of a book that count.

    Parameters
    ----------
    data : Attributes, DataFrame, Series, array or dict, (n,) or (n, d)
        A column for each factor.
    argument : str
        Name of the argument, for errors.
    bins : int, dict or None
        See :func:`fairdcov.actuarial.one_way`.
    book : Policies
        Says which rows count and their exposure.

    Returns
    -------
    list of Factor
    """
    warn_about_order(**book.row_labels, **{argument: data})
    if isinstance(data, Attributes):
        check_consistent_rows(book.n_samples, data, argument, reference="y_pred")
        chosen = bins_of(bins, data.names)
        rows = data if len(book.rows) == book.n_samples else data.rows(book.rows)
        return [rows.factor(name, chosen[name], book.exposure) for name in data.names]
    frame = read_frame(data, argument, book.n_samples)
    chosen = bins_of(bins, frame.columns)
    frame = book.take(frame)
    return [read_factor(column, argument, chosen[str(column.name)], book.exposure) for column in frame.iter_columns()]

"""One helper for packages that come with an extra, so that a missing one is named the same way everywhere."""

import importlib

_EXTRA_OF = {
    "matplotlib": "plots",
    "rdata": "data",
    "pyarrow": "data",
    "skops": "cli",
    "openpyxl": "excel",
    "lightgbm": "boosting",
    "xgboost": "boosting",
    "torch": "neural",
    "jinja2": "report",
    "dask": "distributed",
    "distributed": "distributed",
}


def import_optional(module, purpose):
    """Import ``module`` or raise an ImportError that names the extra to install.

    Parameters
    ----------
    module : str
        Dotted name of the module, for example ``"matplotlib.pyplot"``.
    purpose : str
        What needs it, as the subject of the message, for example ``"CalibrationDisplay.plot"``.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        When the package is not installed.

    Examples
    --------
    >>> import_optional("math", "an example").floor(1.5)
    1
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extra = _EXTRA_OF.get(package)
        remedy = f"pip install 'fairdcov[{extra}]'" if extra else f"pip install {package}"
        raise ImportError(f"{purpose} needs the package {package!r}, which is not installed: {remedy}") from error

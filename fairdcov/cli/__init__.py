"""Command line: ``fairdcov demo | fit | audit | predict``.

Each command imports what it needs when it runs, so that ``fairdcov --help`` answers at once.
"""

import sys

__all__ = ["main"]

_EXIT_BAD_INPUT = 2
_EXIT_UNMET = 3
_EXIT_INTERRUPTED = 130


def _run(options):
    """Import the module of the command and run it; its exit code, or None for 0."""
    if options.command == "demo":
        from fairdcov.cli._demo import run_demo as run
    elif options.command == "fit":
        from fairdcov.cli._fit import run_fit as run
    elif options.command == "audit":
        from fairdcov.cli._audit import run_audit as run
    else:
        from fairdcov.cli._predict import run_predict as run
    return run(options)


def _say(command, message):
    """One line on the standard error."""
    print(f"fairdcov {command}: {' '.join(str(message).split())}", file=sys.stderr)


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments after the program's name; those of the process when omitted.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input, 3 no strength meets the rule, 4 gaps outside the tolerance, 5 not enough
        evidence that they are within, 130 interrupted.

    Examples
    --------
    >>> from fairdcov.cli import main
    >>> main(["--version"])  # doctest: +ELLIPSIS
    fairdcov ...
    0
    """
    from fairdcov.cli._parser import make_parser

    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.version:
        from fairdcov import __version__

        print(f"fairdcov {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return _EXIT_BAD_INPUT
    from fairdcov.exceptions import CalibrationError

    try:
        return _run(options) or 0
    except CalibrationError as error:
        _say(options.command, f"{str(error).partition('. Allow more')[0]}; allow more, or take it with --if-unmet warn")
        return _EXIT_UNMET
    except (ValueError, TypeError, OSError, ImportError) as error:
        _say(options.command, error)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        _say(options.command, "interrupted; nothing was written")
        return _EXIT_INTERRUPTED

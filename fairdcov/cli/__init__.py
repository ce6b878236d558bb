"""Command line: ``fairdcov demo``.

Each command imports what it needs when it runs, so that ``fairdcov --help`` answers at once.
"""

import argparse
import sys

__all__ = ["main"]

_EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="fairdcov",
        description="Fairness-regularised regression: predictions that do not depend on protected attributes jointly.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="fit a fair motor tariff and write scored policies, the chosen model and a picture of the trade-off",
        description="Calibrates the strength of each dependence penalty of a claim frequency model by "
        "cross-validation, fits the paths of strengths, compares them on policies held back, and writes the results "
        "to a folder.",
        epilog="examples:\n"
        "  fairdcov demo --output demo-output\n"
        "  fairdcov demo --data pg15training --output pg15-output    (downloads 1.9 MB, or set FAIRDCOV_DATA)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--data", choices=["motor", "pg15training"], default="motor", help="synthetic book (default) or a French one"
    )
    demo.add_argument("--output", default="fairdcov-demo", metavar="DIR", help="folder to write (%(default)s)")
    demo.add_argument("--force", action="store_true", help="replace the folder if it exists")
    demo.add_argument(
        "--policies", type=int, default=30_000, metavar="N", help="size of the synthetic book (%(default)s)"
    )
    demo.add_argument(
        "--seed", type=int, default=0, help="seed of the book, the split and the permutations (%(default)s)"
    )
    demo.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments after the program's name; those of the process when omitted.

    Returns
    -------
    int
        Exit code: 0 done, 2 bad input, 130 interrupted.

    Examples
    --------
    >>> from fairdcov.cli import main
    >>> main(["--version"])  # doctest: +ELLIPSIS
    fairdcov ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.version:
        from fairdcov import __version__

        print(f"fairdcov {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return _EXIT_BAD_INPUT
    from fairdcov.cli._demo import run_demo

    try:
        run_demo(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"fairdcov {options.command}: {error}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"fairdcov {options.command}: interrupted; nothing was written", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return 0

"""The command line: `rheobase train`, `compare`, `list`, `evaluate`, `resume`."""

import sys
from collections.abc import Sequence

from rheobase.cli.screen import fail, first_screen
from rheobase.version import __version__

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command in `argv`, by default the process's own; returns the exit code.

    A mistake of the caller's is one line on standard error and code 2; `--traceback` shows where it arose.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        first_screen()
        return 0
    if arguments[0] == "--version":
        print(f"rheobase {__version__}")
        return 0
    traceback = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    from rheobase.cli.dispatch import EXPECTED, dispatch

    try:
        return dispatch(arguments)
    except KeyboardInterrupt:
        fail("Stopped.")
        return 130
    except EXPECTED as error:
        if traceback:
            raise
        fail(str(error))
        return 2

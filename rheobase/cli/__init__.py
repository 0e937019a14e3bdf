"""The command line: `rheobase COMMAND ...`."""

import os
import sys
from collections.abc import Sequence

from rheobase.cli.screen import fail, first_screen
from rheobase.explained import is_explained
from rheobase.version import __version__

__all__ = ["main"]

EXPECTED = (ValueError, TypeError, OSError, NotImplementedError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command in `argv`, by default the process's own; returns the exit code.

    A mistake of the caller's is one line on standard error and code 2; `--traceback` shows where it arose.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        first_screen()
        return 0
    if arguments[0] == "--version":
        print(f"rheobase {__version__}")
        return 0
    traceback = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    from rheobase.cli.dispatch import dispatch

    try:
        return dispatch(arguments)
    except KeyboardInterrupt:
        fail("Stopped.")
        return 130
    except BrokenPipeError:  # whatever reads our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if traceback or not (isinstance(error, EXPECTED) or is_explained(error)):
            raise
        fail(error)
        return 2

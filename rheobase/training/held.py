"""One process at a time in the folder of a run."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rheobase.explained import explained


@contextmanager
def held(folder: Path | None) -> Iterator[Path | None]:
    """`folder`, which is there, and in which no other process trains meanwhile; a kill lets go of it as well.

    None holds nothing, and where the system has no such locks nobody is kept out. Raises FileExistsError for a folder
    that another process holds.
    """
    if folder is None or sys.platform == "win32":
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield folder
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise explained(
            FileExistsError(f"Another process is training in {folder}: wait for it, stop it, or name another folder."),
            "resume",
        ) from error
    except OSError:
        return  # some network folders cannot

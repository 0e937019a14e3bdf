"""From which code a run was made: commits, and what differs from them."""

import os
import subprocess
from functools import partial
from pathlib import Path
from threading import Timer
from typing import IO

from rheobase.training.files import write_aside

LONGEST = 2**20  # bytes of a stored diff
PATIENCE = 20.0  # seconds: a repository of data sets must not hold a run up
HERE_DIFF, OWN_DIFF = "git.diff", "rheobase.diff"


def commit(folder: Path) -> str | None:
    """The commit checked out around `folder`, "-dirty" added when tracked files differ; None outside a repository."""
    found = output(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return found.decode().strip() or None if found else None


def own_folder() -> Path:
    return Path(__file__).parent.parent


def own_commit() -> str | None:
    """The commit of the checkout that rheobase is imported from; None for an installed package."""
    is_tracked = output(own_folder(), "ls-files", "--error-unmatch", "__init__.py")
    return commit(own_folder()) if is_tracked else None


def write_diffs(folder: Path) -> None:
    """Writes what differs from the commits: git.diff of the working folder's repository, rheobase.diff of rheobase's.

    Each only where tracked files differ, the second only for another repository; at most 1 MiB, which is then said.
    """
    for name in (HERE_DIFF, OWN_DIFF):
        (folder / name).unlink(missing_ok=True)  # of a run that was overwritten
    for name, source in sources().items():
        diff = output(source, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
        if diff:
            write_aside(folder / name, partial(_put, diff))


def _put(text: bytes, file: IO[bytes]) -> None:
    file.write(text)


def sources() -> dict[str, Path]:
    """The roots of the repositories that a run's code comes from, by the file for their diff."""
    found = {HERE_DIFF: root(Path.cwd()), OWN_DIFF: root(own_folder()) if own_commit() else None}
    if found[OWN_DIFF] == found[HERE_DIFF]:
        del found[OWN_DIFF]
    return {name: place for name, place in found.items() if place is not None}


def root(folder: Path) -> Path | None:
    found = output(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(found.rstrip(b"\n"))) if found else None


def output(folder: Path, *words: str) -> bytes | None:
    """What git writes, at most `LONGEST` bytes and then that it was cut; None where it fails or takes too long."""
    try:
        process = subprocess.Popen(
            ("git", "-C", folder, *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet()
        )
    except OSError:
        return None
    alarm = Timer(PATIENCE, process.kill)
    alarm.start()
    try:
        with process:
            assert process.stdout is not None
            text = process.stdout.read(LONGEST + 1)
            if len(text) > LONGEST:
                process.kill()
                return text[:LONGEST] + b"\n# Cut here: the diff is longer than %d bytes.\n" % LONGEST
    finally:
        alarm.cancel()
    return text if process.returncode == 0 else None


def quiet() -> dict[str, str]:
    """Looking at a repository takes no lock in it and asks nothing."""
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}

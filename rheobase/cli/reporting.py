"""The command `rheobase report`."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from rheobase.cli.screen import fail
from rheobase.report import write_report

Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER ...")]


def report(folders: Folders, out: Path | None = None) -> int:
    """Write one HTML page about a run, a comparison, an audit or benchmarks; it opens without a network.

    Args:
        folders: what to report on; several give one page.
        out: the file to write; report.html in the folder by default, of several in the working folder.
    """
    told(Console(), write_report(folders, out))
    return 0


def tell_of_run(console: Console, folder: Path) -> None:
    """Writes the page of a run and says where it is; a page that cannot be written takes nothing from the run."""
    try:
        told(console, write_report([folder]))
    except (OSError, ValueError) as error:
        fail(f"The run is whole, but has no page: {error}")


def told(console: Console, path: Path) -> None:
    """Where the report is, on a line that nothing folds."""
    console.print(f"Report: {path}", highlight=False, markup=False, soft_wrap=True)

"""The command `rheobase data`: published data sets on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from rheobase.cli.screen import fail
from rheobase.datasets.download import FetchError
from rheobase.datasets.fetch import fetch
from rheobase.datasets.integrity import inspected, whereabouts
from rheobase.datasets.published import PUBLISHED, folders, how_to_get, published
from rheobase.units import size

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]


@dataclass(frozen=True)
class List:
    """List the published data sets: where they are found, the size of the download, the licence."""

    def run(self) -> int:
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"[bold]{'set':<15} {'download':>10}  {'licence':<38} folder[/]")
        for name, source in PUBLISHED.items():
            found = whereabouts(source, folders(name, None))
            place = escape(str(found)) if found else "[dim]not found[/]"
            download = size(source.download_size) if source.download_size else "?"
            console.print(f"[cyan]{name:<15}[/] {download:>10}  {escape(source.licence):<38} {place}")
        return 0


@dataclass(frozen=True)
class Check:
    """Check that a set's files are there and are the published ones; code 1 where something is wrong."""

    name: Name
    """Of the set."""
    root: Path | None = None
    """The folder of the files; the usual ones by default."""

    def run(self) -> int:
        console = Console(highlight=False, soft_wrap=True)
        faults, places = 0, folders(self.name, self.root)
        for finding in inspected(published(self.name), places):
            faults += finding.fault is not None
            verdict = "[green]ok[/]   " if finding.fault is None else "[red]wrong[/]"
            console.print(f"{verdict} {escape(finding.what)}  [dim]{escape(finding.fault or finding.note)}[/]")
        if faults:
            looked = ", ".join(map(str, places))
            fail(f"Of {self.name}, {faults} files are missing or wrong in {looked}. {how_to_get(self.name)}.")
        return 1 if faults else 0


@dataclass(frozen=True)
class Fetch:
    """Download a set, check it and unpack it; goes on where it was stopped. Code 1 where that cannot be."""

    name: Name
    """Of the set."""
    to: Path | None = None
    """The folder to fill; $RHEOBASE_DATA/NAME or ~/.cache/rheobase/NAME by default."""

    def run(self) -> int:
        console = Console(highlight=False, soft_wrap=True)
        bars = Bars(console)
        try:
            folder = fetch(self.name, self.to, bars)
        except FetchError as error:
            bars.stop()
            fail(error)
            return 1
        bars.stop()
        console.print(f"{self.name} is in {escape(str(folder))}.")
        return 0


class Bars:
    """A bar for each file that comes; nothing on the screen before the first does."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self.progress = Progress(*columns, console=console, transient=True)
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, file: str, so_far: int, total: int | None) -> None:
        self.progress.start()
        if file not in self.tasks:
            self.tasks[file] = self.progress.add_task(file)
        self.progress.update(self.tasks[file], completed=so_far, total=total)

    def stop(self) -> None:
        if self.progress.live.is_started:
            self.progress.stop()


Action = (
    Annotated[List, tyro.conf.subcommand("list", prefix_name=False)]
    | Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    | Annotated[Fetch, tyro.conf.subcommand("fetch", prefix_name=False)]
)


def data(action: Annotated[Action, tyro.conf.arg(name="")]) -> int:
    """Published data sets: list, check or fetch them."""
    return action.run()

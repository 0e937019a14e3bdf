"""The command `rheobase runs`: what was run, and how runs differ."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from rheobase.cli.flags import Switch
from rheobase.cli.run_tables import curves, differences, differing, facts, listing, paragraphs
from rheobase.training.files import CONFIG, plain
from rheobase.training.history import PastRun, find_runs, read_run

ENDLESS = 10_000  # columns: nothing is folded in a file or a pipe
Field = Literal["date", "run", "state", "rule", "model", "data", "validation", "test", "seconds", "commit"]
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER ...]")]


def runs(
    folders: Folders = (),
    sort: Field = "date",
    as_json: Annotated[Switch, tyro.conf.arg(name="json")] = False,
) -> int:
    """List the runs below a folder; with several folders of runs, compare them: settings, curves, results.

    Args:
        folders: one that holds runs, runs/ by default; or the runs to compare.
        sort: by what to sort a list; the largest and the newest come last.
        as_json: print all of it as JSON.
    """
    console = Console(highlight=False, width=None if Console().is_terminal else ENDLESS)
    is_list = len(folders) < 2 and not (folders and (folders[0] / CONFIG).is_file())
    if is_list:
        show_list(console, folders[0] if folders else Path("runs"), sort, as_json)
    else:
        show_comparison(console, [named_run(folder) for folder in folders], as_json)
    return 0


def show_list(console: Console, folder: Path, sort: Field, as_json: bool) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder {folder}: name one that holds runs made by `rheobase train`.")
    found, others = find_runs(folder)
    known = sorted(((facts(run), run) for run in found), key=lambda pair: pair[0]["date"] or "")
    known.sort(key=lambda pair: (pair[0][sort] is not None, pair[0][sort]))
    if as_json:
        print(as_text({"runs": [told for told, _ in known], "others": others}))
        return
    ordered = [run for _, run in known]
    table = listing(ordered)
    if not ordered:
        console.print(f"No runs in {escape(str(folder))}.")
    elif console.measure(table, options=console.options.update(max_width=ENDLESS)).maximum <= console.width:
        console.print(table)
    else:
        for line in paragraphs(ordered):
            console.print(line)
    show_notes(console, ordered)
    for name, reason in others.items():
        console.print(f"[dim]{escape(name)}: no run ({escape(reason)})[/]", soft_wrap=True)


def show_comparison(console: Console, compared: Sequence[PastRun], as_json: bool) -> None:
    if as_json:
        told = [facts(run) | {"settings": run.settings, "epochs": run.epochs, "result": run.result} for run in compared]
        print(as_text({"runs": told, "differing": differing(compared)}))
        return
    if differing(compared):
        console.print(differences(compared))
    else:
        console.print("The same settings, versions and commits.")
    console.print()
    console.print(curves(compared))
    show_notes(console, compared)


def as_text(found: dict[str, Any]) -> str:
    """As JSON that every reader of it takes."""
    return json.dumps(plain(found), indent=2, allow_nan=False)


def show_notes(console: Console, shown: Sequence[PastRun]) -> None:
    for run in shown:
        for note in run.notes:
            console.print(f"[yellow]{escape(run.name)}[/]: {escape(note)}", soft_wrap=True)


def named_run(folder: Path) -> PastRun:
    try:
        return read_run(folder, str(folder))
    except ValueError as error:
        raise ValueError(f"{folder} holds no run: {error}") from error

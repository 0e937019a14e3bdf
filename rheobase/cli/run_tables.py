"""Runs as tables: one a line, or side by side."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from rheobase.training.files import plain
from rheobase.training.history import PastRun, mapping, number, text
from rheobase.training.progress import clock

LONGEST = 20  # rows of learning curves
NUMBERS = ("validation", "test", "time")
COLUMNS = ("date", "state", "rule", "model", "data", *NUMBERS, "commit")


def facts(run: PastRun) -> dict[str, Any]:
    """What a list tells of a run; None for what is not known, or is no finite number."""
    found: dict[str, Any] = plain(
        {
            "run": run.name,
            "date": text(run.config, "date") or None,
            "state": run.state,
            "rule": text(run.settings, "rule") or None,
            "model": text(run.settings, "model") or None,
            "data": text(run.settings, "data") or None,
            "validation": run.validation,
            "test": number(run.result, "test_score"),
            "seconds": run.seconds,
            "commit": text(run.config, "commit") or None,
        }
    )
    return found


def listing(runs: Sequence[PastRun]) -> Table:
    """A line for each run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", *COLUMNS):
        table.add_column(column, no_wrap=True, justify="right" if column in NUMBERS else "left")
    for run in runs:
        found = cells(run)
        table.add_row(f"[cyan]{escape(run.name)}[/]", *(found[column] for column in COLUMNS))
    return table


def paragraphs(runs: Sequence[PastRun]) -> Iterator[str]:
    """The same for narrow terminals: what belongs to a run, one below the other."""
    for run in runs:
        found = cells(run)
        numbers = [f"{name} {found[name]}" for name in (*NUMBERS, "commit") if found[name]]
        yield f"[cyan]{escape(run.name)}[/]  {found['state']}"
        yield "  " + "  ".join([found["date"] or "[dim]no date[/]", *numbers])
        yield "  " + "  ".join(found[name] for name in ("rule", "model", "data") if found[name])


def cells(run: PastRun) -> dict[str, str]:
    """The text of each of COLUMNS, "" for what is not known."""
    found = facts(run)
    return {
        "date": day(found["date"]),
        "state": escape(run.state),
        **{name: escape(found[name] or "") for name in ("rule", "model", "data")},
        "validation": scored(run, "validation", found["validation"]),
        "test": scored(run, "test", found["test"]),
        "time": lasted(found["seconds"]),
        "commit": escape(short(found["commit"])),
    }


def differing(runs: Sequence[PastRun]) -> dict[str, list[Any]]:
    """The settings, versions and machines that are not the same in all runs, of a single run all: name -> values."""
    known = [conditions(run) for run in runs]
    names = dict.fromkeys(name for each in known for name in each)
    values = {name: [each.get(name) for each in known] for name in names}
    return {name: found for name, found in values.items() if len(runs) == 1 or any(v != found[0] for v in found)}


def conditions(run: PastRun) -> dict[str, Any]:
    names = ("commit", "rheobase_commit", "device", "cpu", "threads", "processes")
    known = {name: run.config[name] for name in names if run.config.get(name) is not None}
    return {**run.settings, **known, **mapping(run.config, "versions")}


def differences(runs: Sequence[PastRun]) -> Table:
    """A column for each run."""
    table = side_by_side("setting", runs)
    for name, values in differing(runs).items():
        shown = [short(value) if name.endswith("commit") and isinstance(value, str) else str(value) for value in values]
        table.add_row(escape(name), *(escape(value) for value in shown))
    return table


def curves(runs: Sequence[PastRun]) -> Table:
    """Loss and validation score by epoch, some twenty epochs of long runs, and at the end what came out."""
    table = side_by_side("epoch", runs, "loss, validation")
    for index in rows(max(len(run.epochs) for run in runs)):
        table.add_row(str(index + 1), *(point(run, index) for run in runs))
    table.add_section()
    table.add_row("best", *(scored(run, "validation", run.validation) for run in runs))
    table.add_row("test", *(scored(run, "test", number(run.result, "test_score")) for run in runs))
    table.add_row("time", *(lasted(facts(run)["seconds"]) for run in runs))
    table.add_row("state", *(escape(run.state) for run in runs))
    return table


def rows(count: int) -> list[int]:
    """Evenly spread indices below `count`, the first and the last among them."""
    shown = min(count, LONGEST)
    return [round(i * (count - 1) / max(1, shown - 1)) for i in range(shown)]


def point(run: PastRun, index: int) -> str:
    if index >= len(run.epochs):
        return ""
    loss = number(run.epochs[index], "loss")
    score = scored(run, "validation", number(run.epochs[index], "validation_score"))
    return f"{'?' if loss is None else f'{loss:.4f}'}  {score}"


def side_by_side(first: str, runs: Sequence[PastRun], what: str = "") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for run in runs:
        table.add_column(escape(run.name) + (f"\n[dim]{what}[/]" if what else ""), overflow="fold")
    return table


def scored(run: PastRun, part: str, value: float | None) -> str:
    return "" if value is None else run.metric(part).text(value)


def lasted(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return clock(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def day(date: str | None) -> str:
    """Local date and time of day of an ISO date."""
    try:
        return f"{datetime.fromisoformat(date or '').astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return ""


def short(commit: str | None) -> str:
    """The beginning of a commit, with what is said of it behind."""
    name, dash, rest = (commit or "").partition("-")
    return name[:10] + dash + rest

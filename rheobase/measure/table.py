"""The comparison of rules as a table for the terminal."""

import math
from collections.abc import Callable, Sequence

from rich.markup import escape
from rich.table import Table

from rheobase.measure.comparison import Row, RuleRun
from rheobase.units import size

TITLES = (
    "test\n{metric}",
    "training\ntime",
    "kept for\nbackward",
    "peak\nmemory",
    "cosine to\nBPTT, start",
    "cosine to\nBPTT, end",
)


def table(rows: Sequence[Row]) -> Table:
    """A line for each rule; why a rule refused is left to `refusals`."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rule", no_wrap=True)
    metric = next((run.report.metric.name for row in rows for run in row.runs), "accuracy")
    for title in TITLES:
        made.add_column(title.format(metric=metric), justify="right", no_wrap=True)
    for row in rows:
        made.add_row(escape(row.rule), *cells(row))
    return made


def cells(row: Row) -> list[str]:
    if row.memory is None:
        return ["[red]refused[/]"]
    metric = row.runs[0].report.metric
    return [
        with_spread(
            row, lambda run: metric.factor * run.report.test_score, f"{{:.{metric.digits}f}}", f" {metric.unit}"
        ),
        with_spread(row, lambda run: run.report.seconds, "{:.1f}", " s"),
        size(row.memory.kept),
        size(row.memory.peak),
        cosine(row.mean(lambda run: run.before.cosine)),
        cosine(row.mean(lambda run: run.after.cosine)),
    ]


def cosine(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"


def with_spread(row: Row, value: Callable[[RuleRun], float], form: str, unit: str) -> str:
    spread = f" ± {form.format(row.spread(value))}" if len(row.runs) > 1 else ""
    return form.format(row.mean(value)) + spread + unit


def refusals(rows: Sequence[Row]) -> list[str]:
    return [f"{row.rule}: {row.refusal}" for row in rows if row.refusal is not None]

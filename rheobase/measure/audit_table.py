"""An audit as a table for the terminal."""

import math
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from rheobase.measure.audit import RuleAudit
from rheobase.measure.audit_paths import PATHS
from rheobase.measure.audit_sums import Figures
from rheobase.measure.audit_training import Moment
from rheobase.measure.audit_verdict import verdicts

TITLES = (
    "length",
    "bias",
    "(by\nchance)",
    "noise",
    "exact\nnoise",
    "lost at\nreset",
    "at\nnorms",
    "through\ntime",
    "rest",
)
COLOURS = {
    "aligned": "green", "aligned in direction": "yellow", "aligned where there is a gradient": "yellow",
    "partly aligned": "yellow",
}  # fmt: skip


def table(moments: Sequence[Moment]) -> Table:
    """A line for each rule: its cosine at each moment, the other figures at the last one."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rule", no_wrap=True)
    for moment in moments:
        made.add_column(f"cosine\n{escape(moment.title.split(' (')[0])}", justify="right", no_wrap=True)
    for title in TITLES:
        made.add_column(title, justify="right", no_wrap=True)
    for place, last in enumerate(moments[-1].audit.rules):
        each = [moment.audit.rules[place].total for moment in moments]
        made.add_row(escape(last.rule), *map(cosine_cell, each), *cells(last))
    return made


def cosine_cell(total: Figures | None) -> str:
    if total is None:
        return "[red]refused[/]"
    return "[red]no gradient[/]" if math.isnan(total.cosine) else f"{total.cosine:.3f}"


def cells(found: RuleAudit) -> list[str]:
    total = found.total
    if total is None:
        return []
    figures = (total.norm_ratio, total.bias, total.bias_by_chance, total.noise, total.exact_noise)
    lost = [] if found.paths is None else [found.paths.each[path].lost.error for path in PATHS]
    return [short(value) for value in (*figures, *lost, *([] if found.paths is None else [found.paths.rest.error]))]


def short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def sentences(moments: Sequence[Moment]) -> Table:
    """The verdict on each rule at the last moment, with its cosine at the first where that was another."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rule", no_wrap=True)
    made.add_column(f"verdict, {escape(moments[-1].title)}", overflow="fold")
    for verdict, before in zip(verdicts(moments[-1].audit), moments[0].audit.rules, strict=True):
        colour = COLOURS.get(verdict.state, "red")
        state, rest = verdict.text[: len(verdict.state)], verdict.text[len(verdict.state) :]
        made.add_row(escape(verdict.rule), f"[{colour}]{state}[/]{escape(rest)}{changed(moments, before)}")
    return made


def changed(moments: Sequence[Moment], before: RuleAudit) -> str:
    after = next(rule for rule in moments[-1].audit.rules if rule.rule == before.rule)
    if len(moments) == 1 or before.total is None or after.total is None:
        return ""
    told = abs(before.total.cosine - after.total.cosine) >= 0.05
    return f" [dim]({escape(moments[0].title)}: {before.total.cosine:.2f})[/]" if told else ""

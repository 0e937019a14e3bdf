"""A plan as a table for the terminal."""

import math

from rich.markup import escape
from rich.table import Table

from rheobase.measure.plan import Plan
from rheobase.measure.plan_choice import Choice
from rheobase.units import short_time, size


def plan_table(found: Plan) -> Table:
    """A line for each rule and chunk; the recommended one is marked."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rule", no_wrap=True)
    for title in (
        f"peak of\n{found.batch_size} samples", "fits", "largest\nbatch", "time\n(a guide)", "cosine to\nexact"
    ):  # fmt: skip
        made.add_column(title, justify="right", no_wrap=True)
    for choice in found.choices:
        style = "bold green" if choice.rule == found.recommended else None
        made.add_row(escape(choice.rule), *cells(choice), style=style)
    return made


def cells(choice: Choice) -> list[str]:
    if choice.refusal is not None:
        return ["[red]refused[/]"]
    if math.isnan(choice.bytes):
        return ["[red]not even a probe fits[/]"]
    agreement = "exact" if choice.is_exact else "-" if math.isnan(choice.cosine) else f"{choice.cosine:.3f}"
    fits = "yes" if choice.fits else "[red]no[/]"
    return [size(choice.bytes), fits, str(choice.largest_batch), short_time(choice.seconds), agreement]

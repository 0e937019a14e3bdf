"""Tables that sort by a click on a heading."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rheobase.report.html import Markup, code, element


@dataclass(frozen=True)
class Cell:
    """value: sorts the column, and sets it to the right; None where there is none. look: a class of the style sheet."""

    text: str = ""
    value: float | None = None
    look: str = ""


Entry = str | Cell
Row = Sequence[Entry]


def table(caption: str, heads: Sequence[str], rows: Sequence[Row], look: str | None = None) -> Markup:
    """The first entry of each row names it. caption: what the table tells. look: a class of the style sheet."""
    cells = [[entry if isinstance(entry, Cell) else Cell(entry) for entry in row] for row in rows]
    numeric = [any(row[place].value is not None for row in cells) for place in range(len(heads))]
    head = [
        element("th", {"scope": "col", "class": "n" if number else None}, title)
        for title, number in zip(heads, numeric, strict=True)
    ]
    body = [element("tr", {}, *(shown(cell, place, numeric[place]) for place, cell in enumerate(row))) for row in cells]
    made = element(
        "table", {"data-sorts": "", "class": look}, element("caption", {}, caption),
        element("thead", {}, element("tr", {}, *head)), element("tbody", {}, *body),
    )  # fmt: skip
    return element("div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption}, made)


def shown(cell: Cell, place: int, number: bool) -> Markup:
    value = cell.value if cell.value is not None and math.isfinite(cell.value) else None
    attributes = {
        "scope": None if place else "row",
        "class": f"{'n ' if number else ''}{cell.look}".strip() or None,
        "data-v": None if value is None else repr(float(value)),
    }
    return element("td" if place else "th", attributes, cell.text)


def settings_table(caption: str, values: Mapping[str, Any], usual: Mapping[str, Any]) -> Markup:
    """Names and values; what is not as `usual` is marked."""
    rows = []
    for name, value in values.items():
        changed = name in usual and usual[name] != value
        text = "-" if value is None else value if isinstance(value, str) else str(value)
        rows.append((name.replace("_", " "), Cell(code(text), look="changed" if changed else "")))
    return table(caption, ("setting", "value"), rows)


def facts(values: Mapping[str, str]) -> Markup:
    """The few figures that matter, large; empty ones are left out."""
    pairs = [
        element("div", {}, element("dt", {}, name), element("dd", {}, value)) for name, value in values.items() if value
    ]
    return element("dl", {"class": "facts"}, *pairs)

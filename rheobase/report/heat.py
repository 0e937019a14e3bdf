"""Cosines as a table with coloured cells."""

import math
from collections.abc import Mapping, Sequence

from rheobase.report.html import Markup, element
from rheobase.report.table import Cell, Row, table

# From where each of page.css's colours holds: what is badly aligned stands out, above 0.9 all looks alike.
STEPS = (-1.0, 0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)


def heat_map(caption: str, rows: Sequence[str], columns: Mapping[str, Sequence[float | None]], what: str) -> Markup:
    """columns: the cosines of each row, by the column's name; None and NaN where there is no gradient."""
    body: list[Row] = [(row, *(shown(values[place]) for values in columns.values())) for place, row in enumerate(rows)]
    return table(caption, (what, *columns), body, "heat")


def shown(cosine: float | None) -> Cell:
    if cosine is None or math.isnan(cosine):
        return Cell("none")
    return Cell(f"{cosine:.3f}", cosine, look(cosine))


def look(cosine: float) -> str:
    """Exact cosines may be above 1 by rounding."""
    return f"h{sum(round(cosine, 3) >= step for step in STEPS[1:])}"


def scale() -> Markup:
    names = ["below 0", *(f"{step:g}" for step in STEPS[1:])]
    keys = [
        element("li", {}, element("span", {"class": f"key h{place}"}, f"{name}{' +' if place else ''}"))
        for place, name in enumerate(names)
    ]
    return element("ul", {"class": "legend", "aria-label": "Colours"}, *keys)

"""Figures as people read them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rheobase.metrics import ACCURACY, METRICS, Metric
from rheobase.report.table import Cell
from rheobase.training.history import mapping, text
from rheobase.training.progress import clock
from rheobase.units import size

NONE = "-"


def day(values: Mapping[str, Any]) -> str:
    """When the values were recorded, in UTC."""
    try:
        return f"{datetime.fromisoformat(text(values, 'date')).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return ""


def lasted(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds >= 60:
        return f"{clock(seconds)} {'h' if seconds >= 3600 else 'min'}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def brief(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def metric_named(name: object) -> Metric:
    return METRICS.get(name, ACCURACY) if isinstance(name, str) else ACCURACY


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def cell(value: float | None, form: str, look: str = "") -> Cell:
    """A number, a dash where there is none. form: as of `str.format`."""
    return Cell(NONE) if value is None or math.isnan(value) else Cell(form.format(value), value, look)


def bytes_cell(count: float | None) -> Cell:
    return Cell(NONE) if count is None else Cell(size(count), count)


def span_cell(seconds: float | None) -> Cell:
    return Cell(NONE) if seconds is None else Cell(lasted(seconds), seconds)


def versions(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in mapping(values, "versions").items() if version)

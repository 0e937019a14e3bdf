"""From values to places along an axis, and where its ticks are."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROUND = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, `low < high`, lie on [0, 1], evenly or, with `log`, their logarithms."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        low, high, value = (math.log(max(v, 1e-300)) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)


def linear(values: Iterable[float], count: int = 5, *, whole: bool = False) -> Scale:
    """Around the values, from tick to tick of about `count` round ones. whole: ticks at whole numbers alone."""
    low, high = ends(values)
    step = step_of((high - low) / count)
    if whole:
        step = max(1.0, math.ceil(step))
        first, last = math.ceil(low / step), math.floor(high / step)
        return Scale(low, high, tuple(step * i for i in range(first, last + 1)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(step * first, step * last, tuple(round(step * i, 12) for i in range(first, last + 1)))


def logarithmic(values: Sequence[float], ticks: Sequence[float] = ()) -> Scale:
    """Around the values, all above 0; powers of 10 as ticks, with halves and fifths where they are few, or `ticks`."""
    low, high = min(values), max(values)
    if ticks:
        edge = (high / low) ** 0.04 if high > low else 1.5
        return Scale(low / edge, high * edge, tuple(ticks), log=True)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    parts = (1, 2, 5) if last - first <= 2 else (1,)
    every = 1 + (last - first) // 8
    marks = [part * 10.0**power for power in range(first, last + 1, every) for part in parts]
    low, high = max(m for m in marks if m <= low * (1 + 1e-9)), min(m for m in (*marks, 10.0**last) if m >= high * (1 - 1e-9))
    if high <= low:
        high = next((m for m in marks if m > low), 10 * low)
    return Scale(low, high, tuple(m for m in marks if low <= m <= high), log=True)


def ends(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest; apart also where they are the same."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 20 or 0.5
        return low - room, high + room
    return low, high


def step_of(rough: float) -> float:
    """The least round number from `rough` on."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(part * power for part in ROUND if part * power >= rough * (1 - 1e-9))


def number(value: float) -> str:
    """As short as an axis wants it."""
    text = f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or not value else f"{value:.0e}"
    return text.replace("-", "−")

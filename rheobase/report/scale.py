"""From values to places along an axis, and where its ticks are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

ROUND = (1, 2, 2.5, 5, 10)
MOST = 8  # ticks of a logarithmic axis
TINY = 1e-30  # no axis is finer


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
    return Scale(step * first, step * last, tuple(float(f"{step * i:.12g}") for i in range(first, last + 1)))


def logarithmic(values: Iterable[float], base: int = 10) -> Scale:
    """Around the values, all above 0. Ticks: powers of the base, 10 or 2; of 10 also twice and five times, if few."""
    low, high = min(values := list(values)), max(values)
    parts = (1, 2, 5) if base == 10 else (1,)
    first, last = math.floor(math.log(low, base)) - 1, math.ceil(math.log(high, base)) + 1
    marks = [part * float(base) ** power for power in range(first, last + 1) for part in parts]
    below, above = (m for m in marks if m <= low * (1 + 1e-9)), (m for m in marks if m > low and m >= high * (1 - 1e-9))
    low, high = max(below), min(above)
    shown = [mark for mark in marks if low <= mark <= high]
    if len(shown) > MOST and base == 10:
        shown = [mark for mark in shown if mark in marks[::3]]
    return Scale(low, high, tuple(shown[:: -(-len(shown) // MOST)]), log=True)


def at_values(values: Iterable[float]) -> Scale:
    """Logarithms, with a tick at each value and some room around."""
    ticks = sorted(set(values))
    edge = (ticks[-1] / ticks[0]) ** 0.04 if len(ticks) > 1 else 1.5
    return Scale(ticks[0] / edge, ticks[-1] * edge, tuple(ticks), log=True)


def ends(values: Iterable[float]) -> tuple[float, float]:
    """The least and the largest; apart also where they are the same."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), TINY):
        room = abs(low) / 20 if abs(low) > TINY else 0.5
        return low - room, high + room
    return low, high


def step_of(rough: float) -> float:
    """The least round number from `rough` on."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(part * power for part in ROUND if part * power >= rough * (1 - 1e-9))


def number(value: float) -> str:
    """As short as an axis wants it."""
    text = f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 or not value else f"{value:.0e}"
    return text

"""Rules as a comparison recorded them, and which of them is the message."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rheobase.metrics import Metric
from rheobase.report.html import Markup, code, joined
from rheobase.training.history import mapping, number, text

EXACT = "bptt"
LEAN = 0.95  # of the exact rule's memory, to be leaner
NEAR = 0.01  # of a share, or of a figure that is none, that a rule may be worse and still be as good


@dataclass(frozen=True)
class Found:
    """What was recorded of one rule that did not refuse."""

    rule: str
    runs: Sequence[Mapping[str, Any]]
    kept: float | None
    peak: float | None

    def values(self, name: str, within: str | None = None) -> list[float]:
        """Of all seeds that have one."""
        each = (run if within is None else mapping(run, within) for run in self.runs)
        return [value for values in each if (value := number(values, name)) is not None and not math.isnan(value)]

    def mean(self, name: str, within: str | None = None) -> float:
        values = self.values(name, within)
        return statistics.fmean(values) if values else math.nan

    def spread(self, name: str) -> float:
        """The sample standard deviation over the seeds, 0 for one."""
        values = self.values(name)
        return statistics.stdev(values) if len(values) > 1 else 0.0

    @property
    def score(self) -> float:
        return self.mean("test_score")


def found_in(values: Mapping[str, Any]) -> tuple[list[Found], dict[str, str]]:
    """The rules in the results that `compare` wrote, and why others refused."""
    found, refused = list[Found](), dict[str, str]()
    for row in values["rules"]:
        runs = [run for run in row.get("runs", []) if isinstance(run, dict)]
        if runs:
            found.append(Found(text(row, "rule"), runs, number(row, "kept_bytes"), number(row, "peak_bytes")))
        else:
            refused[text(row, "rule")] = str(row.get("refusal"))
    return found, refused


def exact_of(found: Sequence[Found]) -> Found | None:
    return next((each for each in found if each.rule == EXACT), None)


def headline(found: Sequence[Found], metric: Metric) -> Markup:
    """Which rule learns as well as BPTT with the least memory, or how far the next one is behind."""
    if not found:
        return joined(("Every rule refused.",))
    exact = exact_of(found)
    others = [each for each in found if each is not exact and not math.isnan(each.score)]
    sign = 1 if metric.higher_is_better else -1
    best = max(others or found, key=lambda each: sign * each.score)
    if exact is None or not others or math.isnan(exact.score):
        return joined((code(best.rule), f" does best: {score(best, metric)}."))
    lean = [each for each in others if is_lean(each, exact)] or others
    good = [each for each in lean if is_as_good(each, exact, metric)]
    if good:
        found_best = min(good, key=lambda each: (each.kept or math.inf, -sign * each.score))
        told = f" ({score(found_best, metric)} against {score(exact, metric)}){cost(found_best, exact)}."
        return joined((code(found_best.rule), " learns as well as ", code(EXACT), told))
    best = max(lean, key=lambda each: sign * each.score)
    less = " with less memory" if is_lean(best, exact) else ""
    told = f" ({score(exact, metric)}){less}. Next is "
    return joined((
        "No rule learns as well as ", code(EXACT), told, code(best.rule),
        f": {score(best, metric)}{cost(best, exact)}.",
    ))  # fmt: skip


def is_lean(each: Found, exact: Found) -> bool:
    return bool(each.kept and exact.kept and each.kept < LEAN * exact.kept)


def is_as_good(each: Found, exact: Found, metric: Metric) -> bool:
    """No worse than the seeds differ, or than a point of a hundred."""
    behind = (exact.score - each.score) * (1 if metric.higher_is_better else -1)
    near = NEAR if metric.unit == "%" else NEAR * abs(exact.score)
    return behind <= max(near, each.spread("test_score"), exact.spread("test_score"))


def score(each: Found, metric: Metric) -> str:
    return metric.text(each.score)


def cost(each: Found, exact: Found) -> str:
    """What it keeps for the backward pass, beside the exact rule."""
    if not each.kept or not exact.kept:
        return ""
    ratio = each.kept / exact.kept
    much = f"{ratio:.2g} of its" if ratio < LEAN else f"{ratio:.1f} times its" if ratio > 1 / LEAN else "as much"
    return f", keeping {much} memory for the backward pass"

"""The comparison of rules as one picture."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from rheobase.measure.comparison import Row, RuleRun
from rheobase.metrics import ACCURACY, Metric
from rheobase.plots.style import COLOURS, GREY, new_figure, styled, two_lines, whole_numbers
from rheobase.units import size

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def comparison(rows: Sequence[Row], title: str = "") -> "Figure":
    """What `rheobase compare` draws of the rows that `measure.compare` returns: accuracy, time, memory and cosine for
    each rule, and the learning curves. Rules that refused are left out.
    """
    shown = [row for row in rows if row.memory is not None]
    if not shown:
        raise ValueError("Nothing to draw: every rule refused; `refusal` of each row says why.")
    figure = new_figure(12, 4.0 + 0.32 * len(shown))
    figure.suptitle(title)
    upper, lower = figure.subfigures(2, 1, height_ratios=[1 + 0.32 * len(shown), 3.2])
    panels = upper.subplots(1, 4, sharey=True)
    for panel, draw in zip(panels, (draw_score, draw_seconds, draw_memory, draw_cosine), strict=True):
        draw(panel, shown)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(len(shown) - 0.4, -0.6)
    panels[0].set_yticks(range(len(shown)), [two_lines(row.rule, 16) for row in shown], fontsize=9)
    by_epoch, by_time = lower.subplots(1, 2, sharey=True)
    draw_curves(by_epoch, shown, lambda run: [float(epoch.epoch) for epoch in run.report.epochs], "epoch")
    draw_curves(
        by_time, shown, lambda run: list(accumulate(e.seconds for e in run.report.epochs)), "seconds of training"
    )
    metric = shown[0].runs[0].report.metric
    by_epoch.set_ylabel(f"validation {named(metric)}" if metric == ACCURACY else "validation score")
    whole_numbers(by_epoch.xaxis)
    by_time.legend()
    return figure


def draw_score(panel: Any, rows: Sequence[Row]) -> None:
    """A dot for each seed and a line at their mean."""
    for place, (row, colour) in enumerate(zip(rows, colours(rows), strict=True)):
        values = [run.report.metric.factor * run.report.test_score for run in row.runs]
        panel.scatter(values, [place] * len(values), color=colour, s=26, zorder=3, alpha=0.75)
        mean = sum(values) / len(values)
        panel.plot([mean, mean], [place - 0.3, place + 0.3], color=colour, lw=2)
        beside = (max(values), place)
        panel.annotate(
            f"{mean:.1f}", beside, xytext=(7, 0), textcoords="offset points", va="center", fontsize=8, color=GREY
        )
    panel.margins(x=0.15)
    low, high = panel.get_xlim()
    panel.set_xlim(low, high + 0.12 * (high - low))
    panel.set_title(f"test {named(rows[0].runs[0].report.metric)}\ndot a seed, line their mean", fontsize=9)
    panel.grid(axis="x")


def draw_seconds(panel: Any, rows: Sequence[Row]) -> None:
    draw_bars(panel, rows, [row.mean(lambda run: run.report.seconds) for row in rows], "{:.1f}".format)
    panel.set_title("training time, s\nwithout evaluation", fontsize=9)


def draw_memory(panel: Any, rows: Sequence[Row]) -> None:
    """Bars to the peak, the part that autograd keeps in full colour."""
    memories = [row.memory for row in rows if row.memory is not None]
    draw_bars(panel, rows, [memory.peak for memory in memories], size, alpha=0.4)
    panel.barh(range(len(rows)), [memory.kept for memory in memories], color=colours(rows), height=0.62)
    panel.set_title("memory of a training step\nfull: kept, light: peak", fontsize=9)
    panel.set_xticks([])


def draw_bars(
    panel: Any, rows: Sequence[Row], values: Sequence[float], form: Callable[[float], str], alpha: float = 1.0
) -> None:
    bars = panel.barh(range(len(rows)), values, color=colours(rows), height=0.62, alpha=alpha)
    panel.bar_label(bars, [form(value) for value in values], padding=3, fontsize=8, color=GREY)
    panel.margins(x=0.28)
    panel.set_xlim(left=0)


def draw_cosine(panel: Any, rows: Sequence[Row]) -> None:
    """A ring at the initial weights, a disc at the trained ones; NaN where BPTT did not fit into memory."""
    for place, (row, colour) in enumerate(zip(rows, colours(rows), strict=True)):
        before, after = row.mean(lambda run: run.before.cosine), row.mean(lambda run: run.after.cosine)
        panel.plot([before, after], [place, place], color=colour, lw=1, zorder=2)
        panel.scatter([before], [place], facecolor="white", edgecolor=colour, s=34, zorder=3)
        panel.scatter([after], [place], color=colour, s=34, zorder=4)
        if math.isnan(after):
            beside = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
            panel.text(0.5, place, "unknown", fontsize=8, color=GREY, **beside)
    panel.set_title("gradient cosine to BPTT\nring: at start, disc: at end", fontsize=9)
    low, _ = panel.get_xlim()
    panel.set_xlim(low - 0.03 * (1 - low), 1 + 0.04 * (1 - low))
    panel.grid(axis="x")


def draw_curves(panel: Any, rows: Sequence[Row], along: Callable[[RuleRun], list[float]], label: str) -> None:
    """The first seed's validation score, a line for each rule."""
    for row, colour in zip(rows, colours(rows), strict=True):
        run = row.runs[0]
        factor = run.report.metric.factor
        panel.plot(
            along(run),
            [factor * epoch.validation_score for epoch in run.report.epochs],
            color=colour,
            lw=1.4,
            label=row.rule,
        )
    panel.set_xlabel(label)
    panel.grid()


def named(metric: Metric) -> str:
    return f"{metric.name}, {metric.unit}".rstrip(", ")


def colours(rows: Sequence[Row]) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(len(rows))]

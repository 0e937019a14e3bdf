"""Draws which ways the error goes under each rule: python docs/pictures/paths.py

The pictures go to docs/pictures/rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rules import keep

from rheobase.plots.style import COLOURS, GREY, LIGHT, new_figure, styled


@dataclass(frozen=True)
class Kept:
    """Which ways the error goes: down the layers of a step, back through the leak, back through the reset, and what
    factors go forward instead. learns: the steps that do. border: a cut in time after this step."""

    title: str
    leak: bool = False
    reset: bool = False
    pre: bool = False
    post: bool = False
    learns: tuple[int, ...] = (0, 1, 2, 3)
    border: int | None = None


PATHS = {
    "bptt": Kept("BPTT", leak=True, reset=True),
    "truncated-bptt": Kept("TruncatedBPTT(2)", leak=True, reset=True, border=1),
    "sltt": Kept("SLTT"),
    "sltt-k": Kept("SLTT(steps=2): two steps at random", learns=(0, 2)),
    "ottt": Kept("OTTT", pre=True),
    "s-tllr": Kept("STLLR(last=3)", pre=True, post=True, learns=(1, 2, 3)),
}
HEIGHTS = {"input": 0.0, "layer 1": 1.0, "layer 2": 2.0, "loss": 3.0}
DROPPED = "#c8c8c8"


def arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], keeps: bool, colour: str, bend: float = 0
) -> None:
    axes.annotate(
        "", end, start,
        arrowprops={
            "arrowstyle": "-|>", "color": colour if keeps else DROPPED, "lw": 1.6 if keeps else 1.0,
            "ls": "-" if keeps else (0, (2, 2)), "shrinkA": 9, "shrinkB": 9, "connectionstyle": f"arc3,rad={bend}",
        },
    )  # fmt: skip


def canvas(title: str, columns: Sequence[str]) -> tuple[Any, Any]:
    figure = new_figure(5.6, 3.1)
    axes = figure.subplots()
    for x, column in enumerate(columns):
        for name, y in HEIGHTS.items():
            style = {"color": GREY} if name in ("input", "loss") else {"mec": GREY, "mfc": "white"}
            axes.plot(
                x, y, "s" if name in ("input", "loss") else "o", ms=11 if "layer" in name else 7, zorder=3, **style
            )
        axes.text(x, -0.5, column, ha="center", va="top", color=GREY)
    for name, y in HEIGHTS.items():
        axes.text(-0.35, y, name, ha="right", va="center", color=GREY)
    axes.set(xlim=(-0.95, len(columns) - 0.55), ylim=(-0.85, 3.3), title=title)
    axes.axis("off")
    return figure, axes


def legend(axes: Any, shown: Sequence[tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, lw=1.6, ls="-" if colour != DROPPED else (0, (2, 2))) for colour, _ in shown]
    axes.legend(lines, [text for _, text in shown], loc="center left", bbox_to_anchor=(1.0, 0.5))


@styled
def diagram(kept: Kept) -> Any:
    figure, axes = canvas(kept.title, ["t = 0", "1", "2", "3"])
    error, pre, post = COLOURS[0], COLOURS[1], COLOURS[2]
    for t in range(4):
        for above, below in ((3.0, 2.0), (2.0, 1.0), (1.0, 0.0)):
            arrow(axes, (t, above), (t, below), t in kept.learns, error)
        for y in (1.0, 2.0) if t else ():
            joined = t - 1 != kept.border
            arrow(axes, (t, y), (t - 1, y), kept.leak and joined, error, 0.18)
            arrow(axes, (t, y), (t - 1, y), kept.reset and joined, error, -0.3)
        for y in (0.0, 1.0) if t and kept.pre else ():
            arrow(axes, (t - 1, y - 0.16), (t, y - 0.16), True, pre)
        for y in (1.0, 2.0) if t and kept.post else ():
            arrow(axes, (t - 1, y + 0.16), (t, y + 0.16), True, post)
    if kept.border is not None:
        axes.axvline(kept.border + 0.5, ymin=0.15, color=COLOURS[4], lw=1.2)
    shown = [(error, "error, kept"), (DROPPED, "error, dropped")]
    shown += [(pre, "trace of what comes in")] * kept.pre + [(post, "trace of slopes")] * kept.post
    shown += [(COLOURS[4], "border of a window")] * (kept.border is not None)
    legend(axes, shown if kept != PATHS["bptt"] else shown[:1])
    return figure


@styled
def rate_diagram() -> Any:
    figure, axes = canvas("RateBP", ["t = 0", "1", "2", "rates"])
    error, forward = COLOURS[0], COLOURS[2]
    for t in range(3):
        for below, above in ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0)):
            arrow(axes, (t, below), (t, above), True, forward)
        for y in (1.0, 2.0) if t else ():
            arrow(axes, (t - 1, y), (t, y), True, forward, 0.2)
    for above, below in ((3.0, 2.0), (2.0, 1.0), (1.0, 0.0)):
        arrow(axes, (3, above), (3, below), True, error)
    axes.axvline(2.5, ymin=0.15, color=LIGHT)
    legend(axes, [(forward, "spikes, without autograd"), (error, "error, kept")])
    return figure


if __name__ == "__main__":
    for name, kept in PATHS.items():
        keep(diagram(kept), f"{name}-paths")
    keep(rate_diagram(), "rate-bp-paths")

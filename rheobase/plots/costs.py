"""Memory and time of training against the number of time steps."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rheobase.plots.style import look, new_figure, styled
from rheobase.units import in_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "os^Dv<>p"  # lines that coincide are told apart by them


@dataclass(frozen=True)
class Cost:
    """Of one training step over a sequence of `steps` time steps; None for what was not measured.

    seconds: forward, backward and update. bytes: that autograd keeps for the backward pass.
    """

    steps: int
    seconds: float | None = None
    bytes: int | None = None


@styled
def cost_against_steps(costs: Mapping[str, Sequence[Cost]], title: str = "") -> "Figure":
    """Time and memory of a training step over T, both axes logarithmic, a line for each way to train.

    costs: by the name of the way to train.
    """
    ways = {name: sorted(own, key=lambda cost: cost.steps) for name, own in costs.items() if own}
    if not ways:
        raise ValueError("Expected the costs of at least one way to train.")
    seconds = {name: [(c.steps, 1000 * c.seconds) for c in own if c.seconds] for name, own in ways.items()}
    kept = {name: [(c.steps, float(c.bytes)) for c in own if c.bytes] for name, own in ways.items()}
    kinds = {"time of a training step, ms": seconds, "memory kept for the backward pass": kept}
    measured = {what: lines for what, lines in kinds.items() if any(lines.values())}
    figure = new_figure(1.9 + 3.8 * len(measured), 4.0)
    all_steps = sorted({cost.steps for own in ways.values() for cost in own})
    for panel, (what, lines) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        draw_lines(panel, lines)
        panel.set_title(what)
        scaled(panel, all_steps, size if lines is kept else "{:g}".format)
    handles = {text: h for panel in figure.axes for h, text in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def draw_lines(panel: Any, lines: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """lines: T and what it costs, by name; the place among all decides the look."""
    for place, (name, points) in enumerate(lines.items()):
        if points:
            marker = {"marker": MARKERS[place % len(MARKERS)], "mfc": "white", "ms": 5}
            panel.plot(*zip(*points, strict=True), **look(place), **marker, label=name)


def scaled(panel: Any, all_steps: Sequence[int], form: Callable[[float], str]) -> None:
    """Both axes logarithmic, ticks at the T that were measured. form: of the numbers on the other axis."""
    from matplotlib.ticker import LogLocator

    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(all_steps, [str(steps) for steps in all_steps])
    panel.set_xlim(all_steps[0] / 1.2, all_steps[-1] * 1.2)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(lambda value, _: form(value))
    panel.minorticks_off()
    panel.set_xlabel("time steps T")
    panel.grid()


def size(count: float) -> str:
    """Bytes with a unit of 1000, for which ticks at powers of ten are round."""
    value, unit = in_unit(count, ("B", "kB", "MB", "GB"))
    return f"{value:g} {unit}"


def benchmark_costs(
    records: Iterable[str | Path], net: str, library: str = "Rheobase", cases: Sequence[str] | None = None
) -> dict[str, list[Cost]]:
    """The costs of one network in the JSON files that `python -m benchmarks` writes, by case.

    The last file that has a case at some T counts; of its times the fastest allocator's. Where batches differ, all is
    scaled to the largest. cases: such as "SLTT()", in that order; all by default.

    Raises ValueError where the files tell nothing of them.
    """
    seconds: dict[tuple[str, int], tuple[float, int]] = {}  # with the batch that it was measured at
    kept: dict[tuple[str, int], tuple[float, int]] = {}
    for path in records:
        record = json.loads(Path(path).read_text())
        times: dict[tuple[str, int], tuple[float, int]] = {}
        for row in record["times"] + record["memory"]:
            if (row["net"], row["library"], row["status"]) != (net, library, "ok"):
                continue
            place = row["case"], row["steps"]
            if "median" in row:
                time = row["median"], row["batch"]
                times[place] = min(time, times.get(place, time))
            else:
                kept[place] = row["kept"], row["batch"]
        seconds |= times
    found = dict.fromkeys(case for case, _ in [*seconds, *kept])
    missing = [case for case in cases or () if case not in found]
    if missing or not found:
        raise ValueError(
            f"The records tell nothing of {', '.join(missing) or 'anything'} of {library} on a network {net!r}. They "
            f"tell of: {', '.join(found) or 'nothing'}."
        )
    largest = max(batch for _, batch in (*seconds.values(), *kept.values()))
    return {
        case: [
            cost(steps, seconds.get((case, steps)), kept.get((case, steps)), largest)
            for steps in sorted({steps for _, steps in (*seconds, *kept)})
            if (case, steps) in seconds or (case, steps) in kept
        ]
        for case in cases or found
    }


def cost(steps: int, seconds: tuple[float, int] | None, kept: tuple[float, int] | None, batch: int) -> Cost:
    """The cost, scaled from the batches that it was measured at to another one."""
    time, held = (None if found is None else found[0] * (batch / found[1]) for found in (seconds, kept))
    return Cost(steps, time, None if held is None else round(held))

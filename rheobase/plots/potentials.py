"""Membrane potentials and traces of a few neurons."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rheobase.plots.raster import of_sample
from rheobase.plots.style import COLOURS, GREY, few, new_figure, styled, whole_numbers
from rheobase.recorder import LayerRecord, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKED = 60  # steps up to which each one is a dot
SHOWN = 4


@styled
def potentials(record: Record, layer: str, neurons: Sequence[int] | None = None, *, sample: int = 0) -> "Figure":
    """For each neuron its potential before the reset, its threshold and its spikes; below, traces where there are any.

    neurons: numbers in the layer, flattened, of recorded ones; four of them by default. sample: as recorded.
    """
    found = record[layer]
    rows = rows_of(found, neurons, sample)
    traces = {f"trace at synapse {name!r}": of_sample(trace, sample) for name, trace in found.traces.items()}
    if found.slope_trace is not None:
        traces["trace of the slope"] = of_sample(found.slope_trace, sample)
    heights = ([1.5, 0.9] if traces else [1.5]) * len(rows)
    figure = new_figure(8.0, sum(heights) + 1.0)
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    for number, row in rows.items():
        draw_potential(panels[0], found, row, sample)
        panels.pop(0).set_title(f"layer {layer!r}, neuron {number}", pad=15)
        if traces:
            draw_traces(panels.pop(0), {name: trace[:, row] for name, trace in traces.items()})
    if traces:
        lowest, highest = (float(getattr(torch.stack(list(traces.values())), end)()) for end in ("min", "max"))
        for panel in figure.axes[1::2]:
            panel.set_ylim(min(0.0, lowest) - 0.04 * highest, 1.05 * max(highest, 1e-6))
    figure.axes[-1].set_xlabel("time step")
    figure.axes[-1].set_xlim(-0.5, len(found.potentials) - 0.5)
    entries = {text: h for axes in figure.axes for h, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside upper right", ncols=min(3, len(entries)))
    return figure


def rows_of(layer: LayerRecord, neurons: Sequence[int] | None, sample: int) -> dict[int, int]:
    """Where the neurons are among the recorded ones, by their numbers in the layer; by default some that spike."""
    recorded = list(layer.neurons or range(layer.potentials[0, 0].numel()))
    missing = sorted(set(neurons or []) - set(recorded))
    if missing:
        raise ValueError(
            f"Neuron {missing[0]} of layer {layer.name!r} was not recorded; recorded are {len(recorded)} of them, such "
            f"as {', '.join(map(str, recorded[:5]))}."
        )
    spike = of_sample(layer.spikes, sample).any(0)
    active = [number for number, spikes in zip(recorded, spike.tolist(), strict=True) if spikes]
    return {number: recorded.index(number) for number in neurons or few(active or recorded, SHOWN)}


def draw_potential(panel: Any, layer: LayerRecord, row: int, sample: int) -> None:
    potential = of_sample(layer.potentials, sample)[:, row]
    marker = {"marker": "o", "ms": 3} if len(potential) <= MARKED else {"lw": 1.0}
    panel.plot(potential.numpy(), color=COLOURS[0], label="potential before the reset", **marker)
    threshold = layer.threshold
    if isinstance(threshold, Tensor):
        panel.plot(of_sample(threshold, sample)[:, row].numpy(), color=GREY, ls="--", lw=1, label="threshold")
    elif threshold is not None:
        panel.axhline(threshold, color=GREY, ls="--", lw=1, label="threshold")
    spikes = of_sample(layer.spikes, sample)[:, row]
    if spikes.dtype == torch.bool:
        times = spikes.nonzero()[:, 0].numpy()
        panel.vlines(
            times, 1.02, 1.11, transform=panel.get_xaxis_transform(), clip_on=False, color=COLOURS[4],
            lw=max(0.8, min(2, 300 / len(spikes))), label="spikes",
        )  # fmt: skip
    panel.axhline(0, color="none")  # zero is always in sight, so that heights compare
    panel.set_ylabel("potential")
    panel.grid(axis="y")
    whole_numbers(panel.xaxis)


def draw_traces(panel: Any, traces: dict[str, Tensor]) -> None:
    """traces: `[T]` each, by name."""
    for place, (name, trace) in enumerate(traces.items()):
        panel.plot(trace.numpy(), color=COLOURS[2 + place % 2 * 3], lw=1.3, label=name)
    panel.set_ylabel("trace")
    panel.grid(axis="y")

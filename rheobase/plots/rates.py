"""How often neurons spike."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rheobase.plots.raster import spikes_of
from rheobase.plots.style import COLOURS, DEAD_COLOUR, GREY, SATURATED_COLOUR, counted, new_figure, styled
from rheobase.recorder import Record
from rheobase.training.health import DEAD, SATURATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS, COLUMNS = 30, 3


@styled
def firing_rates(rates: Record | Mapping[str, Tensor]) -> "Figure":
    """A histogram for each layer: how many of its neurons have which mean number of spikes a step.

    Neurons are called dead below 0.005 and saturated above 0.9, as in the reports of training.

    rates: what was recorded, or the rates of the neurons by layer, in [0, 1], any shape.
    """
    found = rates_of(rates)
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = new_figure(0.8 + 2.9 * columns, 0.7 + 1.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    highest = max(float(values.max()) for values in found.values())
    limit = 1.0 if highest > 0.5 else max(0.05, math.ceil(highest * 20) / 20)
    for panel, (name, values) in zip(panels, found.items(), strict=False):
        draw_rates(panel, values, limit)
        panel.set_title(f"layer {name!r}: {counted(values.numel(), 'neuron')}")
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    for panel in panels[max(0, len(found) - columns) : len(found)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("spikes a step")
    for panel in panels[::columns]:
        panel.set_ylabel("% of neurons")
    return figure


def rates_of(rates: Record | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rate of each neuron, flat, by layer; over all steps and samples of a record, of the layers that spike."""
    if isinstance(rates, Record):
        found = {name: spikes.double().mean((0, 1)) for name, spikes in spikes_of(rates).items()}
    else:
        found = {name: values.detach().double().cpu() for name, values in rates.items()}
    if not found:
        raise ValueError("Expected the rates of at least one layer of spiking neurons.")
    for name, values in found.items():
        if not values.numel() or not 0 <= float(values.min()) <= float(values.max()) <= 1:
            raise ValueError(f"Expected the rates of the neurons of layer {name!r} in [0, 1].")
    return {name: values.flatten() for name, values in found.items()}


def draw_rates(panel: Any, rates: Tensor, limit: float) -> None:
    """Bars of the shares of neurons, with a bar and a word for those that are dead or saturated."""
    width = limit / BINS
    living = rates[(rates >= DEAD) & (rates <= SATURATED)]
    counts = living.histc(BINS, 0, limit) * 100 / rates.numel()
    starts = [width * place for place in range(BINS)]
    panel.bar(starts, counts.tolist(), width=width * 0.92, align="edge", color=COLOURS[0])
    mean = float(rates.mean())
    panel.axvline(mean, color=GREY, lw=1, ls=":")
    words = [(f"mean {mean:.3f}", GREY)]
    ailing = (("dead", rates < DEAD, 0.0, DEAD_COLOUR), ("saturated", rates > SATURATED, SATURATED, SATURATED_COLOUR))
    for word, which, left, colour in ailing:
        share = 100 * float(which.double().mean())
        if share:
            panel.bar(
                [left - width * (word == "dead")],
                [share],
                width=width if word == "dead" else 0.1,
                align="edge",
                color=colour,
            )
            words.append((f"{share:.0f} % {word}" if share >= 1 else f"< 1 % {word}", colour))
    for line, (text, colour) in enumerate(words):
        panel.text(0.98, 0.98 - 0.115 * line, text, transform=panel.transAxes, ha="right", va="top", color=colour)
    panel.set_xlim(-1.5 * width, limit)
    top = panel.get_ylim()[1]
    panel.set_yticks([tick for tick in panel.get_yticks() if tick <= min(100, top)])
    panel.set_ylim(0, 1.5 * top)  # room for the words
    panel.grid(axis="y")

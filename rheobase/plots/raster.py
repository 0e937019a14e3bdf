"""Spikes over time."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rheobase.plots.style import COLOURS, counted, few, new_figure, spaced, styled, whole_numbers
from rheobase.recorder import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, STEPS = 300, 400  # up to which each spike gets a mark of its own
BANDS, COLUMNS = 200, 600  # of the picture beyond that
LABELS = 12


@styled
def raster(record: Record, layer: str | None = None, *, sample: int = 0, axes: "Axes | None" = None) -> "Figure":
    """When which neuron spiked: a mark for each spike, and below the share of neurons that spike at each step.

    Beyond 300 neurons or 400 steps a darkness stands for the share of spikes among neighbouring neurons and steps.

    layer: its name; by default a panel for each layer that spikes. sample: its place among the recorded ones.
    axes: to draw the one layer into, without what is below.
    """
    spikes = spikes_of(record, layer)
    if axes is not None:
        if layer is None:
            raise ValueError("Expected the name of one layer to draw into the given axes.")
        panel: Any = axes
        draw_raster(panel, of_sample(spikes[layer], sample), record[layer].neurons, layer)
        return panel.figure
    heights = [min(0.6 + 0.06 * s[0, 0].numel(), 3.4, max(0.9, 12 / len(spikes))) for s in spikes.values()]
    figure = new_figure(8.0, sum(heights) + 0.75 * len(heights) + 0.9)
    ratios = [ratio for height in heights for ratio in (height, 0.5)]
    panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for (name, all_of_it), upper, lower in zip(spikes.items(), panels[::2], panels[1::2], strict=True):
        draw_raster(upper, of_sample(all_of_it, sample), record[name].neurons, name)
        draw_share(lower, of_sample(all_of_it, sample))
        upper.set_xlabel("")
    panels[-1].set_xlabel("time step")
    return figure


def spikes_of(record: Record, layer: str | None = None) -> dict[str, Tensor]:
    """The recorded spikes `[T, N, ...]` of the layer, or of each layer that spikes. Raises ValueError without any."""
    every = {name: record[name].spikes for name in ([layer] if layer is not None else record)}
    found = {name: spikes for name, spikes in every.items() if spikes.dtype == torch.bool}
    if not found:
        raise ValueError(
            f"Expected layers that spike, got {', '.join(map(repr, every))}, which give out other numbers."
        )
    return found


def of_sample(x: Tensor, sample: int) -> Tensor:
    """`[T, K]` of `[T, N, ...]`."""
    if not 0 <= sample < x.shape[1]:
        raise ValueError(f"Expected a sample from 0 to {x.shape[1] - 1}, as recorded, got {sample}.")
    return x[:, sample].flatten(1)


def draw_raster(panel: Any, spikes: Tensor, neurons: Any, name: str) -> None:
    """spikes: `[T, K]`. neurons: the numbers of the K neurons in their layer, None if they are 0, 1, ..."""
    steps, rows = spikes.shape
    if rows <= ROWS and steps <= STEPS:
        times, places = spikes.numpy().nonzero()
        width = max(0.7, min(2.2 if rows <= 60 else 8.0, 260 / steps))  # of long marks less, to look like marks
        panel.vlines(times, places - 0.4, places + 0.4, color=COLOURS[0], lw=width)
    else:
        draw_density(panel, spikes)
    panel.set_xlim(-0.5, steps - 0.5)
    panel.set_ylim(rows - 0.5, -0.5)
    if neurons or rows <= LABELS:
        labelled = few(range(rows), LABELS)
        panel.set_yticks(labelled, [str(neurons[row] if neurons else row) for row in labelled])
    else:
        whole_numbers(panel.yaxis)
    panel.set_ylabel("neuron")
    panel.set_xlabel("time step")
    whole_numbers(panel.xaxis)
    panel.set_title(summary(spikes, name))


def summary(spikes: Tensor, name: str) -> str:
    silent = int((spikes.sum(0) == 0).sum())
    rate = float(spikes.double().mean())
    never = f", {spaced(silent)} silent" if silent else ""
    return f"layer {name!r}: {counted(spikes.shape[1], 'neuron')}, {rate:.3f} spikes a neuron and step{never}"


def draw_density(panel: Any, spikes: Tensor) -> None:
    """Shares of spikes in fields of neighbouring neurons and steps."""
    steps, rows = spikes.shape
    down, along = -(-rows // BANDS), -(-steps // COLUMNS)
    image = shares(spikes.T.double(), down, along)
    drawn = panel.imshow(
        image.numpy(), aspect="auto", cmap="Blues", vmin=0, interpolation="nearest",
        extent=(-0.5, along * image.shape[1] - 0.5, down * image.shape[0] - 0.5, -0.5),
    )  # fmt: skip
    field = f"{counted(down, 'neuron')} x {counted(along, 'step')}"
    panel.figure.colorbar(drawn, ax=panel, pad=0.01, aspect=18, label=f"share of spikes in\n{field}")


def shares(x: Tensor, down: int, along: int) -> Tensor:
    """Means of x `[rows, columns]` over fields of `down` rows and `along` columns, smaller at the borders."""
    return avg_pool2d(x[None], (down, along), ceil_mode=True, count_include_pad=False)[0]


def draw_share(panel: Any, spikes: Tensor) -> None:
    share = 100 * spikes.double().mean(1)
    panel.stairs(share.numpy(), [t - 0.5 for t in range(len(share) + 1)], fill=True, color="#bbbbbb")
    panel.set_ylim(0, max(float(share.max()) * 1.1, 0.1))
    panel.set_ylabel("% spike")
    panel.locator_params(axis="y", nbins=2)

"""Spikes over time."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from rheobase.plots.style import COLOURS, counted, few, new_figure, styled, whole_numbers
from rheobase.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, STEPS = 150, 400  # up to which each spike gets a mark of its own
BANDS, COLUMNS = 200, 600  # of the picture beyond that
LABELS = 12


@styled
def raster(record: Record, layer: str | None = None, *, sample: int = 0, axes: "Axes | None" = None) -> "Figure":
    """When which neuron spiked: a mark for each spike, and below the share of neurons that spike at each step.

    Beyond 150 neurons or 400 steps a darkness stands for the share of spikes among neighbouring neurons and steps.

    layer: its name; by default a panel for each layer that spikes. sample: its place among the recorded ones.
    axes: to draw the one layer into, without what is below.
    """
    names = (
        [name for name in record if record[name].spikes.dtype.is_floating_point is False] if layer is None else [layer]
    )
    drawn = {name: of_sample(record[name].spikes, sample) for name in names}
    if axes is not None:
        if layer is None:
            raise ValueError("Expected the name of one layer to draw into the given axes.")
        draw_raster(axes, drawn[layer], record[layer].neurons, layer)
        return axes.figure  # type: ignore[no-any-return]
    heights = [height_of(spikes.shape[1]) for spikes in drawn.values()]
    figure = new_figure(8.0, sum(heights) + 0.75 * len(names) + 0.9)
    panels = figure.subplots(
        2 * len(names), 1, sharex=True, squeeze=False, height_ratios=[h for height in heights for h in (height, 0.5)]
    )[:, 0]
    for place, (name, spikes) in enumerate(drawn.items()):
        draw_raster(panels[2 * place], spikes, record[name].neurons, name)
        draw_share(panels[2 * place + 1], spikes)
        panels[2 * place].set_xlabel("")
    panels[-1].set_xlabel("time step")
    return figure  # type: ignore[no-any-return]


def of_sample(spikes: Tensor, sample: int) -> Tensor:
    """`[T, K]` of `[T, N, ...]`."""
    if not 0 <= sample < spikes.shape[1]:
        raise ValueError(f"Expected a sample from 0 to {spikes.shape[1] - 1}, as recorded, got {sample}.")
    return spikes[:, sample].flatten(1)


def height_of(rows: int) -> float:
    """Inches for so many neurons."""
    return min(0.6 + 0.06 * rows, 3.4)


def draw_raster(panel: Any, spikes: Tensor, neurons: Any, name: str) -> None:
    """spikes: `[T, K]`. neurons: the numbers of the K neurons in their layer, None if they are 0, 1, ..."""
    steps, rows = spikes.shape
    if rows <= ROWS and steps <= STEPS:
        times, places = spikes.nonzero(as_tuple=True)
        width = max(0.7, min(2.2, 260 / steps))
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
    never = f", {counted(silent, 'neuron')} never" if silent else ""
    return f"layer {name!r}: {counted(spikes.shape[1], 'neuron')}, {rate:.3f} spikes a neuron and step{never}"


def draw_density(panel: Any, spikes: Tensor) -> None:
    """Shares of spikes in fields of neighbouring neurons and steps."""
    steps, rows = spikes.shape
    down, along = -(-rows // BANDS), -(-steps // COLUMNS)
    image = shares(spikes.T.double(), down, along)
    drawn = panel.imshow(
        image, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest",
        extent=(-0.5, along * image.shape[1] - 0.5, down * image.shape[0] - 0.5, -0.5),
    )  # fmt: skip
    field = " x ".join(part for part in (counted(down, "neuron"), counted(along, "step")))
    panel.figure.colorbar(drawn, ax=panel, pad=0.01, aspect=18, label=f"share of spikes in\n{field}")


def shares(x: Tensor, down: int, along: int) -> Tensor:
    """Means of x `[rows, columns]` over fields of `down` rows and `along` columns, smaller at the borders."""
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(x[None], (down, along), ceil_mode=True, count_include_pad=False)[0]


def draw_share(panel: Any, spikes: Tensor) -> None:
    share = 100 * spikes.double().mean(1)
    panel.stairs(share, [t - 0.5 for t in range(len(share) + 1)], fill=True, color="#bbbbbb")
    panel.set_ylim(0, max(float(share.max()) * 1.1, 0.1))
    panel.set_ylabel("% spike")
    panel.locator_params(axis="y", nbins=2)

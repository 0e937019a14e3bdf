"""The kernels of a first layer."""

from typing import TYPE_CHECKING

from torch import Tensor

from rheobase.plots.style import counted, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 64


@styled
def filters(weight: Tensor) -> "Figure":
    """The kernels of a convolution side by side, a row of small pictures for each input channel; red excites.

    weight: `[O, I, H, W]`; the first 64 outputs are shown. All pictures share one scale.
    """
    if weight.dim() != 4:
        raise ValueError(f"Expected the weight of a 2-d convolution [O, I, H, W], got shape {list(weight.shape)}.")
    shown = weight.detach().double().cpu()[:MOST]
    outputs, inputs = shown.shape[:2]
    columns = min(16, outputs)
    blocks = -(-outputs // columns)
    figure = new_figure(1.6 + 0.5 * columns, 0.8 + 0.5 * blocks * inputs)
    panels = figure.subplots(blocks * inputs, columns, squeeze=False)
    limit = float(shown.abs().max()) or 1.0
    for panel in panels.flatten():
        panel.set_axis_off()
    for number, kernel in enumerate(shown):
        for channel, picture in enumerate(kernel):
            panel = panels[number // columns * inputs + channel, number % columns]
            drawn = panel.imshow(picture.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            if channel == 0:
                panel.set_title(str(number), fontsize=7, loc="center")
    figure.colorbar(drawn, ax=panels, shrink=0.8, pad=0.02, label="weight")
    of_all = "" if outputs == len(weight) else f" of {len(weight)}"
    figure.suptitle(f"{outputs}{of_all} kernels of {counted(inputs, 'input channel')}")
    return figure

"""What an event camera saw."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rheobase.events.events import Events
from rheobase.plots.style import OFF, ON, counted, new_figure, spaced, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 8
CLOUD = 20_000  # events shown at most


@styled
def event_frames(xs: Tensor, *, sample: int = 0, frames: int = 8, titles: Sequence[str] | None = None) -> "Figure":
    """Frames of events side by side, time running along: what got brighter red, what got darker blue, on white.

    xs: counts `[T, N, 2, H, W]`, channel 0 brighter, as of `rheobase.datasets`; or `[T, 2, H, W]`. Longer sequences
    than `frames` are added up in as many groups of consecutive steps. Channels of one alone are shown in grey.
    titles: of the pictures, one each; the steps by default.
    """
    one = xs if xs.dim() == 4 else xs[:, sample] if xs.dim() == 5 else None
    if one is None or one.shape[1] not in (1, 2):
        raise ValueError(f"Expected frames [T, N, 2, H, W] or [T, 2, H, W] of counts, got shape {list(xs.shape)}.")
    groups = [part for part in torch.arange(len(one)).tensor_split(min(frames, len(one))) if len(part)]
    named = [steps_of(group) for group in groups] if titles is None else list(titles)
    if len(named) != len(groups):
        raise ValueError(f"Expected {len(groups)} titles, one for each picture, got {len(named)}.")
    pictures = coloured(torch.stack([one[group].double().sum(0) for group in groups]).cpu().numpy())
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    height, width = one.shape[2:]
    side = 9.0 / columns if columns > 3 else 2.4
    figure = new_figure(side * columns, rows * (side * height / width + 0.25) + 0.35)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, name, picture in zip(panels, named, pictures, strict=False):
        draw_frame(panel, picture)
        panel.set_title(name, fontsize=8, loc="center")
    legend(figure, one.shape[1])
    return figure


def steps_of(group: Tensor) -> str:
    first, last = int(group[0]), int(group[-1])
    return f"step {first}" if first == last else f"steps {first} to {last}"


def coloured(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[F, 2, H, W]` or `[F, 1, H, W]` as `[F, H, W, 3]` in [0, 1], white where there is none.

    Full colour stands for the 99th percentile of the counts that are not 0, in all frames.
    """
    from matplotlib.colors import to_rgb

    full = float(np.quantile(counts[counts > 0], 0.99)) if (counts > 0).any() else 1.0
    strength = np.where(counts > 0, 0.3 + 0.7 * counts / full, 0).clip(0, 1)  # a single event is seen too
    inks = [to_rgb(name) for name in ((ON, OFF) if counts.shape[1] == 2 else ("black",))]
    taken = sum(strength[:, channel, ..., None] * (1 - np.array(ink)) for channel, ink in enumerate(inks))
    return np.clip(1 - taken, 0, 1)


def draw_frame(panel: Any, picture: np.ndarray[Any, Any]) -> None:
    panel.set_axis_on()
    panel.imshow(picture, interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color("#bbbbbb")


def legend(figure: Any, channels: int) -> None:
    from matplotlib.patches import Patch

    if channels == 2:
        patches = [Patch(color=ON, label="brighter"), Patch(color=OFF, label="darker")]
        figure.legend(handles=patches, loc="outside lower right", ncols=2)


@styled
def event_cloud(events: Events) -> "Figure":
    """Every event as a dot in x, y and time; of many, 20 000 evenly spread over the recording."""
    if not len(events):
        raise ValueError("Expected at least one event.")
    shown = np.unique(np.linspace(0, len(events) - 1, CLOUD).round().astype(np.int64))
    t, x, y, p = ((array[shown]) for array in (events.t, events.x, events.y, events.p))
    milliseconds = (t - events.t[0]) / 1000
    figure = new_figure(8.0, 4.4)
    panel = figure.add_subplot(projection="3d", computed_zorder=False)
    size = float(np.clip(6000 / len(shown), 0.4, 12))
    for polarity, colour, name in ((1, ON, "brighter"), (0, OFF, "darker")):
        own = p == polarity
        panel.scatter(milliseconds[own], x[own], y[own], s=size, color=colour, lw=0, alpha=0.7, label=name)
    panel.set_xlabel("time, ms", labelpad=14)
    panel.set_ylabel("x, pixels")
    panel.set_zlabel("y, pixels")
    panel.locator_params(axis="y", nbins=3)
    panel.locator_params(axis="z", nbins=5)
    panel.set_ylim(0, events.width)
    panel.set_zlim(events.height, 0)
    panel.set_box_aspect((2.2, events.width / events.height, 1), zoom=1.35)
    panel.view_init(elev=18, azim=-62)
    panel.legend(loc="upper right", markerscale=max(1.0, 4 / size**0.5))
    part = "" if len(shown) == len(events) else f", {spaced(len(shown))} of them shown"
    panel.set_title(f"{counted(len(events), 'event')} in {milliseconds[-1]:.0f} ms{part}")
    return figure

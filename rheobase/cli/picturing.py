"""The command `rheobase plot`: pictures of a run, in its folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from rich.console import Console
from torch import Tensor, nn

from rheobase import plots
from rheobase.cli.flags import Folder
from rheobase.datasets import Data, FlowData
from rheobase.inference import run
from rheobase.metrics import ACCURACY
from rheobase.recorder import record
from rheobase.training.evaluate import load_run
from rheobase.training.files import WEIGHTS
from rheobase.training.history import read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = Literal["curves", "confusion", "raster", "rates", "potentials", "frames", "filters"]
USUAL: tuple[Picture, ...] = ("curves", "confusion", "raster", "rates")
MOST, TOGETHER = 64, 8  # samples that rates are means over, and how many of them run at once


def plot(
    folder: Folder,
    what: tuple[Picture, ...] = (),
    sample: int = 0,
    layer: str | None = None,
    neurons: tuple[int, ...] = (),
) -> int:
    """Draw pictures of a run into its folder: how it learned, and what its best weights do with the test part.

    Args:
        folder: of the run.
        what: the pictures; by default curves, confusion, raster and rates, as far as the run has them.
        sample: of the test part, for raster, potentials and frames.
        layer: for raster and potentials: the name of a layer of neurons; all of them, or the first, by default.
        neurons: for potentials: their numbers in the layer; four that spike by default.
    """
    asked = Asked(folder, sample, layer, neurons)
    console = Console(highlight=False, soft_wrap=True)
    for name in what or asked.usual():
        path = plots.save(DRAWN[name](asked), folder / f"{name}.png")
        console.print(f"{name}: {path}", markup=False)
    return 0


@dataclass(frozen=True)
class Asked:
    """A run's folder, and what of it is to be seen; the model is loaded when a picture needs it."""

    folder: Path
    sample: int
    layer: str | None
    neurons: tuple[int, ...]

    @cached_property
    def trained(self) -> tuple[Data | FlowData, nn.Module, torch.device]:
        _, data, model = load_run(self.folder)
        return data, model.eval(), next(model.parameters()).device

    def usual(self) -> tuple[Picture, ...]:
        """The usual pictures that this run has: one that goes on has no weights, one of flows no classes."""
        if not (self.folder / WEIGHTS).is_file():
            return ("curves",)
        has_classes = read_run(self.folder, str(self.folder)).metric("test") == ACCURACY
        return tuple(name for name in USUAL if has_classes or name != "confusion")

    def batches(self, size: int, most: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Of the test part, in stored order; about `most` samples."""
        data, _, device = self.trained
        for number, batch in enumerate(data.test.batches(size, device=device)):
            if most is not None and number * size >= most:
                return
            yield batch

    def sequence(self) -> Tensor:
        """The one sample, `[T, 1, ...]`."""
        data, _, device = self.trained
        if not 0 <= self.sample < len(data.test):
            raise ValueError(f"Expected a sample of the test part, 0 to {len(data.test) - 1}, got {self.sample}.")
        return data.test.batch(torch.tensor([self.sample]), torch.Generator().manual_seed(0), device)[0]


def draw_curves(asked: Asked) -> "Figure":
    return plots.learning_curves(asked.folder)


def draw_confusion(asked: Asked) -> "Figure":
    data, model, _ = asked.trained
    if data.test.metric != ACCURACY:
        raise ValueError(f"A confusion matrix needs classes; this run's data have the {data.test.metric.name} instead.")
    found = [(run(model, xs).mean(0), target) for xs, target in asked.batches(MOST)]
    return plots.confusion(torch.cat([scores for scores, _ in found]), torch.cat([target for _, target in found]))


def draw_raster(asked: Asked) -> "Figure":
    _, model, _ = asked.trained
    with record(model, asked.layer, what=["spikes"]) as found:
        run(model, asked.sequence())
    return plots.raster(found, asked.layer)


def draw_rates(asked: Asked) -> "Figure":
    _, model, _ = asked.trained
    sums: dict[str, Tensor] = {}
    samples = 0
    for xs, _ in asked.batches(TOGETHER, MOST):
        with record(model, what=["spikes"]) as found:
            run(model, xs)
        samples += xs.shape[1]
        for name in found:
            if found[name].spikes.dtype == torch.bool:
                sums[name] = sums.get(name, 0) + found[name].spikes.double().mean(0).sum(0)
    return plots.firing_rates({name: total / samples for name, total in sums.items()})


def draw_potentials(asked: Asked) -> "Figure":
    _, model, _ = asked.trained
    with record(model, asked.layer, what=["spikes", "potentials"]) as found:
        run(model, asked.sequence())
    return plots.potentials(found, asked.layer or next(iter(found)), asked.neurons or None)


def draw_frames(asked: Asked) -> "Figure":
    return plots.event_frames(asked.sequence())


def draw_filters(asked: Asked) -> "Figure":
    _, model, _ = asked.trained
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ValueError("This run's model has no 2-d convolution whose kernels could be drawn.")
    return plots.filters(first.weight)


DRAWN: dict[Picture, Callable[[Asked], "Figure"]] = {
    "curves": draw_curves,
    "confusion": draw_confusion,
    "raster": draw_raster,
    "rates": draw_rates,
    "potentials": draw_potentials,
    "frames": draw_frames,
    "filters": draw_filters,
}

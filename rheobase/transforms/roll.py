"""Shifts of a few pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import integers, require_at_least
from rheobase.transforms.transform import PixelTransform
from rheobase.transforms.windows import picked


@dataclass(frozen=True)
class Roll(PixelTransform):
    """Shifts a sample down and right by whole numbers drawn from -pixels .. pixels, each axis its own.

    wrap: what leaves on one side comes in on the other (rate-BP on CIFAR10-DVS); else it is lost and zeros come in,
        as when the camera looks elsewhere.
    """

    pixels: int = 5
    wrap: bool = True

    def __post_init__(self) -> None:
        require_at_least("pixels", self.pixels, 0)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        sources = []
        for side in xs.shape[3:]:
            shift = integers(-self.pixels, self.pixels, (xs.shape[1], 1), generator)
            source = torch.arange(side) - shift
            sources.append(source % side if self.wrap else source)
        return picked(xs, *sources)

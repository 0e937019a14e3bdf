"""Squares without content."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import chance, integers, require_at_least, require_probability
from rheobase.transforms.transform import PixelTransform
from rheobase.transforms.windows import filled, rectangles


@dataclass(frozen=True)
class Cutout(PixelTransform):
    """Fills squares around uniformly random pixels; a square may reach beyond the border.

    size: side of a square, pixels.
    holes: squares in a sample.
    p: probability that a sample gets its squares.
    fill: the value in a square. 0 is black before `Normalise`, where rate-BP cuts, and the mean colour after it.

    Paper: DeVries & Taylor 2017, arXiv:1708.04552; rate-BP on CIFAR cuts one square of 16.
    """

    size: int = 16
    holes: int = 1
    p: float = 1.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("size", self.size, 1)
        require_at_least("holes", self.holes, 1)
        require_probability("p", self.p)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        samples, (height, width) = xs.shape[1], xs.shape[3:]
        cut = chance(self.p, samples, generator)
        top, left = (integers(0, side - 1, (samples, self.holes), generator) - self.size // 2 for side in xs.shape[3:])
        hole = rectangles((top, top + self.size), (left, left + self.size), (height, width)).any(1)
        hole &= cut.view(-1, 1, 1)
        return filled(xs, hole[:, None], xs.new_tensor(self.fill))

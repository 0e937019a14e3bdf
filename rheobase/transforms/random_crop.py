"""A window somewhere in the frame."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import integers, require_at_least
from rheobase.transforms.transform import PixelTransform
from rheobase.transforms.windows import pair, picked


@dataclass(frozen=True)
class RandomCrop(PixelTransform):
    """A window of the frame with a border of zeros, at a uniformly random place.

    size: of the window: one number, or height and width, pixels.
    padding: width of the border, pixels. CIFAR recipes crop 32 with padding 4.
    """

    size: int | tuple[int, int]
    padding: int = 0

    def __post_init__(self) -> None:
        pair(self.size)
        require_at_least("padding", self.padding, 0)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        height, width = pair(self.size)
        free = xs.shape[3] + 2 * self.padding - height, xs.shape[4] + 2 * self.padding - width
        if min(free) < 0:
            raise ValueError(
                f"RandomCrop of {height} x {width} does not fit frames of {xs.shape[3]} x {xs.shape[4]} with a padding "
                f"of {self.padding}: use a smaller size or more padding."
            )
        top, left = (integers(-self.padding, room - self.padding, (xs.shape[1], 1), generator) for room in free)
        return picked(xs, top + torch.arange(height), left + torch.arange(width))

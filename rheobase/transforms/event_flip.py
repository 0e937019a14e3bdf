"""Left becomes right, brighter becomes darker."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import chance, require_probability
from rheobase.transforms.flip import Flip, mirrored
from rheobase.transforms.transform import PixelTransform, require_channels


@dataclass(frozen=True)
class EventFlip(PixelTransform):
    """Mirrors event frames left to right with probability `p`, and swaps the polarities with probability `swap`.

    A swap is what the camera would see of the negative of the scene. Needs two channels where it can happen.
    """

    p: float = 0.5
    swap: float = 0.0

    def __post_init__(self) -> None:
        require_probability("p", self.p)
        require_probability("swap", self.swap)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        xs = Flip(self.p).changed(xs, generator)
        if not self.swap:
            return xs
        require_channels(xs, 2, "EventFlip with a swap of polarities")
        return mirrored(xs, 2, chance(self.swap, xs.shape[1], generator))

"""From bytes to the unit range."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.transform import PixelTransform


@dataclass(frozen=True)
class Scale(PixelTransform):
    """Multiplies by a factor; the default takes bytes 0 .. 255 to [0, 1]."""

    factor: float = 1 / 255

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        return xs * self.factor

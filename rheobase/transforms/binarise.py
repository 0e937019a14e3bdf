"""Whether there were events, not how many."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.transform import PixelTransform


@dataclass(frozen=True)
class Binarise(PixelTransform):
    """1 where the value is above the threshold, 0 elsewhere."""

    threshold: float = 0.0

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        return (xs > self.threshold).to(xs.dtype)

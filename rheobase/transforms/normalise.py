"""Channels with mean 0 and standard deviation 1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.transform import PixelTransform, require_channels


@dataclass(frozen=True)
class Normalise(PixelTransform):
    """(scale * x - mean) / std, channel by channel.

    mean, std: of the scaled data, one for each channel.
    scale: 1 / 255 where the data are still bytes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"Expected a mean and a std for each channel, got {self.mean} and {self.std}.")
        if min(self.std) <= 0:
            raise ValueError(f"Expected positive standard deviations, got {self.std}.")

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        require_channels(xs, len(self.mean), "Normalise")
        mean, std = (xs.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (xs * self.scale).sub_(mean).div_(std)

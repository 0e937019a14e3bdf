"""Left becomes right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.draws import chance, require_probability
from rheobase.transforms.transform import PixelTransform


@dataclass(frozen=True)
class Flip(PixelTransform):
    """Mirrors a sample left to right with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        require_probability("p", self.p)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        return mirrored(xs, -1, chance(self.p, xs.shape[1], generator))


def mirrored(xs: Tensor, axis: int, which: Tensor) -> Tensor:
    """xs `[T, N, C, H, W]`, the samples `which`, `[N]`, bool, on the CPU, in reverse order along an axis."""
    chosen = which.nonzero().squeeze(1).to(xs.device)
    result = xs.clone()
    result[:, chosen] = xs[:, chosen].flip(axis)
    return result

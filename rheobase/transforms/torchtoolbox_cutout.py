"""The cutout of the torchtoolbox package, with its colours."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rheobase.transforms.draws import chance, integers, require_probability, uniform
from rheobase.transforms.transform import PixelTransform, require_channels
from rheobase.transforms.windows import filled, rectangles


@dataclass(frozen=True)
class TorchtoolboxCutout(PixelTransform):
    """Fills one rectangle of random area, shape and colour in images `[T, N, 3, H, W]` (SLTT, OTTT on CIFAR).

    p: probability that a sample is cut.
    area: least and largest share of the image.
    aspect: least and largest height / width.
    fill: "random" draws each channel of the colour; "red" draws the first and leaves the others 0, which is what
        version 0.1.8.2 pastes, a defect; "grey" draws one for all three, as older versions did.
    white: the value of white, 1 for images in [0, 1].

    As there, sides are rounded down, and a rectangle never touches the last row or column.
    """

    p: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)
    aspect: tuple[float, float] = (0.4, 2.5)
    fill: Literal["random", "red", "grey"] = "random"
    white: float = 1.0

    def __post_init__(self) -> None:
        require_probability("p", self.p)
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"Expected area = (least, largest) in (0, 1], got {self.area}.")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"Expected aspect = (least, largest) above 0, got {self.aspect}.")
        if self.fill not in ("random", "red", "grey"):
            raise ValueError(f'Expected fill "random", "red" or "grey", got {self.fill!r}.')

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        require_channels(xs, 3, "TorchtoolboxCutout")
        hole = self.holes(xs.shape[1], (xs.shape[3], xs.shape[4]), generator)
        colour = self.colours(xs.shape[1], generator).to(xs)
        return filled(xs, hole[:, None], colour[:, :, None, None])

    def holes(self, samples: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Which pixels are cut, `[N, H, W]`; none in a sample that is left as it is."""
        cut = chance(self.p, samples, generator)
        pixels = size[0] * size[1] * uniform(*self.area, (samples,), generator)
        shape = uniform(*self.aspect, (samples,), generator)
        sides = (pixels * shape).sqrt().long(), (pixels / shape).sqrt().long()
        runs = []
        for side, whole in zip(sides, size, strict=True):
            room = (whole - side).clamp(min=1)
            start = (uniform(0, 1, (samples,), generator) * room).long()
            runs.append((start, start + side))
        return rectangles(runs[0], runs[1], size) & cut.view(-1, 1, 1)

    def colours(self, samples: int, generator: torch.Generator) -> Tensor:
        """A colour for each sample, `[N, 3]`: 255 levels from 0 to 254 / 255 of white."""
        drawn = integers(0, 254, (samples, 3), generator).double() * (self.white / 255)
        if self.fill == "grey":
            return drawn[:, :1].expand(-1, 3)
        return drawn * torch.tensor([1, 0, 0]) if self.fill == "red" else drawn

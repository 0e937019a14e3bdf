"""Frames of another size, channel by channel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rheobase.transforms.resizing import area_weights, triangle_weights
from rheobase.transforms.transform import PixelTransform
from rheobase.transforms.windows import pair

WEIGHTS: dict[str, Callable[[int, int], Tensor]] = {"area": area_weights, "bilinear": triangle_weights}


@dataclass(frozen=True)
class Resize(PixelTransform):
    """Resizes every channel of every frame on its own.

    size: one number, or height and width, pixels.
    mode: "area" shares a pixel out among those it overlaps; "bilinear" weighs with an antialiased triangle.
    keep: "mean", the mean of a frame; "sum", its total, so that event counts stay counts (in fractions). Exact for
        "area"; to within what the border weighs differently for "bilinear".
    rounded: round to whole numbers, as S-TLLR does to the integer counts of DVS128-Gesture; where events are sparse
        most pixels become 0. A defect, here for comparison.
    """

    size: int | tuple[int, int]
    mode: Literal["area", "bilinear"] = "area"
    keep: Literal["mean", "sum"] = "mean"
    rounded: bool = False

    def __post_init__(self) -> None:
        pair(self.size)
        if self.mode not in WEIGHTS:
            raise ValueError(f'Expected mode "area" or "bilinear", got {self.mode!r}.')
        if self.keep not in ("mean", "sum"):
            raise ValueError(f'Expected keep "mean" or "sum", got {self.keep!r}.')

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        weights = []
        for source, target in zip(xs.shape[3:], pair(self.size), strict=True):
            weight = WEIGHTS[self.mode](source, target)
            weights.append((weight * source / target if self.keep == "sum" else weight).to(xs))
        resized = weights[0] @ (xs @ weights[1].T)
        return resized.round() if self.rounded else resized

"""Shears, shifts and turns of images, with the arithmetic of Pillow.

Each takes images `[K, 3, H, W]` of whole levels 0 .. 255, float32, and a number for each, `[K]`, float64, and gives
such images. What comes in from outside is grey, 128.
"""

import torch
from torch import Tensor

OUTSIDE = 128.0
ONE = 65536


def sheared_x(levels: Tensor, slope: Tensor) -> Tensor:
    """Takes each pixel from `slope` times its row further right; bicubic (a = -1), rounded down."""
    width = levels.shape[3]
    y, x = centres(levels)
    at = x + slope.view(-1, 1, 1, 1) * y
    inside = (at >= 0) & (at < width)
    left = (at - 0.5).floor()
    d = at - 0.5 - left
    exact = levels.double()
    near = [
        exact.gather(3, (left.long() + k).clamp(0, width - 1).expand(-1, levels.shape[1], -1, -1)) for k in range(-1, 3)
    ]
    a, b, c, e = near
    mixed = b + d * (c - a + d * (2 * (a - b) + c - e + d * (-a + b - c + e)))
    return torch.where(inside, mixed.clamp(0, 255).trunc(), OUTSIDE).to(levels.dtype)


def sheared_y(levels: Tensor, slope: Tensor) -> Tensor:
    return sheared_x(levels.mT, slope).mT


def shifted_x(levels: Tensor, share: Tensor) -> Tensor:
    """Takes each pixel from `share` of the width further right; nearest."""
    _, x = centres(levels)
    column = (x + (share * levels.shape[3]).view(-1, 1, 1, 1)).floor().expand(-1, 1, levels.shape[2], -1)
    row = torch.arange(levels.shape[2], device=levels.device).view(-1, 1).expand_as(column)
    return taken(levels, row, column.long())


def shifted_y(levels: Tensor, share: Tensor) -> Tensor:
    return shifted_x(levels.mT, share).mT


def turned(levels: Tensor, degrees: Tensor) -> Tensor:
    """Turns counterclockwise about the centre; nearest, in 16-bit fixed point."""
    height, width = levels.shape[2:]
    angle = -torch.deg2rad(degrees).view(-1, 1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    x0 = width / 2 - cos * (width / 2) - sin * (height / 2) + cos * 0.5 + sin * 0.5
    y0 = height / 2 + sin * (width / 2) - cos * (height / 2) - sin * 0.5 + cos * 0.5
    y = torch.arange(height, device=levels.device).view(-1, 1)
    x = torch.arange(width, device=levels.device)
    column = fixed(x0) + fixed(cos) * x + fixed(sin) * y
    row = fixed(y0) - fixed(sin) * x + fixed(cos) * y
    return taken(levels, row >> 16, column >> 16)


def centres(levels: Tensor) -> tuple[Tensor, Tensor]:
    """The centres of the pixels: rows `[H, 1]`, columns `[W]`, float64."""
    y, x = (torch.arange(side, device=levels.device, dtype=torch.float64) + 0.5 for side in levels.shape[2:])
    return y.view(-1, 1), x


def fixed(value: Tensor) -> Tensor:
    return (value * ONE + 0.5).floor().long()


def taken(levels: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The levels at `row` and `column`, `[K, 1, H, W]`, int64; grey outside."""
    height, width = levels.shape[2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    index = place.flatten(2).expand(-1, levels.shape[1], -1)
    return torch.where(inside, levels.flatten(2).gather(2, index).view(levels.shape), OUTSIDE)

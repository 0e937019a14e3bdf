"""Windows of frames: pixels picked by row and column, and rectangles, for each sample its own."""

import torch
from torch import Tensor


def picked(xs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of each sample at its rows and columns, 0 beyond the border: `[T, N, C, h, w]`.

    xs: `[T, N, C, H, W]`; rows: `[N, h]`; columns: `[N, w]`; int64, on the CPU.
    """
    height, width = xs.shape[-2:]
    rows, columns = rows.to(xs.device), columns.to(xs.device)
    place = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = place.flatten(1)[None, :, None].expand(*xs.shape[:3], -1)
    found = xs.flatten(3).gather(3, index).unflatten(3, place.shape[1:])
    outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None, :]
    return found.mul_(~outside[:, None])


def filled(xs: Tensor, where: Tensor, values: Tensor) -> Tensor:
    """`values` where `where`, xs elsewhere; both finite. As sums: several times as fast as a masked fill on a CPU.

    xs: `[T, N, C, H, W]`; where: bool, values: whatever shapes broadcast to it.
    """
    mask = where.to(xs)
    return (xs * (1 - mask)).add_(mask * values)


Run = tuple[Tensor, Tensor]


def rectangles(rows: Run, columns: Run, size: tuple[int, int]) -> Tensor:
    """Which pixels of frames of `size` lie in these rows and columns: `[..., H, W]`, bool.

    rows, columns: the first and the one after the last, `[...]` each; they may lie beyond the border.
    """
    return within(rows, size[0])[..., :, None] & within(columns, size[1])[..., None, :]


def within(run: Run, side: int) -> Tensor:
    """Which of `side` places lie in a run, `[..., side]`, bool."""
    place = torch.arange(side)
    return (place >= run[0][..., None]) & (place < run[1][..., None])


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width; both the same for a single number. Raises ValueError unless they are positive."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"Expected a size of at least 1 pixel, got {size}.")
    return height, width

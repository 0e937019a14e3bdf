"""The papers' way of resizing event frames, through bytes and an alpha channel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.transforms.resizing import triangle_weights
from rheobase.transforms.transform import PixelTransform, require_channels
from rheobase.transforms.windows import pair

PRECISION = 2**22


@dataclass(frozen=True)
class TwoChannelResize(PixelTransform):
    """What becomes of event counts `[T, N, 2, H, W]` that are resized as an 8-bit image of two channels.

    The code of OTTT, SLTT, S-TLLR and rate-BP on CIFAR10-DVS does this, through torchvision and Pillow. Two defects:
    n events become the byte 255 n mod 256 (1 -> 255, 2 -> 254, 256 -> 0), so counts are nearly binary and slightly
    inverted; and the image is taken for grey with alpha, so channel 0 is multiplied by channel 1 before and divided
    by it after: events of channel 0 survive only near events of channel 1. `Resize` does neither.

    size: one number, or height and width, pixels. Frames that have it already only become bytes.

    The arithmetic is Pillow's, to the last bit: whole numbers, computed in float64. Values of the result: k / 255.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        pair(self.size)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        require_channels(xs, 2, "TwoChannelResize")
        # a frame at a time: float64 is much memory
        return (
            torch.stack([self.resized((frame * 255).long().bitwise_and_(255).int()).to(xs.dtype) for frame in xs]) / 255
        )

    def resized(self, levels: Tensor) -> Tensor:
        """Bytes `[N, 2, H, W]`, int32, in the new size."""
        size = pair(self.size)
        if tuple(levels.shape[2:]) == size:
            return levels
        grey, alpha = levels.unbind(1)
        product = grey * alpha + 128
        premultiplied = (product + (product >> 8)) >> 8
        both = torch.stack([premultiplied, alpha], 1)
        across = filtered(both, size[1])
        grey, alpha = filtered(across.mT, size[0]).mT.unbind(1)
        # where alpha is 0 grey is 0 too: each of its pixels is at most alpha's
        divided = (255 * grey).div(alpha.clamp(min=1), rounding_mode="floor").clamp(max=255)
        return torch.stack([divided, alpha], 1)


def filtered(levels: Tensor, width: int) -> Tensor:
    """Bytes `[..., W]` filtered to `[..., width]` with weights of 22 bits, rounded."""
    weights = (triangle_weights(levels.shape[-1], width) * PRECISION + 0.5).floor().to(levels.device)
    sums = levels.to(torch.float64) @ weights.T + PRECISION // 2
    return (sums / PRECISION).floor().clamp(0, 255).int()

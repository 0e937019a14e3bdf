"""Operations on the colours of images, with the arithmetic of 8-bit images.

Each takes images `[K, 3, H, W]` of whole levels 0 .. 255, float32, and a number for each, `[K]`, float64, and gives
such images, to the bit what Pillow gives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def inverted(levels: Tensor, _: Tensor) -> Tensor:
    return 255 - levels


def solarised(levels: Tensor, threshold: Tensor) -> Tensor:
    """Inverts levels that are not below the threshold."""
    return torch.where(levels < threshold.view(-1, 1, 1, 1), levels, 255 - levels)


def posterised(levels: Tensor, bits: Tensor) -> Tensor:
    """Keeps the upper bits."""
    step = (2 ** (8 - bits)).to(levels.dtype).view(-1, 1, 1, 1)
    return (levels / step).floor() * step


def autocontrasted(levels: Tensor, _: Tensor) -> Tensor:
    """Stretches each channel to 0 .. 255."""
    exact = levels.double()
    low, high = exact.amin((2, 3), keepdim=True), exact.amax((2, 3), keepdim=True)
    # 255 / x would be 255 * (1 / x) on tensors, which rounds twice
    scale = torch.full_like(low, 255) / (high - low)
    stretched = (exact * scale - low * scale).trunc().clamp(0, 255).to(levels.dtype)
    return torch.where(high > low, stretched, levels)


def equalised(levels: Tensor, _: Tensor) -> Tensor:
    """Makes the levels of each channel as evenly frequent as a map of levels can."""
    index = levels.flatten(2).long()
    planes = index.shape[0] * index.shape[1]
    first = 256 * torch.arange(planes, device=levels.device).view(*index.shape[:2], 1)
    counts = torch.bincount((index + first).flatten(), minlength=256 * planes).view(*index.shape[:2], 256)
    last = counts.gather(2, index.amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - last) // 255
    before = counts.cumsum(2) - counts
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=levels.device))
    return table.gather(2, index).view(levels.shape).to(levels.dtype)


def brightened(levels: Tensor, change: Tensor) -> Tensor:
    return blended(torch.zeros_like(levels), levels, change)


def contrasted(levels: Tensor, change: Tensor) -> Tensor:
    """Away from the image's mean grey, or towards it."""
    mean = (grey(levels).double().mean((1, 2, 3), keepdim=True) + 0.5).floor()
    return blended(mean.to(levels.dtype), levels, change)


def coloured(levels: Tensor, change: Tensor) -> Tensor:
    """Away from grey, or towards it."""
    return blended(grey(levels), levels, change)


def sharpened(levels: Tensor, change: Tensor) -> Tensor:
    """Away from the smoothed image, or towards it; the outermost pixels stay."""
    smooth = levels.clone()
    if min(levels.shape[2:]) >= 3:
        kernel = levels.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).expand(3, 1, 3, 3)
        smooth[:, :, 1:-1, 1:-1] = (F.conv2d(levels, kernel, groups=3) / 13 + 0.5).floor()
    return blended(smooth, levels, change)


def grey(levels: Tensor) -> Tensor:
    """ITU-R 601 luma, `[K, 1, H, W]`, in Pillow's fixed point; its sums stay below 2^24, so float32 is exact."""
    weights = levels.new_tensor([19595, 38470, 7471]).view(3, 1, 1)
    return (((levels * weights).sum(1, keepdim=True) + 32768) / 65536).floor()


def blended(plain: Tensor, levels: Tensor, change: Tensor) -> Tensor:
    """`plain` at change -1, the image at 0, beyond it above; rounded down, in float32 as Pillow."""
    factor = (1 + change).to(levels.dtype).view(-1, 1, 1, 1)
    return (plain + factor * (levels - plain)).clamp(0, 255).trunc()

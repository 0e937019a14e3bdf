"""How much each pixel counts in a frame of another size: one matrix an axis."""

import torch
from torch import Tensor


def area_weights(source: int, target: int) -> Tensor:
    """The share of each source pixel in each target pixel: `[target, source]`, float64, rows sum to 1."""
    edges = torch.arange(target + 1, dtype=torch.float64) * source / target
    pixel = torch.arange(source, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    return covered.clamp(min=0) * target / source


def triangle_weights(source: int, target: int) -> Tensor:
    """Bilinear weights `[target, source]`, float64, rows sum to 1.

    The triangle is as wide as two target pixels where the frame shrinks, so that no source pixel is passed over
    (antialiasing, as in Pillow); else as two source pixels.
    """
    step = source / target
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * step
    distance = (torch.arange(source) - centre[:, None] + 0.5).abs() * (1 / max(step, 1.0))
    weights = (1 - distance).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)

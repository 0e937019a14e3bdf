"""Optical flow: losses that need two grey images and no truth, and the error where the truth is known.

A flow `[N, 2, H, W]` says how far each pixel moves along x, then along y, in pixels, from one image until the next.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-3
ALPHA = 0.45


def charbonnier(difference: Tensor) -> Tensor:
    """(d^2 + e^2)^a - e^(2 a), e = 0.001, a = 0.45: as |d|^0.9 but smooth; 0 at 0, unlike EV-FlowNet's."""
    return (difference.square() + EPSILON**2).pow(ALPHA) - EPSILON ** (2 * ALPHA)


def warped(images: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """`images` `[N, C, H, W]` looked at where the flow leads: `[N, C, H, W]`; and where that is inside, `[N, 1, H, W]`.

    The result at (y, x) is the image at (y + flow along y, x + flow along x), linearly interpolated.
    """
    _require_flow(flow, images.shape)
    height, width = images.shape[2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    x, y = flow[:, 0] + columns, flow[:, 1] + rows
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], dim=-1)
    seen = F.grid_sample(images.to(flow.dtype), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return seen, inside.unsqueeze(1)


def photometric(flow: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """How much `after`, looked at where the flow leads, differs from `before`; `[N, 1, H, W]` each, in [0, 1].

    The mean of `charbonnier` over the pixels that stay inside; 0 where none does. EV-FlowNet (Zhu et al., RSS 2018),
    eq. (3), at one scale; there pixels that leave the image count as black.
    """
    if before.shape != after.shape:
        raise ValueError(f"Expected images of one shape, got {list(before.shape)} and {list(after.shape)}.")
    seen, inside = warped(after, flow)
    difference = charbonnier(seen - before.to(flow.dtype)) * inside
    return difference.sum() / (inside.sum() * before.shape[1]).clamp(min=1)


def smoothness(flow: Tensor) -> Tensor:
    """How much the flow differs between neighbours: the mean of `charbonnier` over pairs, of four directions.

    EV-FlowNet, eq. (5). 0 for a flow that is the same everywhere.
    """
    pairs = (
        (flow[..., 1:, :], flow[..., :-1, :]),
        (flow[..., 1:], flow[..., :-1]),
        (flow[..., 1:, 1:], flow[..., :-1, :-1]),
        (flow[..., :-1, 1:], flow[..., 1:, :-1]),
    )
    return torch.stack([charbonnier(one - other).mean() for one, other in pairs]).mean()


@dataclass(frozen=True)
class SelfSupervisedFlow:
    """photometric + weight * smoothness, of one step's flow `[N, 2, H, W]` and targets `[N, 5, H, W]`.

    Of a target's channels the first two count: the grey images before and after.

    weight: of the smoothness; 0.5 in EV-FlowNet's code. (Spike-FlowNet sums the photometric part over pixels and adds
        10 times a mean of second differences; S-TLLR does not print its weights.)
    """

    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"Expected a weight of at least 0, got {self.weight}.")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        if target.dim() != 4 or target.shape[1] < 2:
            raise ValueError(
                f"Expected targets [N, 5, H, W] that begin with two grey images, got shape {list(target.shape)}."
            )
        return photometric(output, target[:, :1], target[:, 1:2]) + self.weight * smoothness(output)


def average_endpoint_error(flow: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The mean length of flow - truth, pixels, where `mask` is not 0 (AEE).

    flow, truth: `[N, 2, H, W]`; mask: `[N, H, W]`, where the truth is known and, in the papers, events were seen.

    Over all pixels of the batch alike; the papers take the mean over images, which is that of batches of 1.

    Raises ValueError where the mask is 0 everywhere.
    """
    _require_flow(flow, truth.shape)
    if mask.shape != (flow.shape[0], *flow.shape[2:]):
        raise ValueError(f"Expected a mask [N, H, W] for flows {list(flow.shape)}, got shape {list(mask.shape)}.")
    known = mask != 0
    if not known.any():
        raise ValueError("Expected a pixel of which the flow is known, got a mask of zeros.")
    # a norm over chosen pixels alone: the truth may be no number elsewhere
    return torch.linalg.vector_norm((flow - truth).movedim(1, -1)[known], dim=-1).mean()


def _require_flow(flow: Tensor, shape: torch.Size) -> None:
    expected = (shape[0], 2, *shape[2:])
    if len(shape) != 4 or flow.shape != expected:
        raise ValueError(f"Expected a flow [N, 2, H, W] = {list(expected)}, got shape {list(flow.shape)}.")

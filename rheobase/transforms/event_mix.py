"""Two recordings in one, and of which there is how much."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rheobase.transforms.draws import chance, integers, require_at_least, require_probability, uniform
from rheobase.transforms.transform import require_sequences
from rheobase.transforms.windows import filled

MOST = 4


@dataclass(frozen=True)
class EventMix:
    """Replaces a blob in space and time by what another sample of the batch has there; targets become probabilities.

    The blob is the share s ~ U(0, 1) of the pixels and steps where a mixture of 2 to 4 random Gaussians is densest.
    The partner's weight in the target is r' / (r' + 1 - r), where r and r' are the shares of their own events that the
    sample and the partner have in the blob; s where one of them has no events.

    classes: of the targets, `[N]` class numbers or `[N, classes]` probabilities.
    p: probability that a sample is mixed.

    The partner may be the sample itself. The authors' code can also add salt-and-pepper noise, and the paper can weigh
    by the distance of the smoothed frames instead; neither is here. A static sequence does not stay a view. Losses have
    to take probabilities.

    Paper: Shen et al. 2023, Information Sciences 644, arXiv:2205.12054; the ranges are those of the authors' code.
    """

    classes: int
    p: float = 1.0

    def __post_init__(self) -> None:
        require_at_least("classes", self.classes, 1)
        require_probability("p", self.p)

    def __call__(self, xs: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        require_sequences(xs, "EventMix")
        if xs.min() < 0:
            raise ValueError("EventMix expects event counts, got values below 0: put it before Normalise.")
        own = self.probabilities(target, xs)
        steps, samples, _, height, width = xs.shape
        mixed = chance(self.p, samples, generator)
        partner = integers(0, samples - 1, (samples,), generator).to(xs.device)
        share = uniform(0, 1, (samples,), generator)
        blob = blobs((steps, height, width), share, generator, xs.device) & mixed.view(1, -1, 1, 1).to(xs.device)
        other = xs[:, partner]
        share = blob.double().mean((0, 2, 3))
        weight = partner_weight(inside(xs, blob, share), inside(other, blob, share), share)
        weight = weight.to(own.dtype)[:, None]
        return filled(xs, blob[:, :, None], other), (1 - weight) * own + weight * own[partner]

    def probabilities(self, target: Tensor, xs: Tensor) -> Tensor:
        """`[N, classes]`, of xs's dtype."""
        if target.is_floating_point():
            if target.shape != (xs.shape[1], self.classes):
                raise ValueError(f"Expected targets [{xs.shape[1]}, {self.classes}], got {list(target.shape)}.")
            return target.to(xs.dtype)
        if target.shape != xs.shape[1:2] or not 0 <= int(target.min()) <= int(target.max()) < self.classes:
            raise ValueError(
                f"Expected {xs.shape[1]} targets in 0 .. {self.classes - 1}, got {list(target.shape)}, from "
                f"{int(target.min())} to {int(target.max())}."
            )
        return F.one_hot(target, self.classes).to(xs.dtype)


def blobs(grid: tuple[int, int, int], share: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    """Where mixtures of Gaussians are densest, in that share, `[N]`, of a grid T, H, W: `[T, N, H, W]`, bool.

    A component stands on a random point of the grid with a spread of half of each side times U(0, 1), 0.1 at least.
    """
    samples = len(share)
    components = integers(2, MOST, (samples, 1), generator) > torch.arange(MOST)
    height = uniform(0, 1, (samples, MOST), generator) * components
    bumps = []
    for side in grid:
        centre = integers(0, side - 1, (samples, MOST, 1), generator)
        spread = uniform(0, 1, (samples, MOST, 1), generator).clamp(min=0.1) * side / 2
        bumps.append((-(((torch.arange(side) - centre) / spread) ** 2) / 2).exp().to(device))
    over_time, down, across = bumps
    planes = (down[:, :, :, None] * across[:, :, None]).flatten(2)
    density = ((height.to(device)[:, :, None] * over_time).mT @ planes).flatten(1)
    return densest(density, share).view(samples, *grid).transpose(0, 1)


def densest(density: Tensor, share: Tensor) -> Tensor:
    """The places of highest density in each row `[N, places]`, in its share, `[N]`; a few more where some are equal."""
    places = density.shape[1]
    least = []
    # selecting row by row takes a fifth of the time of sorting them together
    for row, part in zip(density, share.tolist(), strict=True):
        count = round(part * places)
        least.append(row.kthvalue(places + 1 - count).values if count else row.new_tensor(torch.inf))
    return density >= torch.stack(least)[:, None]


def inside(xs: Tensor, blob: Tensor, otherwise: Tensor) -> Tensor:
    """The share of each sample's events that lies in its blob, `[N]`, float64; `otherwise` where it has none."""
    total = xs.sum((2, 3, 4)).double().sum(0)
    there = (xs.sum(2) * blob).sum((2, 3)).double().sum(0)
    return torch.where(total > 0, (there / total).clamp(max=1), otherwise)


def partner_weight(own: Tensor, other: Tensor, otherwise: Tensor) -> Tensor:
    """r' / (r' + 1 - r); `otherwise` where nothing of either is left."""
    whole = other + (1 - own)
    return torch.where(whole > 0, other / whole, otherwise)

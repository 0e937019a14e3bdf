"""AutoAugment: pairs of image operations that a search found to help."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rheobase.names import choose
from rheobase.transforms import image_levels as colour
from rheobase.transforms import image_warps as warp
from rheobase.transforms.draws import integers
from rheobase.transforms.policies import POLICIES, Policy
from rheobase.transforms.transform import PixelTransform, require_channels


@dataclass(frozen=True)
class Operation:
    """An operation and what its levels 0 .. 9 mean.

    change: of images `[K, 3, H, W]` of levels 0 .. 255, with a strength for each, `[K]`.
    weakest, strongest: the strength at level 0 and at level 9.
    both_ways: the strength's sign is drawn.
    whole: the strength is rounded.
    """

    change: Callable[[Tensor, Tensor], Tensor]
    weakest: float = 0.0
    strongest: float = 0.0
    both_ways: bool = False
    whole: bool = False

    def strength(self, level: int) -> float:
        step = (self.strongest - self.weakest) / 9
        strength = self.strongest if level == 9 else self.weakest + level * step
        return float(round(strength)) if self.whole else strength


OPERATIONS = {
    "shear x": Operation(warp.sheared_x, 0, 0.3, both_ways=True),
    "shear y": Operation(warp.sheared_y, 0, 0.3, both_ways=True),
    "translate x": Operation(warp.shifted_x, 0, 150 / 331, both_ways=True),
    "translate y": Operation(warp.shifted_y, 0, 150 / 331, both_ways=True),
    "rotate": Operation(warp.turned, 0, 30, both_ways=True),
    "rotate left": Operation(warp.turned, 0, 30),
    "color": Operation(colour.coloured, 0, 0.9, both_ways=True),
    "contrast": Operation(colour.contrasted, 0, 0.9, both_ways=True),
    "brightness": Operation(colour.brightened, 0, 0.9, both_ways=True),
    "sharpness": Operation(colour.sharpened, 0, 0.9, both_ways=True),
    "posterize": Operation(colour.posterised, 8, 4, whole=True),
    "solarize": Operation(colour.solarised, 256, 0),
    "autocontrast": Operation(colour.autocontrasted),
    "equalize": Operation(colour.equalised),
    "invert": Operation(colour.inverted),
}


@dataclass(frozen=True)
class AutoAugment(PixelTransform):
    """One of 25 pairs of image operations, each done or left out by chance, for images `[T, N, 3, H, W]` in [0, 1].

    policy: "cifar10", the paper's table, also used for CIFAR-100; "rate-bp", the table in rate-BP's code, where the
        only rotation goes left alone and one probability differs (0.8 for 0.6 of the second equalize of pair 17).

    Images are taken as bytes, rounded; what an operation makes of them equals what Pillow makes of them. Operations
    that look at the image (equalize, autocontrast, contrast) look at each frame. Levels mean what rate-BP's code and
    other code on Pillow take them for: "translate" reaches 150 / 331 of a side, 14.5 pixels of 32, where the search's
    own code for CIFAR stops at 10.

    Paper: Cubuk et al. 2019, arXiv:1805.09501.
    """

    policy: str = "cifar10"

    def __post_init__(self) -> None:
        choose("AutoAugment policy", self.policy, POLICIES)

    def changed(self, xs: Tensor, generator: torch.Generator) -> Tensor:
        require_channels(xs, 3, "AutoAugment")
        low, high = (float(bound) for bound in xs.aminmax())
        if low < 0 or high > 1:
            raise ValueError(
                f"AutoAugment expects images in [0, 1], got values from {low:g} to {high:g}: put it after "
                "Scale(1 / 255) and before Normalise."
            )
        levels = (xs * 255).round().to(torch.float32)
        names, strengths = drawn(POLICIES[self.policy], xs.shape[1], generator)
        for place in (0, 1):
            for name, operation in OPERATIONS.items():
                chosen = [n for n, given in enumerate(names[place]) if given == name]
                if chosen:
                    strength = strengths[place, chosen].to(xs.device).repeat(len(xs))
                    result = operation.change(levels[:, chosen].flatten(0, 1), strength)
                    levels[:, chosen] = result.unflatten(0, (len(xs), -1))
        touched = [n for n, pair in enumerate(zip(*names, strict=True)) if any(pair)]
        result = xs.clone()
        result[:, touched] = levels[:, touched].to(xs.dtype) / 255
        return result


def drawn(policy: Policy, samples: int, generator: torch.Generator) -> tuple[list[list[str]], Tensor]:
    """For each place in a pair, each sample's operation ("" for none); and their strengths, `[2, N]`, float64."""
    which = integers(0, len(policy) - 1, (samples,), generator).tolist()
    dice = torch.rand(2, samples, generator=generator).tolist()
    signs = (2 * integers(0, 1, (2, samples), generator) - 1).tolist()
    names: list[list[str]] = [[], []]
    strengths = torch.zeros(2, samples, dtype=torch.float64)
    for n, pair in enumerate(which):
        for place, (name, p, level) in enumerate(policy[pair]):
            names[place].append(name if dice[place][n] < p else "")
            strengths[place, n] = OPERATIONS[name].strength(level) * (
                signs[place][n] if OPERATIONS[name].both_ways else 1
            )
    return names, strengths

"""The surrogate derivatives of other libraries, where the library's own cannot say them."""

import ast
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rheobase.surrogates import SURROGATES, Surrogate, surrogate_named


@dataclass(frozen=True)
class Above(Surrogate):
    """The slope of `inner`; a neuron spikes above its threshold, not at it (snnTorch, Norse)."""

    inner: Surrogate

    def __call__(self, distance: Tensor) -> Tensor:
        return self.inner(distance)

    def spikes(self, distance: Tensor) -> Tensor:
        return (distance > 0).to(distance.dtype)


@dataclass(frozen=True)
class Scaled(Surrogate):
    """slope = factor * inner(distance)."""

    inner: Surrogate
    factor: float

    def __call__(self, distance: Tensor) -> Tensor:
        return self.factor * self.inner(distance)


@dataclass(frozen=True)
class Beyond(Surrogate):
    """slope = inner(distance) where distance > start, else 0."""

    inner: Surrogate
    start: float

    def __call__(self, distance: Tensor) -> Tensor:
        return self.inner(distance) * (distance > self.start).to(distance.dtype)


@dataclass(frozen=True)
class Exponential(Surrogate):
    """slope = height exp(-rate |distance - centre|)."""

    height: float
    rate: float
    centre: float = 0.0

    def __call__(self, distance: Tensor) -> Tensor:
        return self.height * (-self.rate * (distance - self.centre).abs()).exp()


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """slope = height exp(-(rate distance)^2)."""

    height: float
    rate: float

    def __call__(self, distance: Tensor) -> Tensor:
        return self.height * (-((self.rate * distance) ** 2)).exp()


@dataclass(frozen=True)
class Power(Surrogate):
    """slope = height (1 + rate |distance|)^-exponent."""

    height: float
    rate: float
    exponent: float

    def __call__(self, distance: Tensor) -> Tensor:
        return self.height * (1 + self.rate * distance.abs()) ** -self.exponent


@dataclass(frozen=True)
class Circle(Surrogate):
    """slope = (1 + (distance / width)^2)^(-3/2)."""

    width: float

    def __call__(self, distance: Tensor) -> Tensor:
        return (1 + (distance / self.width) ** 2) ** -1.5


@dataclass(frozen=True)
class Window(Surrogate):
    """slope = inside where |distance| < half_width, else outside."""

    half_width: float
    inside: float
    outside: float = 0.0

    def __call__(self, distance: Tensor) -> Tensor:
        within = (distance.abs() < self.half_width).to(distance.dtype)
        return self.outside + (self.inside - self.outside) * within


@dataclass(frozen=True)
class Sides(Surrogate):
    """slope = below where distance < 0, at_zero at 0, above where distance > 0."""

    below: float
    at_zero: float
    above: float

    def __call__(self, distance: Tensor) -> Tensor:
        below, above = (distance < 0).to(distance.dtype), (distance > 0).to(distance.dtype)
        return self.at_zero + (self.below - self.at_zero) * below + (self.above - self.at_zero) * above


@dataclass(frozen=True)
class LogTail(Surrogate):
    """slope = below where distance <= 0, 1 up to distance 1, then 1 / distance (SpikingJelly's LogTailedReLU)."""

    below: float

    def __call__(self, distance: Tensor) -> Tensor:
        return torch.where(distance > 0, 1 / distance.clamp(min=1), self.below)


@dataclass(frozen=True)
class SigmoidThenReciprocal(Surrogate):
    """slope = alpha z (1 - z), z = sigmoid(alpha distance), below 0; beta / (1 + distance) above (S2NN)."""

    alpha: float
    beta: float

    def __call__(self, distance: Tensor) -> Tensor:
        z = torch.sigmoid(self.alpha * distance)
        return torch.where(distance < 0, self.alpha * z * (1 - z), self.beta / (1 + distance))


@dataclass(frozen=True)
class CappedReciprocal(Surrogate):
    """slope = min(1 / |distance|, cap) (SpikingJelly's FakeNumericalGradient)."""

    cap: float

    def __call__(self, distance: Tensor) -> Tensor:
        return (1 / distance.abs()).clamp(max=self.cap)


@dataclass(frozen=True)
class CosineSeries(Surrogate):
    """slope = (4 / period) sum over i < terms of cos((2 i - 1) 2 pi distance / period), i from 1 on."""

    terms: int
    period: float

    def __call__(self, distance: Tensor) -> Tensor:
        phase = 2 * math.pi / self.period * distance
        waves = [torch.cos((2 * i - 1) * phase) for i in range(1, self.terms)]
        return 4 / self.period * torch.stack(waves).sum(0)


_KINDS: tuple[type[Surrogate], ...] = (
    *SURROGATES.values(), Above, Scaled, Beyond, Exponential, Gaussian, Power, Circle, Window, Sides, LogTail,
    SigmoidThenReciprocal, CappedReciprocal, CosineSeries,
)  # fmt: skip


def described(text: str) -> Surrogate:
    """The surrogate that `text` describes: by its name and options, or as `repr` has it.

    Raises ValueError for an unknown one.
    """
    try:
        return surrogate_named(text)
    except ValueError:
        pass
    try:
        found = _made(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, KeyError) as error:
        raise ValueError(f"Cannot read surrogate {text!r}.") from error
    if not isinstance(found, Surrogate):
        raise ValueError(f"Expected a surrogate, got {text!r}.")
    return found


def _made(node: ast.expr) -> Any:
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    kind = {kind.__name__: kind for kind in _KINDS}[ast.unparse(node.func)]
    return kind(**{str(word.arg): _made(word.value) for word in node.keywords})

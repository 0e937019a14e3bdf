"""Spikes with a surrogate derivative."""

import ast
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rheobase.dual import Dual
from rheobase.names import choose


class Surrogate(ABC):
    """A stand-in for the derivative of the step function.

    `distance` is potential - threshold, of any shape; `surrogate(distance)`, the slope, has its shape.
    """

    @abstractmethod
    def __call__(self, distance: Tensor) -> Tensor:
        """The derivative d spikes / d potential that training uses."""

    def spikes(self, distance: Tensor) -> Tensor:
        """1 where the threshold is reached, else 0, in the dtype of `distance`."""
        return (distance >= 0).to(distance.dtype)


def _positive(surrogate: Surrogate, **values: float) -> None:
    for name, value in values.items():
        if not value > 0 or not math.isfinite(value):
            raise ValueError(f"{type(surrogate).__name__} expects {name} > 0, got {value}.")


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """slope = alpha z (1 - z), z = sigmoid(alpha distance). Area 1; peak alpha / 4."""

    alpha: float = 4.0

    def __post_init__(self) -> None:
        _positive(self, alpha=self.alpha)

    def __call__(self, distance: Tensor) -> Tensor:
        z = torch.sigmoid(self.alpha * distance)
        return self.alpha * z * (1 - z)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """slope = height max(0, 1 - |distance| / width). `height` None means 1 / width, which gives area 1."""

    width: float = 1.0
    height: float | None = None

    def __post_init__(self) -> None:
        _positive(self, width=self.width, height=1.0 if self.height is None else self.height)

    def __call__(self, distance: Tensor) -> Tensor:
        height = 1 / self.width if self.height is None else self.height
        return height * (1 - distance.abs() / self.width).clamp(min=0)


@dataclass(frozen=True)
class Rectangle(Surrogate):
    """slope = 1 / width where |distance| <= width / 2, else 0. Area 1."""

    width: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, width=self.width)

    def __call__(self, distance: Tensor) -> Tensor:
        return (distance.abs() <= self.width / 2).to(distance.dtype) / self.width


@dataclass(frozen=True)
class ATan(Surrogate):
    """slope = (alpha / 2) / (1 + (pi alpha distance / 2)^2). Area 1; peak alpha / 2."""

    alpha: float = 2.0

    def __post_init__(self) -> None:
        _positive(self, alpha=self.alpha)

    def __call__(self, distance: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * distance) ** 2)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """slope = 1 / (1 + slope |distance|)^2. Area 2 / slope.

    S-TLLR uses 100 on SHD; snnTorch's default is 25.
    """

    slope: float = 25.0

    def __post_init__(self) -> None:
        _positive(self, slope=self.slope)

    def __call__(self, distance: Tensor) -> Tensor:
        return (1 + self.slope * distance.abs()) ** -2


@dataclass(frozen=True)
class InverseQuadratic(Surrogate):
    """slope = 1 / (1 + (slope distance)^2). Area pi / slope. S-TLLR uses 10 on optical flow."""

    slope: float = 10.0

    def __post_init__(self) -> None:
        _positive(self, slope=self.slope)

    def __call__(self, distance: Tensor) -> Tensor:
        return 1 / (1 + (self.slope * distance) ** 2)


SURROGATES: dict[str, type[Surrogate]] = {
    "sigmoid": Sigmoid,
    "triangle": Triangle,
    "rectangle": Rectangle,
    "atan": ATan,
    "fast_sigmoid": FastSigmoid,
    "inverse_quadratic": InverseQuadratic,
}


def surrogate_named(text: str) -> Surrogate:
    """The surrogate that `text` describes: "triangle", "triangle(width=0.5)", or as it prints, "Triangle(width=0.5)".

    Raises ValueError for an unknown name or option, naming the known ones.
    """
    name, _, options = text.strip().partition("(")
    by_class = {kind.__name__: known for known, kind in SURROGATES.items()}
    name = by_class.get(name.strip(), name.strip())
    kind = choose("surrogate", name, SURROGATES)
    try:
        call = ast.parse(f"f({options.rstrip().removesuffix(')')})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise TypeError(text)
        values: dict[str, Any] = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
        return kind(**values)
    except (SyntaxError, TypeError) as error:
        known = ", ".join(f.name for f in fields(kind))  # type: ignore[arg-type]
        raise ValueError(f"Cannot read surrogate {text!r}: write {name}({known}=number).") from error


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.save_for_forward(distance)
        ctx.surrogate = surrogate
        return surrogate.spikes(distance)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate(distance), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return tangents[0] * ctx.surrogate(distance)


def spike(distance: Tensor, surrogate: Surrogate) -> Tensor:
    """`surrogate.spikes(distance)`, whose derivative, forward and backward, is `surrogate(distance)`."""
    if isinstance(distance, Dual):
        return Dual(surrogate.spikes(distance.value), distance.change * surrogate(distance.value))
    return _Spike.apply(distance, surrogate)  # type: ignore[no-any-return]

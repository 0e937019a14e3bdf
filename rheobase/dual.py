"""Dual numbers: a value and its change, through the arithmetic that neurons are made of."""

from typing import Any, Never

import torch
from torch import Tensor

Change = Tensor | float  # shaped like the value, or one number for all of it

# What a function of tensors may raise at something else: it does more than arithmetic.
NOT_ARITHMETIC = (
    TypeError, AttributeError, ValueError, AssertionError, RuntimeError, LookupError, ArithmeticError,
)  # fmt: skip


class Dual:
    """value + epsilon * change; under `no_grad` the change is 0.

    A change that is the same everywhere stays a number, so it costs nothing: the sensitivity of a soft-reset neuron
    with detached reset, for instance. What is not arithmetic, a comparison too, raises one of `NOT_ARITHMETIC`.
    """

    def __init__(self, value: Tensor, change: Change) -> None:
        self.value, self.change = value, change if torch.is_grad_enabled() else 0.0

    def detach(self) -> "Dual":
        return Dual(self.value.detach(), 0.0)

    def __neg__(self) -> "Dual":
        return Dual(-self.value, -self.change)

    def __add__(self, other: "Dual | Change") -> "Dual":
        if isinstance(other, Dual):
            return Dual(self.value + other.value, _sum(self.change, other.change))
        return Dual(self.value + other, self.change)

    def __sub__(self, other: "Dual | Change") -> "Dual":
        if isinstance(other, Dual):
            return Dual(self.value - other.value, _sum(self.change, -other.change))
        return Dual(self.value - other, self.change)

    def __rsub__(self, other: Change) -> "Dual":
        return Dual(other - self.value, -self.change)

    def __mul__(self, other: "Dual | Change") -> "Dual":
        if isinstance(other, Dual):
            changes = _product(self.change, other.value), _product(other.change, self.value)
            return Dual(self.value * other.value, _sum(*changes))
        return Dual(self.value * other, _product(self.change, other))

    def __truediv__(self, other: Change) -> "Dual":
        return Dual(self.value / other, _product(self.change, 1 / other))

    __radd__, __rmul__ = __add__, __mul__

    def _refuse(self, *_: object) -> Never:
        raise TypeError("A dual number is not compared.")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def _is_zero(change: Any) -> bool:
    return isinstance(change, float) and change == 0.0


def _sum(a: Change, b: Change) -> Change:
    if _is_zero(a) or _is_zero(b):
        return a if _is_zero(b) else b
    return a + b


def _product(change: Change, factor: Change) -> Change:
    return 0.0 if _is_zero(change) else change * factor

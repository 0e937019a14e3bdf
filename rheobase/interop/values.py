"""What a tensor is, as a sum of what nodes of a graph give out, and the arithmetic that keeps to that form."""

from typing import Any

from torch import Tensor

Value = dict[str, float]  # the nodes whose outputs are added up, each times its factor
SUMS = ("add", "radd", "iadd", "sub", "rsub", "isub")
FACTORS = ("mul", "rmul", "imul", "div", "truediv", "itruediv")


def value_of(x: Any) -> Value:
    """What x is made of; empty for what does not depend on the model's input."""
    return getattr(x, "_rheobase_value", {})


def marked(x: Tensor, value: Value) -> Tensor:
    """x, known to be this value until it changes."""
    x._rheobase_value, x._rheobase_version = value, x._version  # type: ignore[attr-defined]
    return x


def has_changed(x: Any) -> bool:
    """Whether x was written to, itself or through a view of it, since it was marked."""
    return bool(value_of(x)) and x._rheobase_version != x._version


def scaled(value: Value, factor: float) -> Value:
    return {name: factor * each for name, each in value.items()}


def added(first: Value, second: Value) -> Value:
    """The sum, in the order in which adding it up from the left rounds as the model does, where there is one."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    total = dict(longer)
    for name, factor in shorter.items():
        total[name] = total.get(name, 0.0) + factor
    return total


def summed(name: str, args: tuple[Any, ...], values: list[Value], y: Tensor) -> Tensor | None:
    """y with its value, where it is the sum or difference of two values, or of one and Python's first 0; else None.

    values: of the tensors among args before the call.
    """
    if any(not isinstance(x, Tensor) and x == 0 for x in args) and "sub" not in name:
        return marked(y, values[0])
    if len(values) != 2 or not all(values) or any(x.shape != y.shape for x in args):
        return None
    first, second = values[::-1] if name == "rsub" else values
    return marked(y, added(first, scaled(second, -1.0) if "sub" in name else second))


def multiplied(name: str, args: tuple[Any, ...], values: list[Value], y: Tensor) -> Tensor | None:
    """y with its value, where it is a value times or over one number; else None."""
    before = iter(values)
    first, second = (next(before) if isinstance(x, Tensor) else {} for x in args)
    x, factor = args if first else args[::-1]
    if (first and second) or x.shape != y.shape or (isinstance(factor, Tensor) and factor.numel() != 1):
        return None
    if "div" in name and not first:
        return None
    number = float(factor)
    return marked(y, scaled(first or second, 1 / number if "div" in name else number))

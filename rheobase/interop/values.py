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
    """x, known to be this value from now on."""
    x._rheobase_value = value  # type: ignore[attr-defined]
    return x


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


def multiplied(name: str, args: tuple[Any, ...], y: Tensor) -> Tensor | None:
    """y with its value, where it is a value times or over one number; else None."""
    x, factor = args if value_of(args[0]) else args[::-1]
    if value_of(factor) or (isinstance(factor, Tensor) and factor.numel() != 1):
        return None
    if "div" in name and x is not args[0]:
        return None
    number = float(factor)
    return marked(y, scaled(value_of(x), 1 / number if "div" in name else number))

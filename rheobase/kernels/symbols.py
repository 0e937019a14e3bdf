"""Numbers that are not known yet: `dynamics` on them gives its formula."""

from collections.abc import Callable, Iterable
from typing import Any, Union

import torch

Number = Union["Symbol", float]

# What torch and its tensors call, and how C says it.
_FUNCTIONS = {
    "sigmoid": "1 / (1 + EXP(-{0}))",
    "exp": "EXP({0})",
    "tanh": "TANH({0})",
    "abs": "FABS({0})",
    "sqrt": "SQRT({0})",
    "square": "{0} * {0}",
    "reciprocal": "1 / {0}",
    "relu": "{0} <= 0 ? 0 : {0}",
    "neg": "-{0}",
}


class Formula:
    """Expressions in the order in which they can be computed, each once, and the constants in them."""

    def __init__(self, constants: list[float]) -> None:
        self.lines: list[tuple[str, frozenset[str]]] = []  # C, and the leaves that it depends on
        self.constants = constants  # by value, so that formulas which differ in them alone share their code
        self._known: dict[str, Symbol] = {}

    def leaf(self, name: str) -> "Symbol":
        return Symbol(self, name, frozenset([name]))

    def symbol(self, pattern: str, *operands: Number) -> "Symbol":
        """`pattern`, with {0}, {1}, ... standing for the operands."""
        code = pattern.format(*(self.name(operand) for operand in operands))
        if code not in self._known:
            depends = frozenset[str]().union(*(o.depends for o in operands if isinstance(o, Symbol)))
            name = f"e{len(self.lines)}"
            self.lines.append((f"const real {name} = {code};", depends))
            self._known[code] = Symbol(self, name, depends)
        return self._known[code]

    def name(self, number: Any) -> str:
        """The C name of a symbol or a constant."""
        if isinstance(number, Symbol):
            return number.name
        if type(number) not in (int, float, bool):
            raise TypeError(f"A formula holds numbers, not {type(number).__name__}.")
        if float(number) not in self.constants:
            self.constants.append(float(number))
        return f"k{self.constants.index(float(number))}"


class Symbol:
    """One neuron's number. Anything but pointwise arithmetic with gradients raises TypeError or AttributeError.

    depends: the leaves that it is made of.
    """

    def __init__(self, formula: Formula, name: str, depends: frozenset[str]) -> None:
        self.formula, self.name, self.depends = formula, name, depends

    @property
    def dtype(self) -> type:
        return Symbol

    def to(self, dtype: type) -> "Symbol":
        if dtype is not Symbol:
            raise TypeError("A kernel computes in the precision of the current alone.")
        return self

    def detach(self) -> "Symbol":
        return self

    def clamp(self, min: float | None = None, max: float | None = None) -> "Symbol":
        if isinstance(min, Symbol) or isinstance(max, Symbol):
            raise TypeError("A kernel clamps between numbers.")
        low = self if min is None else self._make("{0} < {1} ? {1} : {0}", min)
        return low if max is None else low._make("{0} > {1} ? {1} : {0}", max)

    def sigmoid(self) -> "Symbol":
        return self._make(_FUNCTIONS["sigmoid"])

    def abs(self) -> "Symbol":
        return self._make(_FUNCTIONS["abs"])

    def exp(self) -> "Symbol":
        return self._make(_FUNCTIONS["exp"])

    def __neg__(self) -> "Symbol":
        return self._make("-{0}")

    def __abs__(self) -> "Symbol":
        return self.abs()

    def __add__(self, other: Number) -> "Symbol":
        return self._make("{0} + {1}", other)

    def __sub__(self, other: Number) -> "Symbol":
        return self._make("{0} - {1}", other)

    def __rsub__(self, other: float) -> "Symbol":
        return self._make("{1} - {0}", other)

    def __mul__(self, other: Number) -> "Symbol":
        return self._make("{0} * {1}", other)

    def __truediv__(self, other: Number) -> "Symbol":
        return self._make("{0} / {1}", other)

    def __rtruediv__(self, other: float) -> "Symbol":
        return self._make("{1} / {0}", other)

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, power: float) -> "Symbol":
        if power not in (1, 2, 3, -1, -2):
            raise TypeError(f"A kernel knows no power {power}.")
        product = self._make(" * ".join(["{0}"] * abs(int(power))))
        return product if power > 0 else product._make("1 / {0}")

    def __ge__(self, other: Number) -> "Symbol":
        return self._make("{0} >= {1} ? 1 : 0", other)

    def __gt__(self, other: Number) -> "Symbol":
        return self._make("{0} > {1} ? 1 : 0", other)

    def __le__(self, other: Number) -> "Symbol":
        return self._make("{0} <= {1} ? 1 : 0", other)

    def __lt__(self, other: Number) -> "Symbol":
        return self._make("{0} < {1} ? 1 : 0", other)

    def __eq__(self, other: object) -> bool:
        raise TypeError("A symbol has no value to compare.")

    def __bool__(self) -> bool:
        raise TypeError("A symbol has no value to decide by.")

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> "Symbol":
        name = getattr(func, "__name__", "")
        if kwargs or len(args) != 1 or not isinstance(args[0], Symbol) or name not in _FUNCTIONS:
            raise TypeError(f"A kernel knows no {name!r}.")
        return args[0]._make(_FUNCTIONS[name])

    def _make(self, pattern: str, *others: Number) -> "Symbol":
        if not torch.is_grad_enabled():
            raise TypeError("A kernel does not know what has no gradient.")
        return self.formula.symbol(pattern, self, *others)

"""Nets of Norse, as nets of this library."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.interop.checking import require_equal
from rheobase.interop.conversion import Copier, Library, converted, number, step_of
from rheobase.interop.norse_neurons import NorseLI, NorseLIF
from rheobase.interop.surrogates import Above, Circle, Gaussian, Scaled, Sides
from rheobase.layers import Recurrent
from rheobase.neurons import IF, LI, LIF, Neuron
from rheobase.neurons.firing import Reset
from rheobase.surrogates import FastSigmoid, Sigmoid, Surrogate, Triangle

LIBRARY = Library("norse", containers=("SequentialState", "Lift"))

SURROGATES: dict[str, Callable[[float], Surrogate]] = {
    "super": lambda alpha: FastSigmoid(1.0),  # Norse 1.1 takes alpha but does not use it
    "triangle": lambda alpha: Triangle(1.0, height=alpha),
    "tanh": lambda alpha: Scaled(Sigmoid(2 * alpha), 2 / alpha),
    "circ": Circle,
    "heavi_erfc": lambda alpha: Gaussian(2 / torch.tensor(math.pi).sqrt().item(), alpha),  # in float32, as in Norse
    "heaviside": lambda alpha: Sides(0.0, 0.0, 0.0),
}
STEPPING = ("LIFCell", "LIFBoxCell", "LIFRecurrentCell", "LICell", "LIBoxCell", "IAFCell")
RESETS: dict[str, Reset] = {"reset_value": "zero", "reset_subtract": "subtract"}
IN_TIME = ("LIF", "LIFRecurrent", "LI", "IAF", "Lift")


def from_norse(net: nn.Module, *, copy: bool = False, check: Tensor | None = None) -> nn.Module:
    """The same net with neurons of this library: equal spikes, equal gradients under BPTT, any other rule besides.

    net: a `SequentialState`, or one of its layers, either of cells that take one step or of layers that take a
        sequence; the latter with `Lift` around what is not pointwise. It is not changed.
    copy: parameters and buffers are copied. By default both nets have the same ones: what trains one trains the other.
    check: a sequence `[T, N, ...]` on which both nets are run, in float64 and eval mode, and compared layer by layer.

    Raises ValueError that names each module without an exact counterpart; for `check`, the first step and layer that
    differ.
    """
    conversion = _Conversion(net)
    made = converted(net, LIBRARY, conversion, copy=copy)
    if check is not None and made is not net:
        require_equal(net, made, check, partial(_run_original, in_time=conversion.in_time))
    return made


def surrogate_of(method: str, alpha: float) -> Surrogate:
    """The surrogate with the same slope as Norse's of that name.

    Raises ValueError for an unknown one.
    """
    if method not in SURROGATES:
        raise ValueError(f"method {method!r} has no counterpart. Take one of {', '.join(SURROGATES)}.")
    return Above(SURROGATES[method](alpha))


class _Conversion:
    """What stands for each module of one net; `in_time` if its layers take sequences `[T, N, ...]`."""

    def __init__(self, net: nn.Module) -> None:
        modules = LIBRARY.layers(net)
        self._lifts = tuple(f"{path}." if path else "" for path, m in modules.items() if _is(m, ("Lift",)))
        self.in_time = any(_is(module, IN_TIME) for module in modules.values())

    def __call__(self, module: Any, path: str, copier: Copier) -> nn.Module | None:
        takes_steps = not self.in_time or any(path.startswith(lift) and path for lift in self._lifts)
        name = type(module).__name__
        if not LIBRARY.owns(module):
            return _plain(module, takes_steps)
        if not _is(module, (*NEURONS, *LIBRARY.containers)):
            return None
        if takes_steps != (name in STEPPING) and name not in LIBRARY.containers:
            raise ValueError("layers that take one step and layers that take a sequence are mixed. Use one kind.")
        if name == "Lift":
            return copier.of(module.lifted_module)  # type: ignore[no-any-return]
        if name == "SequentialState":
            if module.return_hidden:
                raise ValueError("return_hidden=True gives out all layers. Leave it out; rheobase.record shows them.")
            return copier.in_sequence(module)
        return NEURONS[name](module, copier)


def _plain(module: nn.Module, takes_steps: bool) -> nn.Module | None:
    if any(LIBRARY.owns(part) for part in module.modules()):
        raise ValueError("it hands the states of its neurons on itself. Use norse.torch.SequentialState.")
    if takes_steps:
        return None
    try:
        return step_of(module)
    except ValueError as reason:
        raise ValueError(f"{reason} Put it in norse.torch.Lift.") from None


def _rate(cell: Any, name: str) -> float:
    """dt / tau, in the precision that Norse has it in."""
    return number(cell.dt * getattr(cell.p, name), name)


def _lif(cell: Any, copier: Copier, detach_reset: bool = False) -> Neuron:
    return NorseLIF(
        _rate(cell, "tau_mem_inv"),
        _rate(cell, "tau_syn_inv"),
        rest=number(cell.p.v_leak, "v_leak"),
        threshold=number(cell.p.v_th, "v_th"),
        reset_value=number(cell.p.v_reset, "v_reset"),
        detach_reset=detach_reset,
        surrogate=surrogate_of(cell.p.method, number(cell.p.alpha, "alpha")),
    )


def _box(cell: Any, copier: Copier) -> Neuron:
    p, reset = cell.p, RESETS.get(cell.p.reset_method.__name__)
    if reset is None:
        raise ValueError(f"reset_method {p.reset_method.__name__} is unknown. Take reset_value or reset_subtract.")
    rest, reset_value = number(p.v_leak, "v_leak"), number(p.v_reset, "v_reset")
    if rest != (reset_value if reset == "zero" else 0):
        raise ValueError(f"it leaks towards v_leak = {rest:g}; here it can only leak towards where it is reset to.")
    return LIF(
        1 - _rate(cell, "tau_mem_inv"),
        decay_input=True,
        threshold=number(p.v_th, "v_th"),
        reset=reset,
        reset_value=rest,
        surrogate=surrogate_of(p.method, number(p.alpha, "alpha")),
    )


def _iaf(cell: Any, copier: Copier) -> Neuron:
    p = cell.p
    # When it runs, Norse itself makes v_reset require a gradient, as it is the state that it starts from.
    start = p.v_reset if isinstance(p.v_reset, nn.Parameter) else p.v_reset.detach()
    return IF(
        threshold=number(p.v_th, "v_th"),
        reset="zero",
        reset_value=number(start, "v_reset"),
        surrogate=surrogate_of(p.method, number(p.alpha, "alpha")),
    )


def _li(cell: Any, copier: Copier) -> Neuron:
    return NorseLI(_rate(cell, "tau_mem_inv"), _rate(cell, "tau_syn_inv"), rest=number(cell.p.v_leak, "v_leak"))


def _li_box(cell: Any, copier: Copier) -> Neuron:
    if number(cell.p.v_leak, "v_leak"):
        raise ValueError("it leaks towards v_leak, here it can only leak towards 0.")
    return LI(1 - _rate(cell, "tau_mem_inv"), decay_input=True)


def _recurrent(cell: Any, copier: Copier) -> Recurrent:
    for name in ("input_weights", "recurrent_weights"):
        if not isinstance(getattr(cell, name), nn.Parameter):
            raise ValueError(f"{name} is a plain tensor. Make it a torch.nn.Parameter.")
    synapse, recurrent = _linear(cell.input_weights, copier), _linear(cell.recurrent_weights, copier)
    if copier.copy and not cell.autapses:
        recurrent.weight.register_hook(_without_diagonal)  # the original's own has one
    return Recurrent(synapse, recurrent, _lif(cell, copier, detach_reset=True))


def _linear(weight: nn.Parameter, copier: Copier) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = copier.of(weight)
    return layer


def _without_diagonal(gradient: Tensor) -> Tensor:
    return gradient.clone().fill_diagonal_(0.0)


NEURONS: dict[str, Callable[[Any, Copier], nn.Module]] = {
    "LIFCell": _lif,
    "LIF": _lif,
    "LIFBoxCell": _box,
    "LIFRecurrentCell": _recurrent,
    "LIFRecurrent": _recurrent,
    "LICell": _li,
    "LI": _li,
    "LIBoxCell": _li_box,
    "IAFCell": _iaf,
    "IAF": _iaf,
}


def _is(module: nn.Module, names: tuple[str, ...]) -> bool:
    return type(module).__module__.startswith("norse.") and type(module).__name__ in names


def _run_original(net: nn.Module, xs: Tensor, in_time: bool) -> None:
    if in_time:
        net(xs)
        return
    state = None
    for x in xs:
        _, state = net(x, state)

"""The kernels of a neuron, as functions of tensors."""

import ctypes
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rheobase.dual import NOT_ARITHMETIC
from rheobase.kernels.compiler import compiled_code, compiler
from rheobase.kernels.norm import in_order, ordered_as
from rheobase.kernels.source import Source, source
from rheobase.neurons import Neuron, State

_REALS = {torch.float32: "float", torch.float64: "double"}
_SERIAL = 1 << 14  # neurons times steps below which more threads cost more than they bring

_BOOKKEEPING = vars(nn.Module()).keys() - {"training"}

_found: WeakKeyDictionary[Neuron, tuple[Any, "Kernel | None"]] = WeakKeyDictionary()
_latest: WeakKeyDictionary[type[Neuron], tuple[Any, "Kernel | None"]] = WeakKeyDictionary()  # its twins need no other


def kernel_of(neuron: Neuron, current: Tensor) -> "Kernel | None":
    """The neuron's kernel for such a current; None if it has to run as plain PyTorch."""
    real = _REALS.get(current.dtype)
    learns = next(neuron.parameters(), None) is not None
    if real is None or current.device.type != "cpu" or current.numel() == 0 or learns or not compiler():
        return None
    with torch.random.fork_rng(devices=[]):  # a look at the neuron draws none of the run's random numbers
        parts = _parts(neuron, current.detach()[:2])
        if parts is None:
            return None
        settings = _settings(neuron)
        for known in (_found.get(neuron), _latest.get(type(neuron))):
            if known is not None and settings is not None and known[0] == (real, parts, settings):
                break
        else:
            known = (real, parts, settings), _made(neuron, parts, real)
    _found[neuron] = _latest[type(neuron)] = known
    return known[1]


def _parts(neuron: Neuron, step: Tensor) -> int | None:
    """How many tensors the neuron's state has; None if they are not like the current."""
    try:
        with torch.no_grad():
            state = neuron.initial_state(step)
        return len(state) if all(_fits(part, step) for part in state) else None
    except NOT_ARITHMETIC:  # the run itself will tell
        return None


def _made(neuron: Neuron, parts: int, real: str) -> "Kernel | None":
    before = torch.get_rng_state()
    try:
        with torch.enable_grad():
            made, again = source(neuron, parts, real), source(neuron, parts, real)
    except NOT_ARITHMETIC:
        return None
    if made != again or not torch.equal(before, torch.get_rng_state()):  # it changes from step to step
        return None
    compiled = compiled_code(made.text)
    return None if compiled is None else Kernel(made, compiled)


def _settings(neuron: Neuron) -> Any:
    """All that the neuron's formula is made of; None if it might change unseen."""
    if neuron._modules or neuron._buffers:
        return None
    own = {name: value for name, value in vars(neuron).items() if name not in _BOOKKEEPING and name != "forward"}
    kinds = [kind for kind in type(neuron).__mro__ if issubclass(kind, Neuron)]
    common = [
        {name: value for name, value in vars(kind).items() if not name.startswith(("__", "_abc_"))} for kind in kinds
    ]
    try:
        return [{name: _fixed(value) for name, value in values.items()} for values in (own, *common)]
    except TypeError:
        return None


def _fixed(value: Any) -> Any:
    """What tells the value from all others; raises TypeError if that may change."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, FunctionType) and set(value.__code__.co_freevars) <= {"__class__"}:
        return value
    if type(value) is tuple:
        return tuple(_fixed(part) for part in value)
    options = getattr(type(value), "__dataclass_params__", None)
    if options is None or not options.frozen:
        raise TypeError(f"A {type(value).__name__} may change.")
    return type(value), {name: _fixed(part) for name, part in vars(value).items()}


class Kernel:
    """All steps of a chunk in one pass over memory; each neuron's state stays in the cache meanwhile.

    Currents are `[c * N, ...]`, step after step, parts of the state `[N, ...]`.
    """

    def __init__(self, source: Source, library: ctypes.CDLL) -> None:
        self._constants = (ctypes.c_double * len(source.constants))(*source.constants)
        self.moving, self.binary = source.moving, source.binary
        self._run, self._slope = _function(library.run, 2), _function(library.slope, 3)
        self._respond, self._back = _function(library.respond, 6), _function(library.back, 3)

    def run(self, currents: Tensor, state: State, *, in_place: bool = False) -> tuple[Tensor, State]:
        """What the neurons give out, and their state afterwards (in the same tensors if `in_place`)."""
        currents = in_order(currents)
        state = _like_a_step(state, currents)
        after = state if in_place else tuple(torch.empty_like(part) for part in state)
        spikes = torch.empty_like(currents)
        self._call(self._run, currents, state, _pointers(after), spikes.data_ptr())
        return spikes, after

    def slope(self, currents: Tensor, state: State, *, in_place: bool = False) -> tuple[Tensor, Tensor, State]:
        """As `run`, and d output / d current of the same step, in the middle."""
        currents = in_order(currents)
        state = _like_a_step(state, currents)
        after = state if in_place else tuple(torch.empty_like(part) for part in state)
        spikes, slopes = torch.empty_like(currents), torch.empty_like(currents)
        self._call(self._slope, currents, state, _pointers(after), spikes.data_ptr(), slopes.data_ptr())
        return spikes, slopes, after

    def respond(self, currents: Tensor, state: State, response: "Response") -> tuple[Tensor, State]:
        """As `run` in place, while `response` gathers."""
        currents = ordered_as(in_order(currents), response.rates)
        state = _like_a_step(state, currents)
        spikes = torch.empty_like(currents)
        moved = _pointers(response.moved)
        gathered = ctypes.addressof(response.uniform), response.rates.data_ptr(), response.gains.data_ptr()
        self._call(self._respond, currents, state, _pointers(state), spikes.data_ptr(), moved, *gathered)
        return spikes, state

    def back(
        self, currents: Tensor, state: State, errors: Tensor, state_errors: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[Tensor]]:
        """The gradients towards `currents` and `state`, from those towards what `run` returned for them.

        The potentials in between are computed again. A state error of None is zero.
        """
        currents = in_order(currents)
        state = _like_a_step(state, currents)
        errors = _aligned(errors, currents)
        grads = [
            torch.zeros_like(part) if error is None else torch.empty_like(part).copy_(error)
            for part, error in zip(state, state_errors, strict=True)
        ]
        below = torch.empty_like(currents)
        self._call(self._back, currents, state, errors.data_ptr(), _pointers(grads), below.data_ptr())
        return below, grads

    def _call(self, function: Callable[..., None], currents: Tensor, state: State, *arguments: Any) -> None:
        total, size = currents.numel(), state[0].numel()
        threads = torch.get_num_threads() if total > _SERIAL else 1
        function(total // size, size, threads, self._constants, currents.data_ptr(), _pointers(state), *arguments)


class Response:
    """Sums over time of the spikes and of how they change when all currents rise by 1, and where the change stands."""

    def __init__(self, kernel: Kernel, step: Tensor) -> None:
        step = in_order(step)
        # Not zeros_like: a single sample's own stride may be anything.
        strides = step.numel() // len(step), *step.stride()[1:]
        step = torch.empty_strided(step.shape, strides, dtype=step.dtype)
        self.rates, self.gains = torch.zeros_like(step), torch.zeros_like(step)
        self.moved = [torch.zeros_like(step) if moves else self.rates for moves in kernel.moving]
        self.uniform = (ctypes.c_double * len(kernel.moving))()


def _function(function: Any, own: int) -> Callable[..., None]:
    function.restype = None
    function.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int, *[ctypes.c_void_p] * (3 + own)]
    return function  # type: ignore[no-any-return]


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _like_a_step(state: State, currents: Tensor) -> State:
    """The state, laid out as one step of the currents is, which have no gaps."""
    step = currents[: len(state[0])]
    if not all(_fits(part, step) for part in state):
        found = ", ".join(f"{part.dtype} {list(part.shape)}" for part in state)
        raise ValueError(
            f"Expected each part of the state like one step of {step.dtype} {list(step.shape)}, got {found}."
        )
    return tuple(_aligned(part, step) for part in state)


def _fits(part: Tensor, step: Tensor) -> bool:
    return part.shape == step.shape and part.dtype == step.dtype and part.device == step.device


def _aligned(x: Tensor, like: Tensor) -> Tensor:
    return x if x.stride() == like.stride() else torch.empty_like(like).copy_(x)

"""Looking on while a model runs: hooks on neurons and synapses that change nothing."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod
from typing import Any, Literal, get_args
from weakref import ref

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32
from rheobase.engine import Sweep
from rheobase.neurons import Firing, Neuron, State
from rheobase.rules.rate_pass import RatePass
from rheobase.rules.roles import Role, role
from rheobase.rules.tangent import response
from rheobase.rules.trace_pass import Trace, TraceTreatment

What = Literal["spikes", "potentials", "currents", "traces"]
QUANTITIES: tuple[What, ...] = get_args(What)


@dataclass(frozen=True)
class Choice:
    """What is kept of a layer: which neurons, as indices into one sample's, flattened; which samples; what of them."""

    layer: str
    neurons: Sequence[int] | None
    samples: Sequence[int] | None
    what: Sequence[What]

    def __post_init__(self) -> None:
        if isinstance(self.what, str) or not set(self.what) <= set(QUANTITIES):
            raise ValueError(f"Expected `what` as a tuple with some of {QUANTITIES}, got {self.what!r}.")
        for name in ("neurons", "samples"):
            given = getattr(self, name)
            if given is not None and (not len(given) or min(given) < 0):
                raise ValueError(f"Expected {name} as indices from 0 on, at least one, got {list(given)}.")

    def of_samples(self, x: Tensor, steps: int) -> Tensor:
        """The chosen samples of x `[c * N, ...]`, as `[c, N, ...]`."""
        return self._picked(x.detach().unflatten(0, (steps, -1)), 1, self.samples, "samples")

    def of_neurons(self, x: Tensor) -> Tensor:
        """The chosen neurons of x `[c, N, ...]`."""
        return x if self.neurons is None else self._picked(x.flatten(2), 2, self.neurons, "neurons")

    def _picked(self, x: Tensor, axis: int, indices: Sequence[int] | None, kind: str) -> Tensor:
        if indices is None:
            return x
        if max(indices) >= x.shape[axis]:
            raise ValueError(
                f"Layer {self.layer!r} has {x.shape[axis]} {kind}, 0 .. {x.shape[axis] - 1}: it cannot be recorded at "
                f"{max(indices)}."
            )
        return x.index_select(axis, torch.tensor(indices, device=x.device))


@dataclass
class Series:
    """One quantity over time, gathered chunk by chunk."""

    parts: list[Tensor] = field(default_factory=list)

    def add(self, part: Tensor) -> None:
        """part: the next steps `[c, N, ...]`; it may change afterwards."""
        self.parts.append(part.to("cpu", copy=True).contiguous())

    def whole(self) -> Tensor | None:
        if len(self.parts) > 1:
            self.parts = [torch.cat(self.parts)]
        return self.parts[0] if self.parts else None


class LayerWatch:
    """Looks on at one layer of neurons; entered once."""

    def __init__(self, neuron: Neuron, choice: Choice) -> None:
        self.choice, self.neuron = choice, neuron
        self.spikes, self.potentials, self.currents = Series(), Series(), Series()
        self.thresholds, self.slope_traces = Series(), Series()
        self.threshold: float | None = None
        self.shape: tuple[int, ...] = ()
        self._slope_trace = Trace()
        self._twin, self._fired = twin_that_tells(neuron)
        self._sweep: ref[Sweep] | None = None
        self._done = 0  # steps of that sweep
        self._records = False  # the chunk that is computed now
        self._entering: State | None = None  # the state before it, None for the initial one
        self._outputs: Tensor | None = None  # of the last chunk

    @contextmanager
    def watching(self) -> Iterator[None]:
        handles = self.neuron.register_forward_pre_hook(self._before), self.neuron.register_forward_hook(self._after)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._outputs = None

    def gave(self, x: Tensor) -> bool:
        """Whether x `[c, N, ...]` is what the layer gave out last; silence before its first step."""
        if self._outputs is None:
            return not x.any() and max(self.choice.neurons or [0]) < x.flatten(2).shape[2]
        return torch.equal(x.flatten(2), self._outputs.flatten(2).to(x.dtype))

    def _before(self, neuron: nn.Module, inputs: tuple[Tensor]) -> None:
        sweep = sweep_of(neuron)
        self._records = sweep is not None and not isinstance(sweep.treatment, RatePass)
        if sweep is None or not self._records:
            return
        state = sweep.states.get(neuron)
        if self._sweep is None or self._sweep() is not sweep:
            if self._sweep is not None and state is None:
                raise ValueError(
                    f"A record holds one sequence, and at {self.choice.layer!r} a second one begins: open another "
                    "`with rheobase.record(model)` for it."
                )
            self._sweep, self._done = ref(sweep), 0
        self._records = sweep.steps is None or self._done < sweep.steps  # later ones are computed for a backward pass
        with looking_on():  # copies, as kernels work in place
            self._entering = state and tuple(self.choice.of_samples(part, 1)[0].clone() for part in state)

    def _after(self, neuron: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        sweep = sweep_of(neuron)
        if sweep is None or not self._records:
            return
        what, self.shape = self.choice.what, tuple(output.shape[1:])
        self._done += sweep.chunk
        with looking_on():
            currents = at_least_float32(self.choice.of_samples(inputs[0], sweep.chunk))
            self._outputs = self.choice.of_samples(output, sweep.chunk)
            if "spikes" in what:
                self.spikes.add(as_bits(self.choice.of_neurons(self._outputs)))
            if "currents" in what:
                self.currents.add(self.choice.of_neurons(currents))
            decay = slope_decay(sweep, self.neuron) if "traces" in what else None
            if "potentials" in what or decay is not None:
                self._replay(currents, self._outputs, decay)

    def _replay(self, currents: Tensor, outputs: Tensor, decay: float | None) -> None:
        """The steps `[c, N, ...]` once more, by the neuron's dynamics. decay: of the slope's trace, None for none."""
        state = self._entering or self.neuron.initial_state(currents[0])
        for current, output in zip(currents, outputs, strict=True):
            if decay is not None:
                slope = response(self.neuron, current, state, None)[1].unsqueeze(0)
                self.slope_traces.add(self._slope_trace.after([self.choice.of_neurons(slope)], decay)[0])
            again, state = self._twin.dynamics(current, state)
            if not torch.equal(again.to(output.dtype), output):
                raise RuntimeError(
                    f"The dynamics of {self.choice.layer!r} ({type(self.neuron).__name__}) gave something else when "
                    'asked again: they are not pure. Record what=("spikes", "currents") alone.'
                )
            potential, threshold = self._fired[-1] if self._fired else (state[0], None)
            self._fired.clear()
            if "potentials" in self.choice.what:
                self.potentials.add(self.choice.of_neurons(potential.unsqueeze(0)))
                if isinstance(threshold, Tensor):
                    self.thresholds.add(self.choice.of_neurons(threshold.expand_as(potential).unsqueeze(0)))
                else:
                    self.threshold = threshold


class SynapseWatch:
    """Looks on at one synapse, for the traces of what it hears, under rules with traces; entered once."""

    def __init__(self, synapse: nn.Module, layers: Mapping[nn.Module, LayerWatch]) -> None:
        self.synapse, self._layers = synapse, layers
        self._trace, self._traces = Trace(), Series()
        self._sender: LayerWatch | None = None
        self._role: Callable[[], Role] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        handle = self.synapse.register_forward_hook(self._after)
        try:
            yield
        finally:
            handle.remove()

    def trace_of(self, layer: LayerWatch) -> Tensor | None:
        """The trace of the layer's output, `[T, N, ...]`; None where the synapse has none or hears something else."""
        trace = self._traces.whole()
        if trace is None or self._sender is not layer or self._role is None or self._role().decay is None:
            return None
        if layer.choice.neurons is not None:
            return trace
        return trace.unflatten(2, layer.shape) if trace.shape[2] == prod(layer.shape) else None

    def _after(self, synapse: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        sweep = sweep_of(synapse)
        if sweep is None or not isinstance(sweep.treatment, TraceTreatment):
            return
        if sweep.wiring is not None:  # at the first step, which shows whom the synapse hears; its role follows from it
            senders = sweep.wiring.senders[synapse]
            self._sender = self._layers.get(next(iter(senders))) if len(senders) == 1 else None
            self._role = cache(partial(role, sweep.treatment.settings, sweep, synapse, sweep.wiring))
        if self._sender is None or self._role is None:
            return
        with looking_on():
            x = at_least_float32(self._sender.choice.of_samples(inputs[0], sweep.chunk))
            decay = 0.0 if sweep.wiring is not None else self._role().decay
            if decay is None or not self._sender.gave(x):
                self._sender = None
                return
            for step in self._sender.choice.of_neurons(x.flatten(2)):
                self._traces.add(torch.stack(self._trace.after([step], decay)))


def sweep_of(module: nn.Module) -> Sweep | None:
    """The sweep that runs the module at this moment."""
    owner = getattr(getattr(module.forward, "func", None), "__self__", None)
    return owner if isinstance(owner, Sweep) else None


def slope_decay(sweep: Sweep, neuron: Neuron) -> float | None:
    """The decay of the trace of the neuron's slope; None for rules without it."""
    treatment = sweep.treatment
    if not isinstance(treatment, TraceTreatment) or treatment.settings.acausal == 0 or not neuron.spiking:
        return None
    return treatment.settings.decay_post


@contextmanager
def looking_on() -> Iterator[None]:
    """Inside, neither autograd nor what else follows tensors through functions takes notice."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        yield


def as_bits(x: Tensor) -> Tensor:
    """x as bool if it holds 0 and 1 alone."""
    return x.bool() if ((x == 0) | (x == 1)).all() else x


class _Telling:
    """A threshold and reset that note what they are given."""

    def __init__(self, firing: Firing, seen: list[tuple[Tensor, Tensor | float]]) -> None:
        self._firing, self._seen = firing, seen

    def __call__(self, potential: Tensor, threshold: Tensor | float | None = None) -> tuple[Tensor, Tensor]:
        self._seen.append((potential, self._firing.threshold if threshold is None else threshold))
        return self._firing(potential, threshold)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._firing, name)


def twin_that_tells(neuron: Neuron) -> tuple[Neuron, list[tuple[Tensor, Tensor | float]]]:
    """The neuron again, with the same parameters, and a list that gets each potential with its threshold."""
    twin, seen = copy.copy(neuron), list[tuple[Tensor, Tensor | float]]()
    for name, value in vars(neuron).items():
        if isinstance(value, Firing):
            setattr(twin, name, _Telling(value, seen))
    return twin, seen

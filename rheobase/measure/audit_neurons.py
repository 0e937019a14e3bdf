"""Whether gradients can pass a model's neurons: how often they fire, where their slopes are, what they remember."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.aside import buffers_kept
from rheobase.inference import run
from rheobase.neurons import Neuron, State
from rheobase.training.health import FiringCount, ailments


@dataclass(frozen=True)
class NeuronLayer:
    """A layer of spiking neurons on one batch.

    rate: spikes per neuron and step. ailment: "dead" or "saturated" where they hardly fire or hardly rest.
    sloped: the share of neurons and steps that carry the slopes, (sum slope)^2 / (n sum slope^2): 1 where all slopes
        are equal, near 0 where almost all are zero beside a few large ones, NaN where all are zero.
    decay: of the membrane, the largest; None where the neuron does not tell.
    """

    name: str
    kind: str
    rate: float
    sloped: float
    decay: float | None
    ailment: str | None


def neuron_layers(model: nn.Module, xs: Tensor) -> tuple[NeuronLayer, ...]:
    """The model's layers of spiking neurons, in its order, over the sequence `xs` `[T, N, ...]`; it stays as it is."""
    generators = torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else [])
    with generators, buffers_kept(model), watched(model, xs.shape[1]) as seen:
        run(model, xs)
    seen = {name: watch for name, watch in seen.items() if watch.firing.places}  # others were never called
    sick = ailments({name: watch.firing.rate for name, watch in seen.items()})
    return tuple(
        NeuronLayer(name, type(w.neuron).__name__, w.firing.rate, w.sloped, decay_of(w.neuron), sick.get(name))
        for name, w in seen.items()
    )


class Watch:
    """Sums over the slopes of one layer, whose neurons run along on the currents that it sees. size: samples, N."""

    def __init__(self, neuron: Neuron, size: int) -> None:
        self.neuron, self.size = neuron, size
        self.firing, self.sums, self.state = FiringCount(), [0.0, 0.0], State()

    def see(self, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.firing.add(output)
        for current in inputs[0].detach().unflatten(0, (-1, self.size)):
            with torch.enable_grad():
                given = (current, *(self.state or self.neuron.initial_state(current)))
                x, *before = (part.clone().requires_grad_(part.is_floating_point()) for part in given)
                spikes, state = self.neuron.dynamics(x, tuple(before))
                slope = slope_of(spikes, [x, *before])
            self.state = tuple(part.detach() for part in state)
            self.sums = [self.sums[0] + float(slope.abs().double().sum()), self.sums[1] + inner_square(slope)]

    @property
    def sloped(self) -> float:
        total, squares = self.sums
        return total**2 / (self.firing.places * squares) if squares else float("nan")


def slope_of(spikes: Tensor, causes: Sequence[Tensor]) -> Tensor:
    """d spikes / d cause of the first cause that they depend on: some neurons hear their current one step later."""
    learning = [cause for cause in causes if cause.requires_grad] if spikes.requires_grad else []
    for cause in learning:
        (slope,) = torch.autograd.grad(spikes.sum(), cause, retain_graph=True, allow_unused=True)
        if slope is not None:
            return slope  # a neuron has no part in its neighbours' spikes
    return torch.zeros_like(spikes)


@contextmanager
def watched(model: nn.Module, size: int) -> Iterator[dict[str, Watch]]:
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Neuron) and m.spiking}
    watches = {name: Watch(neuron, size) for name, neuron in layers.items()}
    hooks = [neuron.register_forward_hook(partial(Watch.see, watches[name])) for name, neuron in layers.items()]
    try:
        yield watches
    finally:
        for hook in hooks:
            hook.remove()


def inner_square(x: Tensor) -> float:
    return float(x.double().square().sum())


def decay_of(neuron: Neuron) -> float | None:
    try:
        decay = neuron.membrane_decay()
    except ValueError:
        return None
    return float(decay.max()) if isinstance(decay, Tensor) else float(decay)

"""Do the neurons fire, and not all the time? Does every layer learn?"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.inference import run
from rheobase.neurons import Neuron

DEAD = 0.005
SATURATED = 0.9


class FiringCount:
    """Spikes and places for spikes seen so far in one layer."""

    def __init__(self) -> None:
        self.spikes = torch.zeros((), dtype=torch.float64)
        self.places = 0

    def add(self, spikes: Tensor) -> None:
        fired = torch.count_nonzero(spikes.detach())  # whatever their sign and size
        self.spikes = self.spikes.to(spikes.device) + fired
        self.places += spikes.numel()

    @property
    def rate(self) -> float:
        return float(self.spikes) / self.places if self.places else 0.0


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, FiringCount]]:
    """Inside, the spikes of each layer of spiking neurons are counted, by the layer's name."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Neuron) and m.spiking}
    counts = {name: FiringCount() for name in layers}
    hooks = [module.register_forward_hook(partial(_seen, counts[name].add)) for name, module in layers.items()]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _seen(add: Callable[[Tensor], None], _module: nn.Module, _inputs: Any, output: Tensor) -> None:
    add(output)


def firing_rates(model: nn.Module, xs: Tensor, *, chunk: int | None = None) -> dict[str, float]:
    """The mean spikes per neuron and step of each layer of spiking neurons, in [0, 1], by the layer's name."""
    with counted(model) as counts:
        run(model, xs, chunk=chunk)
    return {name: count.rate for name, count in counts.items()}


def ailments(rates: Mapping[str, float]) -> dict[str, str]:
    """The layers that hardly fire, "dead" (under 0.5 %), or hardly rest, "saturated" (above 90 %)."""
    found = {name: "dead" if rate < DEAD else "saturated" for name, rate in rates.items()}
    return {name: found[name] for name, rate in rates.items() if not DEAD <= rate <= SATURATED}


def without_gradient(model: nn.Module) -> list[str]:
    """The layers with parameters that should learn, none of which has got a gradient other than zero."""
    learning = {name: dict(m.named_parameters(recurse=False)) for name, m in model.named_modules()}
    own = {name: [p for p in ps.values() if p.requires_grad] for name, ps in learning.items()}
    return [name for name, ps in own.items() if ps and not any(p.grad is not None and bool(p.grad.any()) for p in ps)]

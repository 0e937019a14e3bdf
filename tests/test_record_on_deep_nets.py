"""Recording deep nets under every rule and chunk: what a loop by hand finds, and not a bit of the learning changed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.models import mobilenet, recurrent, resnet18, sew_resnet34, spikformer
from rheobase.neurons import Neuron
from rheobase.recorder import record
from rheobase.rules import RateBP, Rule

STEPS, BATCH, CLASSES = 3, 3, 3
IMAGE = (2, 16, 16)
NETS: dict[str, Callable[[], nn.Module]] = {
    "spikformer": partial(spikformer, IMAGE, CLASSES, depth=1, heads=2, scale=1.0, width=1 / 24),
    "mobilenet": partial(mobilenet, IMAGE, CLASSES, width=1 / 16),
    "resnet18": partial(resnet18, IMAGE, CLASSES, width=1 / 16),
    "sew-resnet34": partial(sew_resnet34, (2, 32, 32), CLASSES, width=1 / 16),
    "recurrent": partial(
        recurrent, IMAGE, CLASSES, hidden=10, neuron=lambda: rb.LIF(0.6, threshold=0.5), readout_decay=0.6
    ),
}
RULES: list[Rule] = [
    *(rb.BPTT(chunk=chunk) for chunk in (1, 2, "auto")),
    *(rb.BPTT(checkpoint=2, chunk=chunk) for chunk in (1, 2)),
    *(rb.TruncatedBPTT(horizon=2, chunk=chunk) for chunk in (1, None)),
    *(rb.SLTT(chunk=chunk) for chunk in (1, 2)),
    rb.SLTT(steps=2),
    *(rb.OTTT(chunk=chunk) for chunk in (1, 2)),
    *(rb.STLLR(chunk=chunk) for chunk in (1, 2)),
    *(rb.RateBP(chunk=chunk) for chunk in (1, None)),
]
PAIRS = [(name, rule) for name in NETS for rule in RULES if (name, type(rule)) != ("spikformer", RateBP)]
pairs = pytest.mark.parametrize(("name", "rule"), PAIRS, ids=[f"{name}-{rule}" for name, rule in PAIRS])


@cache
def lively(name: str) -> nn.Module:
    """The net in float64, whose layers fire."""
    torch.manual_seed(1)
    net = NETS[name]().double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.5)
            nn.init.uniform_(module.bias, 0, 0.8)
    return net


def sequence(name: str) -> Tensor:
    side = 32 if name == "sew-resnet34" else 16
    return 2 * torch.rand(STEPS, BATCH, 2, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def learn(net: nn.Module, name: str, rule: Rule) -> list[Tensor]:
    """Loss, outputs, gradients and buffers."""
    torch.manual_seed(3)
    result = rule.backward(net, sequence(name), torch.arange(BATCH) % CLASSES, loss=cross_entropy)
    grads = [p.grad for p in net.parameters()]
    assert all(grad is not None for grad in grads)
    return [result.loss, result.outputs, *(grad for grad in grads if grad is not None), *net.buffers()]


class ByHand:
    """The net step by step, its neurons and its recurrence written out."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.after, self.before = net, dict[nn.Module, Tensor](), dict[nn.Module, Tensor]()
        self.told: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
        self.names = {module: name for name, module in net.named_modules()}

    def run(self, xs: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Spikes, potentials and currents `[T, N, ...]` of each layer of neurons."""
        with self.swapped(), torch.no_grad():
            for x in xs:
                self.net(x)
        return {name: tuple(map(torch.stack, zip(*steps, strict=True))) for name, steps in self.told.items()}

    @contextmanager
    def swapped(self) -> Iterator[None]:
        forwards: dict[type, Any] = {rb.LIF: self.fire, rb.LI: self.leak, rb.Recurrent: self.recur}
        swapped = [module for module in self.net.modules() if type(module) in forwards]
        for module in swapped:
            module.forward = partial(forwards[type(module)], module)
        yield
        for module in swapped:
            del module.forward

    def fire(self, lif: rb.LIF, current: Tensor) -> Tensor:
        given = (1 - lif.decay) * current if lif.decay_input else current
        potential = lif.decay * self.after.get(lif, torch.zeros_like(current)) + given
        spikes = (potential >= lif.firing.threshold).double()
        dropped = potential if lif.firing.reset == "zero" else lif.firing.threshold
        self.tell(lif, spikes, potential, current, potential - spikes * dropped)
        return spikes

    def leak(self, li: rb.LI, current: Tensor) -> Tensor:
        potential = li.decay * self.after.get(li, torch.zeros_like(current)) + current
        self.tell(li, potential, potential, current, potential)
        return potential

    def recur(self, layer: rb.Recurrent, x: Tensor) -> Tensor:
        current = layer.synapse(x)
        heard = self.before.get(layer, torch.zeros_like(current))
        self.before[layer] = layer.neuron(current + layer.recurrent(heard))
        return self.before[layer]

    def tell(self, neuron: Neuron, spikes: Tensor, potential: Tensor, current: Tensor, after: Tensor) -> None:
        self.after[neuron] = after
        self.told.setdefault(self.names[neuron], []).append((spikes, potential, current))


@cache
def by_hand(name: str) -> dict[str, tuple[Tensor, ...]]:
    return ByHand(copy.deepcopy(lively(name))).run(sequence(name))


@pairs
def test_spikes_and_potentials_of_every_layer_are_those_of_a_loop_by_hand(name: str, rule: Rule) -> None:
    net = copy.deepcopy(lively(name))
    with record(net) as found:
        learn(net, name, rule)
    expected = by_hand(name)
    assert set(found) == set(expected)
    for layer, (spikes, potentials, currents) in expected.items():
        torch.testing.assert_close(found[layer].spikes.double(), spikes, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[layer].potentials, potentials, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[layer].currents, currents, rtol=0, atol=1e-12)


@pairs
def test_recording_a_deep_net_changes_no_bit_of_what_it_learns(name: str, rule: Rule) -> None:
    plain, watched = (copy.deepcopy(lively(name)) for _ in range(2))
    expected = learn(plain, name, rule)
    with record(watched):
        found = learn(watched, name, rule)
    assert [torch.equal(one, other) for one, other in zip(found, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk", [1, 2, None])
def test_inference_is_recorded_as_a_loop_by_hand_finds_it_and_not_changed(name: str, chunk: int | None) -> None:
    net = copy.deepcopy(lively(name)).eval()
    expected, plain = ByHand(copy.deepcopy(net)).run(sequence(name)), rb.run(net, sequence(name), chunk=chunk)
    with record(net) as found:
        outputs = rb.run(net, sequence(name), chunk=chunk)
    assert torch.equal(outputs, plain)
    for layer, (spikes, potentials, _) in expected.items():
        torch.testing.assert_close(found[layer].spikes.double(), spikes, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[layer].potentials, potentials, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk", [1, 2])
def test_the_traces_of_a_deep_net_are_decayed_sums_of_what_a_loop_by_hand_finds(name: str, chunk: int) -> None:
    net = copy.deepcopy(lively(name))
    with record(net) as found:
        learn(net, name, rb.OTTT(chunk=chunk))
    decay = net.get_submodule(next(iter(found))).membrane_decay()  # one for all layers
    decayed = 0
    for layer, (spikes, *_) in by_hand(name).items():
        for synapse, trace in found[layer].traces.items():
            silence = torch.zeros_like(spikes[:1])
            heard = torch.cat([silence, spikes[:-1]]) if synapse.endswith("recurrent") else spikes
            expected = torch.stack([sum(decay ** (t - s) * heard[s] for s in range(t + 1)) for t in range(STEPS)])
            torch.testing.assert_close(trace, expected, rtol=0, atol=1e-12)
            decayed += not torch.equal(trace, heard)
    assert decayed


@pytest.mark.parametrize("name", NETS)
def test_nine_in_ten_layers_of_the_nets_compared_fire_and_rest(name: str) -> None:
    rates = [float(spikes.mean()) for spikes, *_ in by_hand(name).values()]
    alive = [rate for rate in rates if 0 < rate < 1]
    assert len(alive) >= 0.9 * len(rates), rates

"""Rules by plain autograd, step by step: slow, with no trace of the engine but the swapping of forwards."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rheobase as rb
from rheobase.aside import override
from rheobase.models.nf_resnet import NFBlock
from rheobase.neurons import Neuron
from rheobase.synapses import SYNAPSES, effective_weight

Loss = Callable[[Tensor, Tensor], Tensor]


def bptt(net: nn.Module, xs: Tensor, target: Tensor, loss: Loss) -> None:
    """Fills .grad with the exact gradient of the mean loss over the steps."""
    states: dict[Neuron, Any] = {}

    def fire(neuron: Neuron, current: Tensor) -> Tensor:
        spikes, states[neuron] = neuron.dynamics(current, states.get(neuron) or neuron.initial_state(current))
        return spikes

    with override(net, partial(swapped, None, fire)):
        torch.stack([loss(net(x), target) for x in xs]).mean().backward()


class TraceRule:
    """S-TLLR, OTTT (acausal 0) or SLTT (decay 0) on a net of LIF neurons.

    untraced: the synapses whose own input is credited, not its trace.
    """

    def __init__(
        self, net: nn.Module, decay: float, untraced: set[nn.Module], *, acausal: float = 0.0, post: float = 0.0
    ) -> None:
        self.net, self.decay, self.acausal, self.post, self.untraced = net, decay, acausal, post, untraced
        self.states: dict[nn.Module, Any] = {}
        self.traces: dict[nn.Module, Tensor] = {}
        self.slopes: dict[nn.Module, Tensor] = {}

    def backward(self, xs: Tensor, target: Tensor, loss: Loss) -> None:
        for x in xs:
            self.step(x, lambda output: loss(output, target) / len(xs))

    def step(self, x: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        after: dict[nn.Module, Any] = {}
        spikes: dict[nn.Module, Tensor] = {}
        slopes: dict[nn.Module, Tensor] = {}
        inputs: dict[nn.Module, Tensor] = {}

        def hear(synapse: nn.Module, given: Tensor) -> Tensor:
            """The value from the input; the weight's gradient from the trace."""
            inputs[synapse] = given.detach()
            trace = given.detach()
            if synapse not in self.untraced and synapse in self.traces:
                trace = trace + self.decay * self.traces[synapse]
            self.traces[synapse] = trace
            weight = effective_weight(synapse)
            credit = applied(synapse, trace, weight)
            return applied(synapse, given, weight.detach(), synapse.bias) + credit - credit.detach()

        def fire(neuron: Neuron, current: Tensor) -> Tensor:
            state = self.states.get(neuron) or neuron.initial_state(current)
            alone = current.detach().requires_grad_()
            (slopes[neuron],) = torch.autograd.grad(neuron.dynamics(alone, state)[0].sum(), alone)
            out, left = neuron.dynamics(current, state)
            after[neuron] = tuple(part.detach() for part in left)
            if out.requires_grad:
                out.retain_grad()
            spikes[neuron] = out
            return out

        with override(self.net, partial(swapped, hear, fire)):
            loss(self.net(x)).backward()
        if self.acausal and self.slopes:
            self.non_causal(x, inputs, {m: s.grad for m, s in spikes.items()})
        self.states = after
        self.slopes = {m: slope + self.post * self.slopes.get(m, torch.zeros(())) for m, slope in slopes.items()}

    def non_causal(self, x: Tensor, inputs: dict[nn.Module, Tensor], deltas: dict[nn.Module, Tensor | None]) -> None:
        """Each neuron's delta * trace of the slope, brought to the synapses right before it, times their input."""
        markers: dict[nn.Module, Tensor] = {}
        currents: dict[nn.Module, Tensor] = {}

        def hear(synapse: nn.Module, given: Tensor) -> Tensor:
            current = applied(synapse, given.detach(), effective_weight(synapse).detach(), synapse.bias).detach()
            markers[synapse] = torch.zeros_like(current, requires_grad=True)
            return current + markers[synapse]

        def fire(neuron: Neuron, current: Tensor) -> Tensor:
            currents[neuron] = current
            return neuron.dynamics(current, self.states[neuron])[0].detach()

        with override(self.net, partial(swapped, hear, fire)):
            self.net(x)
        for neuron, current in currents.items():
            delta = deltas[neuron]
            if delta is None or not current.requires_grad:  # right after other neurons
                continue
            error = delta * self.slopes[neuron]
            found = torch.autograd.grad(current, list(markers.values()), error, retain_graph=True, allow_unused=True)
            for synapse, part in zip(markers, found, strict=True):
                if part is not None:
                    applied(synapse, inputs[synapse], effective_weight(synapse)).backward(self.acausal * part)


def swapped(hear: Any, fire: Any, module: nn.Module) -> Any:
    if isinstance(module, Neuron):
        return partial(fire, module)
    if isinstance(module, rb.TimeSharedDropout):
        assert module.p == 0
        return lambda x: x
    return partial(hear, module) if hear and isinstance(module, SYNAPSES) else None


def applied(synapse: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if isinstance(synapse, nn.Linear):
        return F.linear(x, weight, bias)
    assert isinstance(synapse, nn.Conv2d)
    return F.conv2d(x, weight, bias, synapse.stride, synapse.padding, synapse.dilation, synapse.groups)


def hears_input(net: nn.Module) -> set[nn.Module]:
    return {next(m for m in net.modules() if isinstance(m, SYNAPSES))}


def reads_out(net: nn.Module) -> set[nn.Module]:
    """The last synapse, and that of the last block of an NF-ResNet, which reaches no neuron either."""
    last = [m for m in net.modules() if isinstance(m, SYNAPSES)][-1]
    return {last} | {block.branch[-1] for block in [m for m in net.modules() if isinstance(m, NFBlock)][-1:]}


def sltt(net: nn.Module) -> TraceRule:
    return TraceRule(net, 0.0, set())


def ottt(net: nn.Module, rule: rb.OTTT) -> TraceRule:
    assert rule.trace_decay is not None
    untraced = set() if rule.input_trace else hears_input(net)
    return TraceRule(net, rule.trace_decay, untraced | (set() if rule.readout_trace else reads_out(net)))


def stllr(net: nn.Module, rule: rb.STLLR) -> TraceRule:
    return TraceRule(net, rule.decay_pre, reads_out(net), acausal=rule.acausal, post=rule.decay_post)

"""The rules as plain loops over time with plain autograd.

Of the library they use the neurons' own dynamics, what a synapse or a norm is, and the means to put other forwards in a
module's place; none of its sweeps, chunks, kernels, layouts, wiring or treatments.
"""

from collections import defaultdict
from functools import partial

import torch
import torch.nn.functional as F
from models.naive_rules import applied
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import rheobase as rb
from rheobase.aside import buffers_kept, override
from rheobase.layers import SEQUENCE_NORMS, Loop
from rheobase.neurons import Neuron
from rheobase.norms import uses_batch_statistics
from rheobase.synapses import SYNAPSES, effective_weight


def needs_all(net):
    """Whether a norm of the net sees the whole sequence at once."""
    return any(isinstance(m, SEQUENCE_NORMS) and uses_batch_statistics(m) for m in net.modules())


def target_at(target, t):
    return target.targets[t] if isinstance(target, rb.PerStep) else target


class Clock:
    """Runs a net over time. Subclasses say what synapses hear and neurons give out."""

    def __init__(self, net):
        self.net, self.states, self.steps = net, {}, 1

    def outputs(self, xs, horizon=None):
        """The outputs of all steps, `[T, N, ...]`; the state is cut every `horizon` steps."""
        with override(self.net, self.forward_of):
            if needs_all(self.net):
                self.steps = len(xs)
                return self.net(xs.flatten(0, 1)).unflatten(0, (len(xs), -1))
            found = []
            for t, x in enumerate(xs):
                if horizon and t % horizon == 0:
                    self.cut()
                found.append(self.net(x.clone()))
                self.stepped()
            return torch.stack(found)

    def cut(self):
        self.states = {m: tuple(part.detach() for part in state) for m, state in self.states.items()}

    def stepped(self):
        """Called after each step."""

    def forward_of(self, module):
        if isinstance(module, Neuron):
            return partial(self.neuron, module)
        if isinstance(module, Loop):
            return partial(self.loop, module)
        if isinstance(module, rb.TimeSharedDropout):
            return lambda x: x
        if isinstance(module, _BatchNorm) and not isinstance(module, SEQUENCE_NORMS):
            return partial(self.norm, module.forward)
        return partial(self.synapse, module, module.forward) if isinstance(module, SYNAPSES) else None

    def norm(self, plain, x):
        return torch.cat([plain(step) for step in x.unflatten(0, (self.steps, -1))])

    def synapse(self, synapse, plain, x):
        return plain(x)

    def neuron(self, neuron, currents):
        return torch.cat([self.fire(neuron, current) for current in currents.unflatten(0, (self.steps, -1))])

    def fire(self, neuron, current):
        state = self.states.get(neuron) or neuron.initial_state(current)
        spikes, self.states[neuron] = neuron.dynamics(current, state)
        return spikes.clone()  # the model may change it in place

    def loop(self, layer, x):
        currents, steps, found = layer.synapse(x).unflatten(0, (self.steps, -1)), self.steps, []
        self.steps = 1
        for current in currents:
            (before,) = self.states.get(layer) or (layer.silence(current),)
            output = layer.body(current + layer.recurrent(before))
            self.states[layer] = (output,)
            found.append(output.clone())
        self.steps = steps
        return torch.cat(found)


def losses(case, outputs):
    return torch.stack([case.loss(out, target_at(case.target, t)) for t, out in enumerate(outputs)])


def cut_every(case, horizon=None, at=None):
    """BPTT; cut every `horizon` steps, TruncatedBPTT (1: SLTT); of the losses at the steps `at`."""
    outputs = Clock(case.net).outputs(case.xs, horizon)
    found = losses(case, outputs)
    (found if at is None else found[list(at)]).mean().backward()
    return outputs.detach()


def of_the_mean(case):
    """BPTT of the mean output."""
    outputs = Clock(case.net).outputs(case.xs)
    case.loss(outputs.mean(0), case.target).backward()
    return outputs.detach()


class Probe(Clock):
    """Which synapses and neurons reach which directly, found out by autograd."""

    def __init__(self, net):
        super().__init__(net)
        self.markers, self.senders, self.uses = {}, defaultdict(set), defaultdict(int)

    def arrive(self, module, x):
        if x.requires_grad and self.markers:
            grads = torch.autograd.grad(x.sum(), list(self.markers.values()), retain_graph=True, allow_unused=True)
            self.senders[module] |= {
                source for source, grad in zip(self.markers, grads, strict=True) if grad is not None
            }

    def leave(self, module, x):
        marker = self.markers.setdefault(module, torch.zeros((), dtype=x.dtype, requires_grad=True))
        return x.detach() + marker

    def synapse(self, synapse, plain, x):
        self.arrive(synapse, x)
        self.uses[synapse] += 1
        return self.leave(synapse, plain(x))

    def fire(self, neuron, current):
        self.arrive(neuron, current)
        state = self.states.get(neuron) or neuron.initial_state(current)
        spikes, self.states[neuron] = neuron.dynamics(current.detach(), state)
        return self.leave(neuron, spikes)


class Wires:
    """Who hears whom in a net: `senders` of each module, and what follows from them."""

    def __init__(self, case):
        probe = Probe(case.net)
        steps = min(2, len(case.xs))
        with buffers_kept(case.net):
            probe.outputs(case.xs[:steps])
        self.senders, self.net = probe.senders, case.net
        self.twice = {m for m, uses in probe.uses.items() if uses > steps}
        self.receivers = defaultdict(set)
        for module, sources in self.senders.items():
            for source in sources:
                self.receivers[source].add(module)

    def reach(self, start, steps):
        """The neurons before or after, also through synapses."""
        found, todo, seen = set(), [start], {start}
        while todo:
            for module in steps[todo.pop()] - seen:
                seen.add(module)
                (found.add if isinstance(module, Neuron) else todo.append)(module)
        return found

    def before(self, synapse):
        return self.reach(synapse, self.senders)

    def after(self, synapse):
        return self.reach(synapse, self.receivers)


class Traced(Clock):
    """OTTT and S-TLLR with a given trace decay: the value from the input, the weight's gradient from its trace.

    traced: the synapses with a trace; biased: those whose bias has one. The state is cut at each step.
    """

    def __init__(self, net, decay, traced, biased=(), acausal=0.0, post=0.0):
        super().__init__(net)
        self.decay, self.traced, self.biased, self.acausal, self.post = decay, traced, biased, acausal, post
        self.traces, self.ones, self.slopes = {}, {}, {}
        self.inputs, self.now, self.spikes = {}, {}, {}

    def synapse(self, synapse, plain, x):
        x = padded(synapse, x)
        trace, one = x.detach(), 1.0
        self.inputs[synapse] = trace
        if synapse in self.traced and synapse in self.traces:
            trace = trace + self.decay * self.traces[synapse]
        if synapse in self.biased:
            one += self.decay * self.ones.get(synapse, 0.0)
        self.traces[synapse], self.ones[synapse] = trace, one
        weight = effective_weight(synapse)
        credit = convolved(synapse, trace, weight, None if synapse.bias is None else one * synapse.bias)
        bias = None if synapse.bias is None else synapse.bias.detach()
        return convolved(synapse, x, weight.detach(), bias) + credit - credit.detach()

    def fire(self, neuron, current):
        state = self.states.get(neuron) or neuron.initial_state(current)
        alone = current.detach().requires_grad_()
        with torch.enable_grad():
            (self.now[neuron],) = torch.autograd.grad(neuron.dynamics(alone, state)[0].sum(), alone)
        spikes, self.states[neuron] = neuron.dynamics(current, state)
        self.spikes[neuron] = spikes
        if spikes.requires_grad:
            spikes.retain_grad()
        return spikes.clone()


def pads_itself(synapse):
    return isinstance(synapse, nn.Conv2d) and synapse.padding_mode != "zeros"


def padded(synapse, x):
    return F.pad(x, synapse._reversed_padding_repeated_twice, synapse.padding_mode) if pads_itself(synapse) else x


def convolved(synapse, x, weight, bias):
    """What the synapse makes of its padded input with another weight and bias."""
    if pads_itself(synapse):
        return F.conv2d(x, weight, bias, synapse.stride, 0, synapse.dilation, synapse.groups)
    return applied(synapse, x, weight, bias)


class NonCausal(Clock):
    """One step again, each synapse and neuron cut from those before: what reaches a neuron's current directly."""

    def __init__(self, traced, states):
        super().__init__(traced.net)
        self.states, self.markers, self.currents = dict(states), {}, {}

    def synapse(self, synapse, plain, x):
        current = convolved(synapse, padded(synapse, x), effective_weight(synapse), synapse.bias).detach()
        self.markers[synapse] = torch.zeros_like(current, requires_grad=True)
        return current + self.markers[synapse]

    def fire(self, neuron, current):
        self.currents[neuron] = current
        return super().fire(neuron, current.detach())


def traced(case, decay, traced_synapses, biased=(), acausal=0.0, post=0.0, at=None):
    """OTTT, or with `acausal` S-TLLR: one backward pass a learning step."""
    clock = Traced(case.net, decay, traced_synapses, biased, acausal, post)
    steps = range(len(case.xs)) if at is None else at
    found = []
    with override(case.net, clock.forward_of):
        for t, x in enumerate(case.xs):
            clock.cut()
            entering = dict(clock.states)
            output = case.net(x.clone())
            found.append(output.detach())
            if t in steps:
                (case.loss(output, target_at(case.target, t)) / len(steps)).backward()
                if acausal and clock.slopes:
                    non_causal(clock, entering, x)
            for neuron, slope in clock.now.items():
                clock.slopes[neuron] = slope + post * clock.slopes.get(neuron, torch.zeros((), dtype=slope.dtype))
    return torch.stack(found)


def non_causal(clock, entering, x):
    again = NonCausal(clock, entering)
    with override(clock.net, again.forward_of), buffers_kept(clock.net):
        again.net(x.clone())
    for neuron, current in again.currents.items():
        delta = clock.spikes[neuron].grad if neuron.spiking else None
        if delta is None or not current.requires_grad:
            continue
        markers = list(again.markers)
        parts = torch.autograd.grad(
            current, [again.markers[m] for m in markers], delta * clock.slopes[neuron], retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        for synapse, part in zip(markers, parts, strict=True):
            weight = effective_weight(synapse)
            if part is not None and weight.requires_grad:
                convolved(synapse, clock.inputs[synapse], weight, None).backward(clock.acausal * part)


class Rates(Clock):
    """The spike pass of RateBP: what neurons give out on average, and how that changes with a lasting change."""

    def __init__(self, net):
        super().__init__(net)
        self.shifts, self.sums, self.heard = {}, defaultdict(float), defaultdict(float)

    def fire(self, neuron, current):
        if neuron not in self.shifts:
            self.shifts[neuron] = torch.zeros_like(current, requires_grad=True)
        state = self.states.get(neuron) or neuron.initial_state(current)
        spikes, self.states[neuron] = neuron.dynamics(current.detach() + self.shifts[neuron], state)
        self.sums[neuron] = self.sums[neuron] + spikes
        return spikes.detach().clone()

    def loop(self, layer, x):
        (before,) = self.states.get(layer) or (layer.silence(layer.synapse(x)),)
        self.heard[layer] = self.heard[layer] + before.detach()
        return super().loop(layer, x)


class Means(Clock):
    """The rate pass: one step on means."""

    def __init__(self, spiking, steps):
        super().__init__(spiking.net)
        self.rates = {m: total / steps for m, total in spiking.sums.items()}
        self.shifts, self.heard = spiking.shifts, {m: total / steps for m, total in spiking.heard.items()}

    def fire(self, neuron, current):
        rate, values = self.rates[neuron], [p for p in neuron.parameters() if p.requires_grad]
        (gain,) = torch.autograd.grad(rate.sum(), self.shifts[neuron], retain_graph=True)
        response = rate.detach() + gain * (current - current.detach())
        return response + rate - rate.detach() if values else response

    def loop(self, layer, x):
        return layer.body(layer.synapse(x) + layer.recurrent(self.heard[layer]))


def by_rates(case):
    """RateBP for nets whose norms do not see the batch and that have no max pools."""
    spiking = Rates(case.net)
    outputs = spiking.outputs(case.xs)
    means = Means(spiking, len(case.xs))
    with override(case.net, means.forward_of):
        output = case.net(case.xs.mean(0))
    case.loss(output, case.target).backward()
    return outputs.detach()

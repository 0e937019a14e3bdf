"""
4. A learning rule of your own
==============================

Online rules are one loop with three parts: an *eligibility* (which pre- and postsynaptic factors a weight's gradient
is made of), a *signal* (where the error comes from) and a *schedule* (which steps learn). A new rule is a new part.
We write one that the library does not have, for neurons whose synapses have a memory of their own, check it against
the exact gradient and against arithmetic by hand, train with it, and use it by name. You need ``pip install
'rheobase[demo]'``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import rheobase as rb
from rheobase import measure, plots
from rheobase.cli import main
from rheobase.rules import RULES, Eligibility, LastSteps, NamedOnline, Sweep, Treatment, Wiring
from rheobase.training import Experiment, fit

# %%
# The idea
# --------
#
# OTTT replaces a synapse's input x by its trace, which decays as the membrane does: what came in some steps ago still
# is in the potential, so it still is to be credited. But in `rb.CubaLIF` the current passes a synapse first,
#
# .. code-block:: text
#
#    synaptic[t]  = synaptic_decay * synaptic[t-1]  + current[t]
#    potential[t] = decay          * potential[t-1] + synaptic[t]
#
# and what is left of x in the potential is x filtered twice. So should be the trace:
#
# .. code-block:: text
#
#    fast[t] = synaptic_decay * fast[t-1] + x[t]
#    slow[t] = decay          * slow[t-1] + fast[t]
#
#    grad W  = sum over t of (delta[t] slope[t])^T slow[t]
#
# What a single input spike leaves behind, in the rule that we write and in those that there are:


def trace_of_a_spike(synaptic_decay: float, decay: float) -> list[float]:
    fast = slow = 0.0
    found = []
    for t in range(20):
        fast = synaptic_decay * fast + (t == 2)
        slow = decay * slow + fast
        found.append(slow)
    return found


def draw_traces() -> Figure:
    with plots.figure(7, 2.4) as figure:  # in the look of the library's own pictures
        panel = figure.subplots()
        panel.plot(trace_of_a_spike(0.6, 0.8), label="both decays: ours")
        panel.plot(trace_of_a_spike(0.0, 0.8), "--", label="the membrane's: OTTT")
        panel.plot(trace_of_a_spike(0.0, 0.0), ":", label="none: SLTT")
        panel.set(xlabel="time step", ylabel="trace", title="a spike at step 2", xticks=range(0, 20, 4))
        panel.legend()
    return figure


draw_traces()

# %%
# The rule
# --------
#
# An eligibility makes a *treatment*: what is done at each synapse, neuron and norm while the model runs over one
# sequence. Ours does something at the synapses that feed a `CubaLIF`: it runs them on the trace, so that autograd
# credits the weights with the trace, and shows the next layer the true output. Which neurons a synapse feeds is known
# after the first step; until then there is nothing that could decay.


class TwoTraces(Treatment):
    asks_wiring = True

    def __init__(self) -> None:
        self.decays: dict[nn.Module, tuple[float, float]] = {}  # of the synapse and of the membrane that it feeds
        self.before: dict[nn.Module, tuple[Tensor | float, Tensor | float]] = {}  # both traces at the last step

    def wired(self, sweep: Sweep, wiring: Wiring) -> None:
        for synapse in self.before:
            for neuron in wiring.neurons_after(synapse):
                if isinstance(neuron, rb.CubaLIF):
                    self.decays[synapse] = neuron.synaptic_decay, neuron.decay

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        if self.decays and synapse not in self.decays:
            return super().synapse(sweep, synapse, x, plain)
        synaptic_decay, decay = self.decays.get(synapse, (0.0, 0.0))
        traces = []
        for step in sweep.unfolded(x):  # a chunk of steps may come at once
            fast, slow = self.before.get(synapse, (0.0, 0.0))
            fast = synaptic_decay * fast + step
            slow = decay * slow + fast
            self.before[synapse] = fast.detach(), slow.detach()  # no gradient through time
            traces.append(slow)
        credited = plain(sweep.folded(traces))
        return plain(x).detach() + (credited - credited.detach())  # the value of the one, the graph of the other


@dataclass(frozen=True)
class SynapticTraces(Eligibility):
    """Traces filtered as a `CubaLIF` filters its input."""

    def treatment(self, model: nn.Module) -> Treatment:
        return TwoTraces()


# %%
# That is all. `rb.Online` combines it with any signal and any schedule; a name of its own makes it a rule like the
# others.


@dataclass(frozen=True)
class SynapticOTTT(NamedOnline):
    """OTTT with the memory of the synapses.

    last: learn at the last K steps only; None for all.
    """

    last: int | None = None

    @property
    def online(self) -> rb.Online:
        if self.last is None:
            return rb.Online(SynapticTraces())
        return rb.Online(SynapticTraces(), schedule=LastSteps(self.last))


print(SynapticOTTT(last=5))

# %%
# Check 1: one step is BPTT
# -------------------------
#
# With T = 1 nothing can be lost through time, so each rule with an exact signal has to give BPTT's gradient. We work
# in float64, where equal means equal to some 1e-16.

torch.manual_seed(0)


def small_net() -> nn.Sequential:
    neuron = rb.CubaLIF(decay=0.8, synaptic_decay=0.6, detach_reset=True)
    return nn.Sequential(nn.Linear(12, 20, bias=False), neuron, nn.Linear(20, 3)).double()


def gradient(rule: rb.Rule, net: nn.Module, xs: Tensor, target: Tensor) -> Tensor:
    net.zero_grad()
    rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
    return net[0].weight.grad.clone()


net, xs, target = small_net(), 2 * torch.rand(15, 6, 12).double(), torch.arange(6) % 3
one_step = float((gradient(SynapticOTTT(), net, xs[:1], target) - gradient(rb.BPTT(), net, xs[:1], target)).abs().max())
print(f"T = 1: largest difference from BPTT {one_step:.0e}")

# %%
# Check 2: by hand
# ----------------
#
# The equations above once more, as plain arithmetic for one sample, with no autograd and nothing of the library.


def by_hand(net: nn.Sequential, xs: Tensor, target: int) -> Tensor:
    weight, readout, bias = (p.detach() for p in net.parameters())
    synaptic = potential = torch.zeros(20).double()
    fast = slow = torch.zeros(12).double()
    total = torch.zeros_like(weight)
    for x in xs[:, 0]:
        synaptic = 0.6 * synaptic + weight @ x
        potential = 0.8 * potential + synaptic
        spikes = (potential >= 1.0).double()
        z = torch.sigmoid(4 * (potential - 1.0))
        slope = 4 * z * (1 - z)
        potential = potential - spikes
        fast = 0.6 * fast + x
        slow = 0.8 * slow + fast
        error = torch.softmax(readout @ spikes + bias, 0)
        error[target] -= 1
        total += torch.outer((error @ readout) * slope, slow) / len(xs)
    return total


hand = by_hand(net, xs[:, :1], 2)
difference = float((gradient(SynapticOTTT(), net, xs[:, :1], torch.tensor([2])) - hand).abs().max())
print(f"T = 15: largest difference {difference:.0e}, entries up to {float(hand.abs().max()):.2f}")

# %%
# Check 3: against the exact gradient
# -----------------------------------
#
# With one hidden layer, a readout without memory and no gradient through the reset, nothing else is lost, so we
# expect BPTT's gradient at any T. OTTT, with the membrane's decay alone, should be near and SLTT further away.

rules = {
    "SynapticOTTT": SynapticOTTT(),
    "OTTT": rb.OTTT(trace_decay=0.8, input_trace=True, readout_trace=False),
    "SLTT": rb.SLTT(),
}
cosines = {
    name: measure.gradient_cosine(rule, rb.BPTT(), net, xs, target, rb.losses.cross_entropy).of_parameters["0.weight"]
    for name, rule in rules.items()
}
for name, cosine in cosines.items():
    print(f"{name:12} cosine to BPTT at the hidden layer {cosine:.6f}")

# %%
# Does it learn more?
# -------------------
#
# A cue of a few steps, a pause, and then the question which of four cues it was. While the question is asked there is
# no input, so a rule that looks at the present step has nothing to credit.

inputs, classes, cue, length, asked = 40, 4, 4, 20, 5
likely = 0.1 + 0.5 * (torch.rand(classes, inputs) > 0.7)  # chance of a spike while the cue lasts


def batch(size: int) -> tuple[Tensor, Tensor]:
    target = torch.randint(classes, (size,))
    xs = torch.zeros(length, size, inputs)
    xs[:cue] = (torch.rand(cue, size, inputs) < likely[target]).float()
    return xs, target


updates = 150


def trained(rule: rb.Rule) -> float:
    """The accuracy while asked, after training at those steps."""
    torch.manual_seed(1)
    neuron = rb.CubaLIF(decay=0.9, synaptic_decay=0.9, detach_reset=True)
    net = nn.Sequential(nn.Linear(inputs, 30, bias=False), neuron, nn.Linear(30, classes))
    nn.init.normal_(net[0].weight, std=0.02)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        rule.backward(net, *batch(64), loss=rb.losses.cross_entropy)
        optimizer.step()
    xs, target = batch(500)
    return rb.losses.accuracy(rb.run(net, xs)[-asked:], target)


accuracies = {
    "SynapticOTTT": trained(SynapticOTTT(last=asked)),
    "SLTT": trained(rb.SLTT(at=tuple(range(length - asked, length)))),
}
for name, accuracy in accuracies.items():
    print(f"{name:12} {100 * accuracy:.0f} % (chance {100 / classes:.0f} %)")

# %%
# By name
# -------
#
# ``RULES`` is the table of rules by name. With a line there, an experiment takes the rule as text, with its options:

RULES["synaptic-ottt"] = SynapticOTTT

epochs = 5
report = fit(Experiment(rule="synaptic-ottt", neuron="cubalif(decay=0.8)", data="digits", model="mlp", epochs=epochs))
test_score = report.test_score
print(f"digits: test accuracy {100 * test_score:.1f} %")

# %%
# And so does the command line, once it is told of the rule's file. Let ``my_rule.py``, in the folder where you are,
# have the classes above and the line in ``RULES``:
#
# .. code-block:: console
#
#    $ rheobase train --import my_rule --rule synaptic-ottt --neuron "cubalif(decay=0.8)" --data digits
#    $ rheobase audit --import my_rule --rules bptt synaptic-ottt --neuron "cubalif(decay=0.8)" --data digits

assert main(["list", "rules"]) == 0

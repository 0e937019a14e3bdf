"""
3. Ten thousand steps on a laptop
=================================

Backpropagation through time keeps every step until the sequence ends. An online rule keeps one. We measure that, and
then train on a stream that is never held in memory: a sensor whose hidden state the network has to name at each of 10
000 steps, learning while it listens. You need ``pip install 'rheobase[plot]'``.
"""

import time
from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import rheobase as rb
from rheobase import measure, plots

steps, sensors, hidden, states, streams = 10_000, 24, 64, 4, 8

# %%
# The task
# --------
#
# A machine is in one of four states and changes to another every few hundred steps. Each of 24 sensors clicks at
# random, a little more often in some states than in others. One step tells next to nothing: only who sums the clicks
# of the last fifty steps or so knows the state.

generator = torch.Generator().manual_seed(0)
rates = 0.1 + 0.15 * (torch.rand(states, sensors, generator=generator) > 0.5)  # clicks a step, by state and sensor


def hidden_states(seed: int) -> Tensor:
    """The state at each step of each stream, `[T, N]`: another one with a chance of 1 in 300 a step."""
    draw = torch.Generator().manual_seed(seed)
    jump = torch.rand(steps, streams, generator=draw) < 1 / 300
    ahead = torch.randint(1, states, (steps, streams), generator=draw)
    return (torch.arange(streams) + (jump * ahead).cumsum(0)) % states


def clicks(truth: Tensor, seed: int) -> Iterator[Tensor]:
    """What the sensors give, a step `[N, sensors]` at a time, drawn when it is asked for."""
    draw = torch.Generator().manual_seed(seed)
    for now in truth:
        yield (torch.rand(streams, sensors, generator=draw) < rates[now]).float()


# %%
# Memory against T
# ----------------
#
# A network with a slow membrane (a decay of 0.97 is a memory of some 30 steps) and, behind it, slow leaky integrators
# as the readout.


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    readout = rb.LI(decay=0.95)
    return nn.Sequential(nn.Linear(sensors, hidden), rb.LIF(decay=0.97), nn.Linear(hidden, states), readout)


# %%
# ``measure.kept_bytes`` counts what autograd keeps for backward passes while something is called. `rb.PerStep` is a
# target of its own for each step.


def kept(rule: rb.Rule, length: int) -> int:
    net, truth = new_net(), hidden_states(seed=1)[:length]
    xs = torch.stack(list(clicks(truth, seed=2)))
    return measure.kept_bytes(
        lambda: rule.backward(net, xs, rb.PerStep(truth), loss=rb.losses.cross_entropy),
        there=[xs, truth, *net.parameters()],
    )


rules = {"BPTT": rb.BPTT(), "BPTT, checkpointed": rb.BPTT(checkpoint=True), "SLTT": rb.SLTT()}
costs: dict[str, list[plots.Cost]] = {name: [] for name in rules}
for name, rule in rules.items():
    for length in (steps // 100, steps // 10, steps):
        costs[name].append(plots.Cost(length, bytes=kept(rule, length)))
        print(f"{name:18} T = {length:6}: {costs[name][-1].bytes:12,} bytes")

# %%
# SLTT is level: what it keeps does not depend on T; beside it there are the membranes of one step. The other online
# rules are level too; their traces take one step more. (Inputs and outputs do grow with T, for whoever keeps them.
# The stream below does not keep its inputs.)

plots.cost_against_steps(costs, f"{hidden} neurons, {streams} streams")

# %%
# Learning from a stream
# ----------------------
#
# An online rule takes any iterable of steps: a list, a file, a camera, or our generator, which has no length. Each
# step is gone when the next one comes.
#
# It can also learn at each step, not at the end: ``after_step`` is called after each learning step. As the gradient
# adds up in ``.grad``, ``after_step`` has to empty it. And as the length of the stream is not known, the gradient
# cannot be divided by it: ``rb.Online`` is what all online rules are made of, by itself it is SLTT, and its
# ``average="nothing"`` leaves the gradient of each step as it is. (SLTT forgets how the past led to the present. Here
# the clicks come at constant rates as long as a state lasts, and the present tells on average what the past did.
# :doc:`04_own_rule` has a task where that fails.)

rule = rb.Online(average="nothing")


def learn(net: nn.Module, rule: rb.Rule, seed: int) -> tuple[Tensor, Tensor]:
    """One pass over one stream; the true states `[T, N]` and what the network said while it learned."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    truth = hidden_states(seed)
    result = rule.backward(
        net, clicks(truth, seed + 1), rb.PerStep(truth), loss=rb.losses.cross_entropy, after_step=update
    )
    return truth, result.outputs.argmax(2)


net = new_net()
started = time.process_time()
truth, said = learn(net, rule, seed=10)
right = (truth == said).float().mean(1)
first, last = float(right[: steps // 50].mean()), float(right[-steps // 4 :].mean())
print(f"{steps} steps in {time.process_time() - started:.0f} s of one core")
print(f"right in the first {steps // 50} steps {100 * first:.0f} %, in the last quarter {100 * last:.0f} %")

# %%
# The learning curve is within one single sequence:


def learning_curve(right: Tensor, window: int) -> Figure:
    course = 100 * right.unfold(0, window, window).mean(1)
    with plots.figure(8, 2.8) as figure:  # in the look of the other pictures
        panel = figure.subplots()
        panel.plot(torch.arange(len(course)) * window, course)
        panel.axhline(100 / states, color="grey", ls="--", lw=1)
        panel.set(xlabel="time step", ylabel="right, %", ylim=(0, 100), title="learning while listening")
    return figure


learning_curve(right, window=steps // 100)

# %%
# How good is it?
# ---------------
#
# On a new stream, without learning. ``rb.run`` takes the same iterables. To know what could be reached, we let Bayes'
# rule do the same with the true rates.

truth = hidden_states(seed=20)
said = rb.run(net, clicks(truth, seed=21)).argmax(2)
accuracy = float((said == truth).float().mean())


def bayes(xs: Iterator[Tensor]) -> Tensor:
    """The likeliest state `[T, N]`, given all clicks so far and the true rates."""
    belief, found = torch.full((streams, states), 1 / states), []
    for x in xs:
        belief = belief * (1 - 1 / 300) + (1 - belief) / 300 / (states - 1)
        seen = x @ rates.log().T + (1 - x) @ (1 - rates).log().T
        belief = torch.softmax(belief.log() + seen, 1)
        found.append(belief.argmax(1))
    return torch.stack(found)


best = float((bayes(clicks(truth, seed=21)) == truth).float().mean())
print(f"the network {100 * accuracy:.0f} %, the best possible {100 * best:.0f} %")

# %%
# One step at a time
# ------------------
#
# In a device there is no loop of ours. ``rb.step`` takes one step and the state, and gives back both:

state = None
for _, x in zip(range(1000), clicks(truth, seed=21), strict=False):
    output, state = rb.step(net, x, state)
print("states kept:", {name: [list(part.shape) for part in parts] for name, parts in state.items()})

"""The plain PyTorch rival: the loop one writes by hand, without a library."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.nets import Kit
from benchmarks.task import Mark, Step, Task, sgd

ALPHA = 4.0


class Spike(torch.autograd.Function):
    """1 where the threshold is reached; backward the derivative of sigmoid(4 distance)."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        z = torch.sigmoid(ALPHA * distance)
        return grads[0] * (ALPHA * z * (1 - z))


class LIF(nn.Module):
    """Decay 0.5, threshold 1, soft reset without gradient; the state is an attribute.

    steps: how many steps the input holds, time first, folded into the batch. cut: no gradient through time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.cut = 1, False
        self.potential: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        if self.steps == 1:
            return self.step(current)
        return torch.cat([self.step(part) for part in current.unflatten(0, (self.steps, -1)).unbind(0)])

    def step(self, current: Tensor) -> Tensor:
        potential = current if self.potential is None else 0.5 * self.potential + current
        spikes: Tensor = Spike.apply(potential - 1.0)  # type: ignore[no-untyped-call]
        self.potential = potential - spikes.detach()
        if self.cut:
            self.potential = self.potential.detach()
        return spikes


class Recurrent(nn.Module):
    """The neurons hear their own spikes of the step before."""

    def __init__(self, synapse: nn.Module, recurrent: nn.Module, neuron: nn.Module) -> None:
        super().__init__()
        assert isinstance(neuron, LIF)
        self.synapse, self.recurrent, self.neuron = synapse, recurrent, neuron
        self.potential: Tensor | None = None  # its own spikes; the name lets `states` find it

    def forward(self, x: Tensor) -> Tensor:
        currents = self.synapse(x)
        outputs = [self.step(part) for part in currents.unflatten(0, (self.neuron.steps, -1)).unbind(0)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def step(self, current: Tensor) -> Tensor:
        if self.potential is not None:
            current = current + self.recurrent(self.potential)
        spikes = self.neuron.step(current)
        self.potential = spikes.detach() if self.neuron.cut else spikes
        return spikes


KIT = Kit(neuron=LIF, recurrent=Recurrent)


def stateful(net: nn.Module) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, (LIF, Recurrent))]


def reset(net: nn.Module, *, steps: int = 1, cut: bool = False) -> None:
    for module in stateful(net):
        module.potential = None
        if isinstance(module, LIF):
            module.steps, module.cut = steps, cut


def over_all_steps(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, the mean over steps and batch; outputs: `[T, N, C]`."""
    return F.cross_entropy(outputs.flatten(0, 1), y.repeat(len(outputs)))


def trained(task: Task, objective: Callable[[nn.Module], Tensor]) -> Step:
    """A step that goes backward once."""
    net = task.build(KIT)
    optimizer = sgd(net)

    def step(mark: Mark) -> Tensor:
        optimizer.zero_grad()
        total = objective(net)
        mark()
        total.backward()
        optimizer.step()
        return total.detach()

    return step


def bptt(task: Task) -> Step:
    def objective(net: nn.Module) -> Tensor:
        reset(net)
        return over_all_steps(torch.stack([net(x) for x in task.xs]), task.y)

    return trained(task, objective)


def bptt_by_layer(task: Task) -> Step:
    """Each layer computes all steps before the next one starts; norms see the whole sequence."""

    def objective(net: nn.Module) -> Tensor:
        reset(net, steps=task.steps)
        return F.cross_entropy(net(task.xs.flatten(0, 1)), task.y.repeat(task.steps))

    return trained(task, objective)


def bptt_checkpointed(task: Task) -> Step:
    """torch.utils.checkpoint over segments of sqrt(T) steps; the states pass between them."""

    def objective(net: nn.Module) -> Tensor:
        reset(net)
        places = stateful(net)

        def segment(xs: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
            for module, state in zip(places, states or [None] * len(places), strict=True):
                module.potential = state
            outputs = torch.stack([net(x) for x in xs])
            return outputs, *(module.potential for module in places)

        outputs, states = [], ()
        for xs in task.xs.split(task.segment):
            output, *states = checkpoint(segment, xs, *states, use_reentrant=False)
            outputs.append(output)
        return over_all_steps(torch.cat(outputs), task.y)

    return trained(task, objective)


def sltt(task: Task) -> Step:
    net = task.build(KIT)
    optimizer = sgd(net)

    def step(mark: Mark) -> Tensor:
        reset(net, cut=True)
        optimizer.zero_grad()
        total = torch.zeros((), device=task.device)
        for x in task.xs:
            loss = F.cross_entropy(net(x), task.y) / task.steps
            mark()
            loss.backward()
            total += loss.detach()
        optimizer.step()
        return total

    return step


def forward_only(task: Task) -> Step:
    net = task.build(KIT)

    @torch.no_grad()
    def step(mark: Mark) -> Tensor:
        reset(net)
        return over_all_steps(torch.stack([net(x) for x in task.xs]), task.y)

    return step

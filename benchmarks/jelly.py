"""SpikingJelly's side; importing this needs SpikingJelly (see requirements.txt)."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ.setdefault("LOGURU_LEVEL", "WARNING")

from spikingjelly.activation_based import functional, layer, memopt, neuron, surrogate
from spikingjelly.activation_based.learning.online_learning import ottt_online_training

from benchmarks.nets import Block, Kit, Residual, wrapped
from benchmarks.plain import over_all_steps
from benchmarks.task import Mark, Step, Task, sgd


def lif(kind: Callable[..., nn.Module] = neuron.LIFNode) -> nn.Module:
    """Decay 0.5, the current not scaled, threshold 1, soft reset without gradient."""
    return kind(
        tau=2.0, decay_input=False, v_reset=None, detach_reset=True, surrogate_function=surrogate.Sigmoid(alpha=4.0)
    )


class Recurrent(nn.Module):
    """The neurons hear their own spikes of the step before.

    SpikingJelly's own recurrent containers put another linear layer around the loop, which is a different network.
    """

    def __init__(self, synapse: nn.Module, recurrent: nn.Module, cells: nn.Module) -> None:
        super().__init__()
        self.synapse, self.own, self.cells = synapse, recurrent, cells
        self.cut = isinstance(cells, neuron.SLTTLIFNode)
        self.step_mode = "s"
        self.spikes: Tensor | None = None

    def reset(self) -> None:
        self.spikes = None

    def forward(self, x: Tensor) -> Tensor:
        if self.step_mode == "s":
            return self.step(self.synapse(x))
        currents = self.synapse(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return torch.stack([self.step(current) for current in currents.unbind(0)])

    def step(self, current: Tensor) -> Tensor:
        if self.spikes is not None:
            current = current + self.own(self.spikes)
        spikes: Tensor = self.cells(current)
        self.spikes = spikes.detach() if self.cut else spikes
        return spikes


KIT = Kit(
    neuron=lif,
    recurrent=Recurrent,
    conv=layer.Conv2d,
    norm=layer.BatchNorm2d,
    linear=layer.Linear,
    avg_pool=layer.AvgPool2d,
    global_pool=layer.AdaptiveAvgPool2d,
    flatten=layer.Flatten,
)
SLTT_KIT = replace(KIT, neuron=lambda: lif(neuron.SLTTLIFNode))
OTTT_KIT = replace(KIT, neuron=lambda: lif(neuron.OTTTLIFNode), sequential=layer.OTTTSequential)
BLOCK_KIT = replace(KIT, block=wrapped)


def single_step(task: Task) -> Step:
    """BPTT, one step after another through the whole network."""
    net = task.build(KIT)
    return trained(task, net, lambda: torch.stack([net(x) for x in task.xs]))


def many_steps(net: nn.Module) -> nn.Module:
    """The network in multi-step mode: each layer computes all steps before the next one starts."""
    functional.set_step_mode(net, "m")
    for module in net.modules():
        if isinstance(module, Recurrent):
            functional.set_step_mode(module, "s")
            module.step_mode = "m"
    return net


def multi_step(task: Task) -> Step:
    net = many_steps(task.build(KIT))
    return trained(task, net, lambda: net(task.xs))


def optimised(budget: Literal["speed", "memory"]) -> Callable[[Task], Step]:
    """BPTT in multi-step mode under its memory optimiser, level 1: blocks computed again, spikes kept as bits."""

    def build(task: Task) -> Step:
        net = many_steps(task.build(BLOCK_KIT))

        def example(model: nn.Module) -> Any:
            functional.reset_net(model)
            return model(task.xs)

        memopt.optimize_memory(net, (Block, Residual), example, level=1, checkpoint_budget=budget)
        return trained(task, net, lambda: net(task.xs))

    return build


def checkpointed(task: Task) -> Step:
    """BPTT in multi-step mode, its gradient checkpoints over chunks of about sqrt(T) steps of the whole network."""
    chunks = -(-task.steps // task.segment)
    net = memopt.checkpoint_module(many_steps(task.build(KIT)), chunks=chunks)
    return trained(task, net, lambda: net(task.xs))


def trained(task: Task, net: nn.Module, outputs: Callable[[], Tensor]) -> Step:
    optimizer = sgd(net)

    def step(mark: Mark) -> Tensor:
        functional.reset_net(net)
        optimizer.zero_grad()
        total = over_all_steps(outputs(), task.y)
        mark()
        total.backward()
        optimizer.step()
        return total.detach()

    return step


def online(kit: Kit, *, updates_each_step: bool = False) -> Callable[[Task], Step]:
    """Its `ottt_online_training`, which also trains SLTT; it takes the batch first."""

    def build(task: Task) -> Step:
        net = task.build(kit)
        optimizer = sgd(net)
        xs = task.xs.transpose(0, 1)
        targets = task.y[:, None].expand(-1, task.steps)

        def step(mark: Mark) -> Tensor:
            def loss(output: Tensor, target: Tensor) -> Tensor:
                scaled = F.cross_entropy(output, target) / task.steps
                mark()
                return scaled

            functional.reset_net(net)
            total, _ = ottt_online_training(net, optimizer, xs, targets, loss, online=updates_each_step)
            return total

        return step

    return build

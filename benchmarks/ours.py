"""Rheobase's side."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

import rheobase as rb
from benchmarks.nets import Kit
from benchmarks.plain import over_all_steps
from benchmarks.task import Mark, Step, Task, sgd

MakeRule = Callable[[int], rb.Rule]
KIT = Kit(neuron=partial(rb.LIF, 0.5, detach_reset=True), recurrent=rb.Recurrent)
SEQUENCE_KIT = replace(KIT, norm=rb.SequenceBatchNorm2d)


def rule(make: MakeRule, *, static: bool = False, kit: Kit = KIT) -> Callable[[Task], Step]:
    """Trains with the rule that `make(T)` gives. static: the first input at every step."""

    def build(task: Task) -> Step:
        net = task.build(kit)
        optimizer, chosen = sgd(net), make(task.steps)
        xs = rb.constant(task.xs[0].clone(), task.steps) if static else task.xs

        def step(mark: Mark) -> Tensor:
            def backward(total: Tensor) -> None:
                mark()
                total.backward()

            optimizer.zero_grad()
            loss = chosen.backward(net, xs, task.y, loss=F.cross_entropy, backward=backward).loss
            optimizer.step()
            return loss

        return step

    return build


def forward_under(make: MakeRule) -> Callable[[Task], Step]:
    """All that a rule does but its backward passes."""

    def build(task: Task) -> Step:
        net, chosen = task.build(KIT), make(task.steps)

        def step(mark: Mark) -> Tensor:
            return chosen.backward(net, task.xs, task.y, loss=F.cross_entropy, backward=nothing).loss

        return step

    return build


def nothing(total: Tensor) -> None:
    pass


def run(task: Task) -> Step:
    net = task.build(KIT)

    @torch.no_grad()
    def step(mark: Mark) -> Tensor:
        return over_all_steps(rb.run(net, task.xs), task.y)

    return step

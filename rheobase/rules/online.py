"""The loop that all online rules share: memory of one step, whatever T."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rheobase.chunks import Chunk, Pace, checked_chunk
from rheobase.engine import Sweep
from rheobase.rules.bptt import BPTT
from rheobase.rules.eligibility import Eligibility, Instantaneous
from rheobase.rules.rule import (
    Backward,
    Loss,
    Result,
    gradients_scaled,
    refuse_sequence_norms,
    require_gradient,
    require_learning,
    send_back,
    summed_loss,
)
from rheobase.rules.schedules import EveryStep, Learns, Schedule
from rheobase.rules.signals import Backprop, Signal
from rheobase.sequence import Feed, Outputs, Target
from rheobase.wiring import Wiring

Scale = Literal["mean", "paper"]


def checked_scale(scale: Scale) -> Scale:
    if scale not in ("mean", "paper"):
        raise ValueError(f'Expected scale "mean" or "paper", got {scale!r}.')
    return scale


@dataclass(frozen=True)
class Online:
    """One backward pass per learning step, the state detached in between.

        grad W = sum over learning steps t, over terms j, of weight * vjp_W(pre_j[t], delta[t] * post_j[t])

    eligibility: the factors pre_j and post_j. signal: where delta comes from. schedule: which steps learn.
    average: what the summed loss is divided by: the number of "learning" steps, of "all" steps, or "nothing".
    chunk: steps computed together; the gradient is the same, the memory grows with it. "auto" or a memory size as in
        `BPTT`.

    Any combination is a rule; `SLTT`, `OTTT` and `STLLR` are the published ones.

    Memory: one step (`chunk` steps). Time: T forward, one backward per learning step.
    """

    eligibility: Eligibility = Instantaneous()
    signal: Signal = Backprop()
    schedule: Schedule = EveryStep()
    average: Literal["learning", "all", "nothing"] = "learning"
    chunk: Chunk = 1

    def __post_init__(self) -> None:
        checked_chunk(self.chunk)
        if self.average not in ("learning", "all", "nothing"):
            raise ValueError(f'Expected average "learning", "all" or "nothing", got {self.average!r}.')

    @property
    def exact(self) -> BPTT:
        return BPTT()

    def backward(
        self,
        model: nn.Module,
        xs: Tensor | Iterable[Tensor],
        target: Target,
        *,
        loss: Loss,
        after_step: Callable[[], None] | None = None,
        backward: Backward = Tensor.backward,
    ) -> Result:
        require_learning(model)
        refuse_sequence_norms(model, self)
        if after_step is not None and self.chunk not in (1, None):
            raise ValueError(
                f"after_step changes the weights at each learning step, which needs chunk=1, got {self.chunk}."
            )
        feed = Feed(xs, target)
        pace = Pace(model, self.chunk)
        learns, count = self.schedule.draw(feed.steps)
        divisor = {"learning": count, "all": feed.steps, "nothing": 1}[self.average]
        if divisor is not None:
            return self._backward(model, feed, pace, target, learns, 1 / divisor, loss, after_step, backward)
        if after_step is not None:
            raise ValueError(
                "A sequence of unknown length cannot be averaged before it ends, and after_step wants the gradient "
                'of each step at once: pass a list of steps, or take a rule with average="nothing": '
                'rheobase.Online(average="nothing"), or STLLR(scale="paper").'
            )
        seen = 0

        def counted(output: Tensor, goal: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            return loss(output, goal)

        with gradients_scaled(model, lambda: 1 / seen):
            return self._backward(model, feed, pace, target, learns, 1.0, counted, None, backward)

    def _backward(
        self,
        model: nn.Module,
        feed: Feed,
        pace: Pace,
        target: Target,
        learns: Learns,
        weight: float,
        loss: Loss,
        after_step: Callable[[], None] | None,
        backward: Backward,
    ) -> Result:
        treatment = self.eligibility.treatment(model)
        path = self.signal.start(target, weight)
        steady = feed.is_steady and after_step is None
        outputs = Outputs(feed.steps)
        lost: Tensor | None = None
        done = learned = 0
        with Sweep(model, steps=feed.steps, treatment=treatment, cut=True, learns=True) as sweep:
            sweep.tap = path.hidden
            while True:
                # The first step then runs alone: it shows which neuron each synapse feeds.
                sweep.wiring = Wiring() if treatment.asks_wiring and done == 0 else None
                size = 1 if sweep.wiring else _span(done, pace.steps(sweep) or 1, feed.steps, learns)
                xs = feed.take(size)
                if xs is None:
                    break
                learning = learns(done)
                with torch.set_grad_enabled(learning):
                    output = sweep.forward(xs, steady=steady)
                    if sweep.wiring:
                        treatment.wired(sweep, sweep.wiring)
                    if learning:
                        joined = path.join(output, done)
                        require_gradient(joined)
                        total = weight * summed_loss(loss, joined, target, done)
                if learning:
                    send_back(path.root(total), backward)
                    lost = total.detach() / weight if lost is None else lost.add_(total.detach(), alpha=1 / weight)
                    learned += len(xs)
                treatment.chunk_done()
                outputs.add(output)
                done += len(xs)
                if learning and after_step is not None:
                    sweep.settle()
                    after_step()
            treatment.settle()
            sweep.settle()
        assert lost is not None  # a schedule has at least one learning step
        return Result(lost / learned, outputs.stacked())


def _span(first: int, size: int, steps: int | None, learns: Learns) -> int:
    """How many steps from `first` on, at most `size`, all learn or all do not."""
    last = first + size if steps is None else min(first + size, steps)
    count = 1
    while first + count < last and learns(first + count) == learns(first):
        count += 1
    return count


class NamedOnline(ABC):
    """An online rule with a name: a frozen dataclass whose settings choose the parts of `Online`."""

    @property
    @abstractmethod
    def online(self) -> Online:
        """The rule in its parts."""

    @property
    def exact(self) -> BPTT:
        return self.online.exact

    def backward(
        self,
        model: nn.Module,
        xs: Tensor | Iterable[Tensor],
        target: Target,
        *,
        loss: Loss,
        after_step: Callable[[], None] | None = None,
        backward: Backward = Tensor.backward,
    ) -> Result:
        """See `rheobase.rules.rule.Rule.backward`."""
        return self.online.backward(model, xs, target, loss=loss, after_step=after_step, backward=backward)

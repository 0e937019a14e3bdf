"""Backpropagation through time: exact, checkpointed, truncated."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32
from rheobase.chunks import Chunk, Pace, checked_chunk
from rheobase.engine import Sweep
from rheobase.rules.replay import checkpointed
from rheobase.rules.rule import (
    Backward,
    Loss,
    Result,
    refuse_sequence_norms,
    require_gradient,
    require_learning,
    send_back,
    summed_loss,
)
from rheobase.sequence import Feed, Outputs, PerStep, Target


@dataclass(frozen=True)
class BPTT:
    """Backpropagation through time: the exact gradient of the surrogate network.

        e[t] = delta[t] * slope[t] + eps[t] * e[t+1],  grad W = sum_t e[t]^T x[t]

    objective: "each_step" is the loss of every step, averaged over T; "mean_output" the loss of the mean output.
    checkpoint: steps between kept states; True means sqrt(2 T). What lies between is computed again in the backward
        pass, but for the last of them: the same gradient, with T / checkpoint states and `checkpoint` steps of
        activations in memory.
    chunk: steps computed together. "auto" or a size such as "64MiB": as many as keep each layer's currents within
        that (32 MiB).

    Memory: T steps. Time: forward and backward of T steps, checkpointed T - `checkpoint` steps forward more.
    """

    objective: Literal["each_step", "mean_output"] = "each_step"
    checkpoint: int | bool | None = None
    chunk: Chunk = "auto"

    def __post_init__(self) -> None:
        checked_chunk(self.chunk)
        if self.objective not in ("each_step", "mean_output"):
            raise ValueError(f'Expected objective "each_step" or "mean_output", got {self.objective!r}.')
        if self.checkpoint is False or (self.checkpoint is not None and self.checkpoint < 1):
            raise ValueError(f"Expected checkpoint >= 1 steps, True or None, got {self.checkpoint}.")

    @property
    def exact(self) -> "BPTT":
        return self

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
        if self.objective == "mean_output" and isinstance(target, PerStep):
            raise ValueError('objective="mean_output" has one output for all steps: it cannot have PerStep targets.')
        feed = Feed(xs, target)

        def objective(outputs: Tensor) -> Tensor:
            if self.objective == "mean_output":
                return summed_loss(loss, at_least_float32(outputs).mean(0, keepdim=True), target, 0)
            return summed_loss(loss, outputs, target, 0) / len(outputs)

        if self.checkpoint is not None:
            refuse_sequence_norms(model, self)
            if feed.steps is None:
                whole = feed.take(None)
                assert whole is not None
                feed = Feed(whole, target)
            assert feed.steps is not None
            segment = math.isqrt(2 * feed.steps - 1) + 1 if self.checkpoint is True else int(self.checkpoint)
            pace = Pace(model, self.chunk, default=segment)
            result = checkpointed(model, feed, segment, pace, objective, backward)
        else:
            with Sweep(model, steps=feed.steps, learns=True, packs=True) as sweep:
                pace = Pace(model, self.chunk)
                parts = []
                for part in pace.chunks(feed, sweep):
                    sweep.steps = len(part) if pace.steps(sweep) is None else sweep.steps
                    parts.append(sweep.forward(part, steady=feed.is_steady))
                outputs = torch.cat(parts)
                require_gradient(outputs)
                total = objective(outputs)
                send_back(total, backward)
                sweep.settle()
            result = Result(total.detach(), outputs.detach())
        if after_step is not None:
            after_step()
        return result


@dataclass(frozen=True)
class TruncatedBPTT:
    """Backpropagation through time, cut every `horizon` steps.

    The state that enters a window is detached, so no gradient crosses its border.

    horizon: steps per window, at least 1.
    chunk: steps computed together, the window by default (None); "auto" or a memory size as in `BPTT`.

    Memory: `horizon` steps, whatever T. Time: as BPTT.
    Equals: SLTT at horizon=1, BPTT at horizon >= T.
    """

    horizon: int
    chunk: Chunk = None

    def __post_init__(self) -> None:
        checked_chunk(self.chunk)
        if self.horizon < 1:
            raise ValueError(f"Expected horizon >= 1 steps, got {self.horizon}.")
        if isinstance(self.chunk, int) and not 1 <= self.chunk <= self.horizon:
            raise ValueError(f"Expected 1 <= chunk <= horizon = {self.horizon}, got chunk={self.chunk}.")

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
        feed = Feed(xs, target)
        if feed.steps is None:
            raise ValueError("TruncatedBPTT averages over T and needs to know it: pass a tensor or a list of steps.")
        outputs, total = Outputs(feed.steps), torch.zeros(())
        with Sweep(model, steps=feed.steps, learns=True, packs=True) as sweep:
            done, pace = 0, Pace(model, self.chunk, default=self.horizon)
            while (window := feed.take(self.horizon)) is not None:
                steady = feed.is_steady and after_step is None
                output = torch.cat([sweep.forward(part, steady=steady) for part in pace.parts(window, sweep)])
                require_gradient(output)
                part_loss = summed_loss(loss, output, target, done) / feed.steps
                send_back(part_loss, backward)
                sweep.detach()
                total = total.to(part_loss) + part_loss.detach()
                outputs.add(output)
                done += len(window)
                if after_step is not None:
                    sweep.settle()
                    after_step()
            sweep.settle()
        return Result(total, outputs.stacked())

"""Sequences and targets: time first, checked before anything is computed."""

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.explained import explained


def constant(x: Tensor, steps: int) -> Tensor:
    """`x` `[N, ...]` at each of `steps` steps: a view `[steps, N, ...]` without a copy.

    Rules and `run` know such a view and compute what comes before the first neuron once for all steps.
    """
    if steps < 1:
        raise ValueError(f"Expected at least 1 step, got {steps}.")
    return x.unsqueeze(0).expand(steps, *x.shape)


class PerStep(NamedTuple):
    """A target of its own for each step, `[T, N, ...]`.

    A named tuple: Lightning, Fabric, Accelerate and DistributedDataParallel move and cast the tensors within those.
    """

    targets: Tensor


Target = Tensor | PerStep


def target_at(target: Target, t: int) -> Tensor:
    """The target of step t, `[N, ...]`."""
    return target.targets[t] if isinstance(target, PerStep) else target


class Outputs:
    """The outputs of a sequence, chunk by chunk: written into one tensor where the number of steps is known."""

    def __init__(self, steps: int | None) -> None:
        self._steps, self._done = steps, 0
        self._whole: Tensor | None = None
        self._parts: list[Tensor] = []

    def add(self, part: Tensor) -> None:
        """part: the next steps `[c, N, ...]`."""
        part = part.detach()
        if self._steps is None or len(part) == self._steps:
            self._parts.append(part)
            return
        if self._whole is None:
            self._whole = part.new_empty(self._steps, *part.shape[1:])
        self._whole[self._done : self._done + len(part)] = part
        self._done += len(part)

    def stacked(self) -> Tensor:
        """All of them, `[T, N, ...]`."""
        if self._whole is not None:
            return self._whole
        return self._parts[0] if len(self._parts) == 1 else torch.cat(self._parts)


class Feed:
    """A sequence, given chunk by chunk.

    xs: a tensor `[T, N, ...]` or any iterable of steps `[N, ...]`, which is consumed as it comes.

    Raises TypeError or ValueError for what is no finite, time-first, floating sequence that fits the target.
    """

    def __init__(self, xs: Tensor | Iterable[Tensor], target: Target | None = None) -> None:
        self.target = target
        self.steps: int | None = len(xs) if isinstance(xs, Sized) else None
        self.is_steady = False
        self._done = 0
        self._step_shape: torch.Size | None = None
        self._tensor: Tensor | None = None
        self._iterator: Iterator[Tensor] = iter(())
        if isinstance(xs, Tensor):
            if xs.dim() < 2:
                raise explained(ValueError(f"Expected a sequence [T, N, ...], got shape {list(xs.shape)}."), "layout")
            self.is_steady = len(xs) > 1 and xs.stride(0) == 0
            self._tensor = xs
            if len(xs):
                self._check(xs[:1] if self.is_steady else xs)
        elif isinstance(xs, Iterable):
            self._iterator = iter(xs)
        else:
            raise explained(
                TypeError(f"Expected a tensor [T, N, ...] or an iterable of steps [N, ...], got {type(xs).__name__}."),
                "layout",
            )
        if self.steps == 0:
            raise ValueError("Expected at least one step, got an empty sequence (T = 0).")
        if isinstance(target, PerStep) and self.steps is not None and len(target.targets) != self.steps:
            raise explained(
                ValueError(
                    f"Expected one target per step, T = {self.steps}, got PerStep targets of shape "
                    f"{list(target.targets.shape)}."
                ),
                "layout",
            )

    def take(self, count: int | None) -> Tensor | None:
        """The next `count` steps `[c, N, ...]`, fewer at the end, None after it. count None: all that are left."""
        if self._tensor is not None:
            stop = self.steps if count is None else self._done + count
            taken = self._tensor[self._done : stop]
        else:
            steps = list(itertools.islice(self._iterator, count))
            for step in steps:
                if not isinstance(step, Tensor) or step.dim() < 1:
                    raise TypeError(f"Expected each step to be a tensor [N, ...], got {type(step).__name__}.")
                self._check(step.unsqueeze(0))
            taken = torch.stack(steps) if len(steps) > 1 else steps[0].unsqueeze(0) if steps else torch.empty(0)
        self._done += len(taken)
        if self._done == 0:
            raise ValueError("Expected at least one step, got an empty sequence (T = 0).")
        return taken if len(taken) else None

    def _check(self, xs: Tensor) -> None:
        if not xs.is_floating_point():
            raise explained(
                TypeError(
                    f"Expected a floating-point sequence, got {xs.dtype}: convert it, for instance with `xs.float()`."
                ),
                "layout",
            )
        if xs[0].numel() == 0:
            raise ValueError(f"Expected steps with at least one sample and one value, got shape {list(xs.shape)}.")
        if self._step_shape is None:
            self._step_shape = xs.shape[1:]
            self._check_target(xs)
        if xs.shape[1:] != self._step_shape:
            raise ValueError(f"Expected every step of shape {list(self._step_shape)}, got {list(xs.shape[1:])}.")
        if not is_finite(xs):
            raise explained(ValueError("Expected finite input, got NaN or infinity in the sequence."), "layout")

    def _check_target(self, xs: Tensor) -> None:
        if self.target is None:
            return
        per_step = isinstance(self.target, PerStep)
        targets = self.target.targets if isinstance(self.target, PerStep) else self.target
        if not isinstance(targets, Tensor) or targets.dim() < (2 if per_step else 1):
            raise explained(
                TypeError("Expected a target tensor [N, ...], or PerStep of a tensor [T, N, ...]."), "layout"
            )
        found = targets.shape[1] if per_step else len(targets)
        if found != xs.shape[1]:
            first = self.steps if self.steps is not None else len(xs)
            swap = " Batch-first data needs `xs.transpose(0, 1)`." if found == first else ""
            raise explained(
                ValueError(
                    f"Expected a time-first sequence [T, N, ...] with N = {found} targets, got steps of shape "
                    f"{list(xs.shape[1:])}, T = {first}.{swap}"
                ),
                "layout",
            )
        if targets.is_floating_point() and not is_finite(targets):
            raise ValueError("Expected a finite target, got NaN or infinity.")


def is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; each is looked at only where their sum is not finite."""
    total = values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
    return bool(torch.isfinite(total)) or bool(torch.isfinite(values).all())  # finite values may add up to infinity

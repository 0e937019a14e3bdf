"""The memory that a batch needs under a rule, foretold from a few of its samples."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from rheobase.allocations import allocations, most_of, peak_bytes, quiet_stderr
from rheobase.aside import RandomStates
from rheobase.chunks import budget, few_steps, sequence_norms
from rheobase.engine import Sweep
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target, constant
from rheobase.training.anomalies import aside
from rheobase.training.free_memory import let_go

DENSE = 16  # a probe is this many times smaller than the batch
_SHORT = 64  # steps up to which a sequence is measured as it is
_GRID = tuple(2 ** (place / 4) for place in range(97))  # samples at which a need is known, 1 to 2^24


@dataclass(frozen=True)
class Need:
    """What batches take: bytes beyond model and data, or seconds. Convex in their samples, and given at `_GRID`."""

    table: tuple[float, ...]

    @classmethod
    def line(cls, fixed: float, per_sample: float) -> "Need":
        return cls(tuple(fixed + per_sample * samples for samples in _GRID))

    def at(self, samples: int) -> float:
        place = max(i for i, known in enumerate(_GRID[:-1]) if known <= samples)
        left, right = _GRID[place : place + 2]
        return self.table[place] + (self.table[place + 1] - self.table[place]) * (samples - left) / (right - left)

    def samples_within(self, limit: float) -> int:
        """How many fit, at least 0."""
        low, high = 0, int(_GRID[-1])
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.at(middle) <= limit else (low, middle - 1)
        return low

    def plus(self, fixed: float, per_sample: float) -> "Need":
        return Need(tuple(n + fixed + per_sample * x for n, x in zip(self.table, _GRID, strict=True)))

    def towards(self, other: "Need", share: float) -> "Need":
        """This at share 0, `other` at 1, and on along the same line."""
        return Need(tuple(a + share * (b - a) for a, b in zip(self.table, other.table, strict=True)))


def need(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, *, batch_size: int | None = None
) -> Need | None:
    """What batches like this one need under `rule`, measured on a few of its samples; None if even those do not fit.

    batch_size: samples of the batches in question; as many as in xs by default. Chunks are as long as for these. Where
        xs has too few to measure, they are repeated.

    Two small batches are measured at each of their allocations, and each of these is foretold, so that the largest sum
    may come at another moment for large batches than for small ones. Long sequences of a rule whose memory grows evenly
    with the steps are foretold from two short ones.
    The model keeps no trace of it. Raises what the rule raises for a model that it cannot train.
    """
    samples = batch_size or xs.shape[1]
    paced = Paced.of(model, rule, xs, samples)
    for small in dict.fromkeys((max(2, samples // DENSE), 2)):
        most = max(samples, xs.shape[1])
        sizes = min(small, most), min(2 * small, most)
        try:
            return over_steps(paced, len(xs), partial(_of_steps, model, paced, xs, target, loss, sizes))
        except (RuntimeError, MemoryError) as error:  # where memory is short, libraries fail in many words
            let_go(error, xs.device)
    return None


@dataclass(frozen=True)
class Paced:
    """A rule that takes as many steps together of a few samples as it takes of the batch in question.

    steps: in a chunk; None where that does not hang on the samples. width: bytes of the widest layer at one step of one
        sample.
    """

    rule: Rule
    steps: int | None = None
    width: int = 0

    @classmethod
    def of(cls, model: nn.Module, rule: Rule, xs: Tensor, samples: int) -> "Paced":
        own = knobs(rule)
        chunk = own.get("chunk", 1)
        if isinstance(chunk, int) or sequence_norms(model) or (chunk is None and "horizon" in own):
            return cls(rule)
        few = min(2, xs.shape[1])
        with torch.no_grad(), aside(model, RandomStates(xs.device)), Sweep(model, steps=1) as sweep:
            sweep.forward(xs[:1, :few])
        width = sweep.widest // few
        sweep.widest = width * samples
        steps = few_steps(model, None).steps(sweep) if chunk is None else budget(str(chunk)) // sweep.widest
        return cls(rule, max(1, steps or 1), width)

    def with_samples(self, count: int) -> Rule:
        if self.steps is None:
            return self.rule
        return replace(self.rule, chunk=f"{self.steps * self.width * count}B")  # type: ignore[type-var]


def over_steps(paced: Paced, steps: int, measured: Callable[[int], Need]) -> Need:
    """`measured(steps)`, or what two shorter sequences, of whole chunks, say of it."""
    own = knobs(paced.rule)
    counts = [paced.steps, *(own.get(name) for name in ("chunk", "checkpoint", "horizon", "last"))]
    longest = max([_SHORT // 4, *(count for count in counts if isinstance(count, int))])
    short, longer = 2 * longest, 3 * longest
    is_even = own.get("checkpoint") is not True and not any(own.get(name) for name in ("at", "steps", "schedule"))
    if steps <= max(_SHORT, longer) or not is_even:
        return measured(steps)
    return measured(short).towards(measured(longer), (steps - short) / (longer - short))


def _of_steps(
    model: nn.Module, paced: Paced, xs: Tensor, target: Target, loss: Loss, sizes: tuple[int, int], steps: int
) -> Need:
    """Of the first steps, by two batches of such sizes."""
    calls = [
        learning(model, paced.with_samples(size), *of_samples(xs[:steps], target, size), loss, size) for size in sizes
    ]
    with aside(model, RandomStates(xs.device)):
        calls[0]()  # makes what is made once
    first, second = (_changes(model, call, xs.device) for call in calls)
    if sizes[0] == sizes[1]:
        return Need.line(most_of(first), 0.0)
    if [size > 0 for size in first] != [size > 0 for size in second]:  # not the same operations: the peaks are known
        first, second = [most_of(first)], [most_of(second)]
    sums = torch.tensor([first, second], dtype=torch.float64).cumsum(1)
    slopes = (sums[1] - sums[0]) / (sizes[1] - sizes[0])
    fixed = sums[0] - slopes * sizes[0]
    return Need(tuple(max(0.0, float((fixed + slopes * samples).max())) for samples in _GRID))


def _changes(model: nn.Module, call: Callable[[], object], device: torch.device) -> list[int]:
    """What `call` allocates and releases; on a GPU, whose allocator tells no more, its peak."""
    with aside(model, RandomStates(device)), quiet_stderr():
        return [peak_bytes(call, device)] if device.type == "cuda" else allocations(call)


def learning(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, samples: int
) -> Callable[[], object]:
    """What learns from the first samples of the sequence, in memory as a batch of so many would be."""
    goal = PerStep(target.targets[: len(xs), :samples]) if isinstance(target, PerStep) else target[:samples]
    is_steady = len(xs) > 1 and xs.stride(0) == 0
    few = constant(xs[0, :samples].contiguous(), len(xs)) if is_steady else xs[:, :samples].contiguous()
    return lambda: rule.backward(model, few, goal, loss=loss)


def of_samples(xs: Tensor, target: Target, count: int) -> tuple[Tensor, Target]:
    """The sequence and its target with `count` samples, repeated where there are fewer."""
    chosen = torch.arange(count, device=xs.device) % xs.shape[1]
    is_steady = len(xs) > 1 and xs.stride(0) == 0
    goal = PerStep(target.targets[:, chosen]) if isinstance(target, PerStep) else target[chosen]
    return constant(xs[0, chosen], len(xs)) if is_steady else xs[:, chosen], goal


def knobs(rule: Rule) -> dict[str, object]:
    """The rule's options as they are, by name."""
    return {field.name: vars(rule)[field.name] for field in fields(rule)} if is_dataclass(rule) else {}

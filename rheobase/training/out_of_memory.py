"""When a batch does not fit into memory: what it needs, and what would fit."""

import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates
from rheobase.chunks import budget, few_steps, sequence_norms
from rheobase.engine import Sweep
from rheobase.processes import apart
from rheobase.rules import RULES
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target
from rheobase.training.anomalies import aside
from rheobase.training.experiment import rule_text
from rheobase.training.free_memory import free_bytes, let_go

_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "could not create a primitive",
    "std::bad_alloc",
)
_SHARE = 0.7  # of the free memory is counted on: the rest goes to gaps between blocks and to what is not measured
_LEAST = 64 * 2**20  # with less, libraries crash where they cannot allocate
_DENSE = 16  # a probe is this many times smaller than the batch


class OutOfMemory(RuntimeError):  # noqa: N818
    """A batch did not fit into memory; says what would."""


@dataclass(frozen=True)
class Need:
    """The bytes that one batch takes at most, beyond model and data, as a line through two measurements."""

    fixed: float
    per_sample: float

    def at(self, samples: int) -> float:
        return self.fixed + self.per_sample * samples

    def samples_within(self, limit: float) -> int:
        """How many fit, at least 0."""
        return max(0, int((limit - self.fixed) / self.per_sample)) if self.per_sample > 0 else 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had, on the CPU or on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def need(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss) -> Need | None:
    """What batches like this one need under `rule`, measured on a few of its samples; None if even those do not fit.

    The model keeps no trace of it. Raises what the rule raises for a model that it cannot train.
    """
    paced, samples = _paced(model, rule, xs), xs.shape[1]
    for small in dict.fromkeys((max(2, samples // _DENSE), 2)):
        small, large = min(small, samples), min(2 * small, samples)
        try:
            with aside(model, RandomStates(xs.device)):
                _learning(model, paced, xs, target, loss, small)()  # makes what is made once
            first, second = (_peak(model, paced, xs, target, loss, count) for count in (small, large))
        except (RuntimeError, MemoryError) as error:  # where memory is short, libraries fail in many words
            let_go(error, xs.device)
        else:
            slope = (second - first) / (large - small) if large > small else 0.0
            return Need(first - slope * small, slope)
    return None


def what_would_fit(
    model: nn.Module,
    rule: Rule,
    xs: Tensor,
    target: Target,
    loss: Loss,
    error: BaseException | None = None,
    limit_bytes: int | None = None,
) -> str:
    """What this batch needs under `rule`, and what fits, best first, as text.

    error: the one that was raised; what it holds is freed first.
    limit_bytes: what may be allocated; measured without.
    """
    let_go(error, xs.device)
    free = free_bytes(xs.device)
    if limit_bytes is None and free is not None and free < _LEAST:
        return (
            f"Out of memory: {_size(free)} are free, too little to measure what would fit. Try, best first, "
            "bptt(checkpoint=True), sltt, a smaller batch."
        )
    with apart():
        return _report(model, rule, xs, target, loss, free if limit_bytes is None else limit_bytes)


def _report(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, free: int | None) -> str:
    samples, usual = xs.shape[1], need(model, rule, xs, target, loss)
    batch = f"a batch of {samples} samples, {len(xs)} steps each"
    have = "nobody knows how much is free" if free is None else f"{_size(free)} are free"
    if usual is None:
        head = f"Out of memory: {batch}; {have}, and not even {min(2, samples)} samples fit under {rule_text(rule)}."
    else:
        head = f"Out of memory: {batch}, needs about {_size(usual.at(samples))} under {rule_text(rule)}; {have}."
    most = None if free is None else _SHARE * free
    fitting = list(_fitting(model, rule, usual, xs, target, loss, most))
    if not fitting:
        return f"{head} Nothing tried fits: take a smaller model, fewer steps, or a machine with more memory."
    return "\n  ".join([f"{head} What would fit, best first:", *fitting])


def _fitting(
    model: nn.Module, rule: Rule, usual: Need | None, xs: Tensor, target: Target, loss: Loss, most: float | None
) -> Iterator[str]:
    samples, has_exact = xs.shape[1], False
    for other, is_exact, remark in _alternatives(model, rule):
        if is_exact and has_exact:
            continue  # those that follow are slower
        try:
            found = need(model, other, xs, target, loss)
        except (ValueError, TypeError):
            continue  # the rule cannot train this model
        size = math.inf if found is None else found.at(samples)
        if size > (math.inf if most is None else most) or (usual is not None and size >= usual.at(samples)):
            continue
        has_exact = has_exact or is_exact
        yield f"{_flags(other, rule)}: about {_size(size)}; {remark}"
    if usual is not None:
        # Where it should have fitted, by what is known, half of it may.
        largest = samples // 2 if most is None or usual.at(samples) <= most else usual.samples_within(most)
        if largest:
            yield f"--batch-size {largest}: about {_size(usual.at(largest))}; the largest batch for this rule"


def _alternatives(model: nn.Module, rule: Rule) -> Iterator[tuple[Rule, bool, str]]:
    """Other rules with less memory, the best first, whether they give the same gradient, and what to say of each."""
    knobs = _knobs(rule)
    if knobs.get("chunk", 1) not in (1, None, "auto") and not sequence_norms(model):
        yield replace(rule, chunk=1), True, "the same gradient in smaller pieces"  # type: ignore[type-var]
    if "checkpoint" in knobs and knobs["checkpoint"] is None:
        again = replace(rule, checkpoint=True)  # type: ignore[type-var]
        yield again, True, "the same gradient, with most of the forward pass made twice"
        yield replace(again, chunk=1), True, "the same gradient, in smaller pieces and twice"  # type: ignore[type-var]
    local = RULES["sltt"]()
    if local != rule:
        yield local, False, "one step's memory; the gradient leaves out what a step does to later ones"


def _knobs(rule: Rule) -> dict[str, object]:
    return {field.name: vars(rule)[field.name] for field in fields(rule)} if is_dataclass(rule) else {}


def _own_chunk(rule: Rule) -> object:
    """The chunk that the rule has where none is given."""
    return next((field.default for field in fields(rule) if field.name == "chunk"), None)  # type: ignore[arg-type]


def _flags(rule: Rule, before: Rule) -> str:
    """What turns a run with the rule `before` into one with `rule`, on the command line."""
    chunk, own = _knobs(rule).get("chunk"), _own_chunk(rule)
    was_given = "chunk" in _knobs(before) and _knobs(before)["chunk"] != _own_chunk(before)
    if not isinstance(chunk, int) or not (chunk != own or was_given):
        return f"--rule {shlex.quote(rule_text(rule))}"
    return f"--rule {shlex.quote(rule_text(replace(rule, chunk=own)))} --chunk {chunk}"  # type: ignore[type-var]


def _learning(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, samples: int
) -> Callable[[], object]:
    """What learns from the first samples of the batch."""
    goal = PerStep(target.targets[:, :samples]) if isinstance(target, PerStep) else target[:samples]
    return lambda: rule.backward(model, xs[:, :samples], goal, loss=loss)


def _peak(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, samples: int) -> int:
    from rheobase.measure.memory import peak_bytes, quiet_stderr  # imports training

    with aside(model, RandomStates(xs.device)), quiet_stderr():
        return peak_bytes(_learning(model, rule, xs, target, loss, samples), xs.device)


def _paced(model: nn.Module, rule: Rule, xs: Tensor) -> Rule:
    """The rule with as many steps in a chunk as it takes of the whole batch: of a few samples it would take more."""
    chunk = _knobs(rule).get("chunk", 1)
    if isinstance(chunk, int) or sequence_norms(model) or (chunk is None and "horizon" in _knobs(rule)):
        return rule
    few = min(2, xs.shape[1])
    with torch.no_grad(), aside(model, RandomStates(xs.device)), Sweep(model, steps=1) as sweep:
        sweep.forward(xs[:1, :few])
    sweep.widest = sweep.widest * xs.shape[1] // few
    steps = few_steps(model, None).steps(sweep) or 1 if chunk is None else max(1, budget(str(chunk)) // sweep.widest)
    most = _knobs(rule).get("horizon", len(xs))
    assert isinstance(most, int)
    return replace(rule, chunk=min(steps, most))  # type: ignore[type-var]


def _size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"

"""When a batch does not fit into memory: what it needs, and what would fit."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

import torch
from torch import Tensor, nn

from rheobase.aside import RandomStates, buffers_kept
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
    "std::bad_alloc",
)
_SHARE = 0.9  # of the free memory is counted on: the rest goes to what is not measured, and to gaps
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
            _peak(model, paced, xs, target, loss, small)  # makes what is made once
            first, second = (_peak(model, paced, xs, target, loss, count) for count in (small, large))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
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
    free = free_bytes(xs.device) if limit_bytes is None else limit_bytes
    with apart():
        return _report(model, rule, xs, target, loss, free)


def _report(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, free: int | None) -> str:
    samples, usual = xs.shape[1], need(model, rule, xs, target, loss)
    batch = f"a batch of {samples} samples, {len(xs)} steps each"
    have = "unknown" if free is None else f"{_size(free)} free"
    if usual is None:
        head = f"Out of memory: {batch}; with {have} not even {min(2, samples)} samples fit under {rule_text(rule)}."
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
    samples = xs.shape[1]
    for other, remark in _alternatives(model, rule):
        try:
            found = need(model, other, xs, target, loss)
        except (ValueError, TypeError):
            continue  # the rule cannot train this model
        if found is None:
            continue
        size = found.at(samples)
        if most is None or size <= most:
            yield f"{_flags(other)}: about {_size(size)}; {remark}"
        elif usual is None and (count := found.samples_within(most)):
            yield f"{_flags(other)} with a batch of {count}: about {_size(found.at(count))}; {remark}"
    if usual is None:
        return
    largest = samples // 2 if most is None else min(usual.samples_within(most), samples - 1)
    if largest:
        yield f"--batch-size {largest}: about {_size(usual.at(largest))}; the largest batch for this rule"


def _alternatives(model: nn.Module, rule: Rule) -> Iterator[tuple[Rule, str]]:
    """Other rules with less memory, the best first, and what is to be said of each."""
    slower = "the same gradient, computed in smaller pieces"
    if _knobs(rule).get("chunk", 1) != 1 and not sequence_norms(model):
        yield replace(rule, chunk=1), slower  # type: ignore[type-var]
    if "checkpoint" in _knobs(rule) and _knobs(rule)["checkpoint"] is None:
        yield replace(rule, checkpoint=True), "the same gradient, with a second forward pass"  # type: ignore[type-var]
        yield replace(rule, checkpoint=True, chunk=1), "the same gradient, slower still"  # type: ignore[type-var]
    local = RULES["sltt"]()
    if local != rule:
        yield local, "memory of one step; the gradient leaves out how steps act on later ones"


def _knobs(rule: Rule) -> dict[str, object]:
    return {field.name: vars(rule)[field.name] for field in fields(rule)} if is_dataclass(rule) else {}


def _flags(rule: Rule) -> str:
    text = rule_text(rule)
    return f'--rule "{text}"' if "(" in text else f"--rule {text}"


def _peak(model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, samples: int) -> int:
    from rheobase.measure.memory import peak_bytes  # imports training

    goal = PerStep(target.targets[:, :samples]) if isinstance(target, PerStep) else target[:samples]
    with aside(model, RandomStates(xs.device)):
        return peak_bytes(lambda: rule.backward(model, xs[:, :samples], goal, loss=loss), xs.device)


def _paced(model: nn.Module, rule: Rule, xs: Tensor) -> Rule:
    """The rule with as many steps in a chunk as it takes of the whole batch: of a few samples it would take more."""
    chunk = _knobs(rule).get("chunk", 1)
    if isinstance(chunk, int) or sequence_norms(model) or (chunk is None and "horizon" in _knobs(rule)):
        return rule
    few = min(2, xs.shape[1])
    with torch.no_grad(), buffers_kept(model), Sweep(model, steps=1) as sweep:
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

"""When a batch does not fit into memory: what it needs, and what would fit."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from rheobase.chunks import sequence_norms
from rheobase.processes import apart, count
from rheobase.rules import RULES
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import Target
from rheobase.training.experiment import rule_text
from rheobase.training.free_memory import free_bytes, let_go
from rheobase.training.need import Need, knobs, need
from rheobase.units import size

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
SHARE = 0.7  # of the free memory is counted on: the rest goes to gaps between blocks and to what is not measured
_LEAST = 64 * 2**20  # with less, libraries crash where they cannot allocate


class OutOfMemory(RuntimeError):  # noqa: N818
    """A batch did not fit into memory; says what would."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had, on the CPU or on a GPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


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
            f"Out of memory: {size(free)} are free, too little to measure what would fit. Try, best first, "
            "bptt(checkpoint=True), sltt, a smaller batch."
        )
    together = count()
    with apart():
        return _report(model, rule, xs, target, loss, free if limit_bytes is None else limit_bytes, together)


def _report(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, free: int | None, together: int
) -> str:
    samples, usual = xs.shape[1], need(model, rule, xs, target, loss)
    batch = f"a batch of {samples} samples, {len(xs)} steps each"
    have = "nobody knows how much is free" if free is None else f"{size(free)} are free"
    if usual is None:
        head = f"Out of memory: {batch}; {have}, and not even {min(2, samples)} samples fit under {rule_text(rule)}."
    else:
        head = f"Out of memory: {batch}, needs about {size(usual.at(samples))} under {rule_text(rule)}; {have}."
    most = None if free is None else SHARE * free
    fitting = list(_fitting(model, rule, usual, xs, target, loss, most, together))
    if not fitting:
        return f"{head} Nothing tried fits: take a smaller model, fewer steps, or a machine with more memory."
    return "\n  ".join([f"{head} What would fit, best first:", *fitting])


def _fitting(
    model: nn.Module,
    rule: Rule,
    usual: Need | None,
    xs: Tensor,
    target: Target,
    loss: Loss,
    most: float | None,
    together: int,
) -> Iterator[str]:
    """together: the processes that share a batch, of which xs is this one's part."""
    samples, has_exact = xs.shape[1], False
    for other, is_exact, remark in _alternatives(model, rule):
        if is_exact and has_exact:
            continue  # those that follow are slower
        try:
            found = need(model, other, xs, target, loss)
        except (ValueError, TypeError):
            continue  # the rule cannot train this model
        if found is None:
            continue
        needed = found.at(samples)
        if needed > (math.inf if most is None else most) or (usual is not None and needed >= usual.at(samples)):
            continue
        has_exact = has_exact or is_exact
        yield f"{_flags(other, rule)}: about {size(needed)}; {remark}"
    if usual is not None:
        # Where it should have fitted, by what is known, half of it may.
        largest = samples // 2 if most is None or usual.at(samples) <= most else usual.samples_within(most)
        if largest:
            yield f"--batch-size {largest * together}: about {size(usual.at(largest))}; the largest batch for this rule"


def _alternatives(model: nn.Module, rule: Rule) -> Iterator[tuple[Rule, bool, str]]:
    """Other rules with less memory, the best first, whether they give the same gradient, and what to say of each."""
    own = knobs(rule)
    if own.get("chunk", 1) not in (1, None, "auto") and not sequence_norms(model):
        yield replace(rule, chunk=1), True, "the same gradient in smaller pieces"  # type: ignore[type-var]
    if "checkpoint" in own and own["checkpoint"] is None:
        again = replace(rule, checkpoint=True)  # type: ignore[type-var]
        yield again, True, "the same gradient, with most of the forward pass made twice"
        yield replace(again, chunk=1), True, "the same gradient, in smaller pieces and twice"  # type: ignore[type-var]
    local = RULES["sltt"]()
    if local != rule:
        yield local, False, "one step's memory; the gradient leaves out what a step does to later ones"


def _own_chunk(rule: Rule) -> object:
    """The chunk that the rule has where none is given."""
    return next((field.default for field in fields(rule) if field.name == "chunk"), None)  # type: ignore[arg-type]


def _flags(rule: Rule, before: Rule) -> str:
    """What turns a run with the rule `before` into one with `rule`, on the command line."""
    chunk, own = knobs(rule).get("chunk"), _own_chunk(rule)
    was_given = "chunk" in knobs(before) and knobs(before)["chunk"] != _own_chunk(before)
    if not isinstance(chunk, int) or not (chunk != own or was_given):
        return f"--rule {shlex.quote(rule_text(rule))}"
    return f"--rule {shlex.quote(rule_text(replace(rule, chunk=own)))} --chunk {chunk}"  # type: ignore[type-var]

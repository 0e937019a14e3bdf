"""Where the numbers first went wrong, in a batch whose loss or gradient is not finite."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.aside import RandomStates, buffers_kept
from rheobase.chunks import Pace, sequence_norms
from rheobase.engine import Sweep
from rheobase.norms import uses_batch_statistics
from rheobase.processes import apart
from rheobase.rules.rule import Loss, Result, Rule
from rheobase.sequence import PerStep, Target, target_at
from rheobase.training import anomaly_texts as texts
from rheobase.training.anomaly_watch import Anomaly, Watch, WatchedLoss, is_finite


class DivergedError(RuntimeError):
    """The loss or the gradient is no longer a finite number."""


def gradient_norm(model: nn.Module) -> Tensor:
    """The 2-norm of the whole gradient, a scalar: finite only if all of it is, and its square too."""
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


def bad_gradients(model: nn.Module) -> list[str]:
    """The names of the parameters whose gradient, or its square, is not finite."""
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norms = torch._foreach_norm(list(grads.values())) if grads else []
    return [name for name, norm in zip(grads, norms, strict=True) if not norm.isfinite()]


def bad_input(xs: Tensor, target: Target) -> Anomaly | None:
    """The first step at which the input or the target is not finite."""
    is_own = isinstance(target, PerStep)
    for t, x in enumerate(xs):
        if not is_finite(x):
            return Anomaly("input", None, t, texts.of_data("input", t, x))
        if (is_own or t == 0) and not is_finite(goal := target_at(target, t)):
            return Anomaly("target", None, t if is_own else None, texts.of_data("target", t if is_own else None, goal))
    return None


def first_bad(
    model: nn.Module,
    rule: Rule,
    xs: Tensor,
    target: Target,
    loss: Loss,
    *,
    alone: bool = True,
    random: RandomStates | None = None,
) -> Anomaly:
    """What went wrong first in this batch; found by running it again, of which the model keeps no trace.

    Call it under the autocast of the training, with the model in the mode of the training.

    alone: whether this is the only process. The batch is run by this one in any case, with its own statistics, so one
        of several may find nothing.
    random: as the random generators stood before the batch, for the same dropout and learning steps; as now without.
    """
    random = random or RandomStates(xs.device)
    with apart():
        return (
            bad_input(xs, target)
            or _bad_weight(model)
            or _bad_learning(model, rule, xs, target, loss, random)
            or Anomaly("loss", None, None, texts.GONE if alone else texts.ELSEWHERE)
        )


def _bad_weight(model: nn.Module) -> Anomaly | None:
    for name, p in model.named_parameters():
        if not is_finite(p):
            return Anomaly("weight", name, None, texts.of_weight("parameter", name, p))
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm) and uses_batch_statistics(module):
            continue  # its running statistics have no say in training: a bad batch spoils them, not they the batch
        for own, buffer in module.named_buffers(recurse=False):
            if not is_finite(buffer):
                name = f"{prefix}.{own}".lstrip(".")
                return Anomaly("weight", name, None, texts.of_weight("buffer", name, buffer))
    return None


def _bad_learning(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, random: RandomStates
) -> Anomaly | None:
    """Lets the rule learn again from the batch, without an effect, and looks at all it passes through."""
    watch = Watch(model, len(xs), xs.shape[1])
    watched = WatchedLoss(loss, watch)
    result: Result | None = None
    grad: Tensor | None = None
    with aside(model, random), watch.watching():
        result = rule.backward(model, xs, target, loss=watched)
        names = bad_gradients(model)
        name = watch.last_of(names) if names else ""
        grad = model.get_parameter(name).grad if names else None
    state = _bad_state(model, xs, random)
    if watch.found and state and state.kind != "potential":
        state = None  # found by the rule's own pass as well, or with dropout of another draw
    found = [anomaly for anomaly in (state, watch.found) if anomaly]
    if found:
        return min(found, key=lambda anomaly: math.inf if anomaly.step is None else anomaly.step)
    if watched.bad and result is not None:
        output, _, value = watched.bad
        step = watched.find_step(result.outputs, target)
        return Anomaly("loss", None, step, texts.of_loss(step, value, output))
    if grad is None:
        return None
    step = _learning_step(model, rule, xs, target, loss, random)
    return Anomaly("gradient", name, step, texts.of_gradient(name, step, grad, watch.neuron_after(name)))


def _bad_state(model: nn.Module, xs: Tensor, random: RandomStates) -> Anomaly | None:
    """Looks at the neurons' states as well, one step at a time, but for norms that need all steps at once."""
    with torch.no_grad(), aside(model, random), Sweep(model, steps=len(xs), cut=True) as sweep:
        watch = Watch(model, len(xs), xs.shape[1], sweep)
        with watch.watching():
            for part in Pace(model, None).parts(xs, sweep):
                sweep.forward(part)
    return watch.found


def _learning_step(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, random: RandomStates
) -> int | None:
    """The step at which an online rule's gradient first is bad; None for a rule that learns from all steps at once."""
    watch, found = Watch(model, len(xs), xs.shape[1]), list[int | None]()

    def learned() -> None:
        step = watch.learning_step()
        if not found and bad_gradients(model):
            found.append(step)

    with aside(model, random), watch.watching():
        by_steps(rule, model).backward(model, xs, target, loss=loss, after_step=learned)
    return found[0] if found else None


def by_steps(rule: Rule, model: nn.Module) -> Rule:
    """The rule with one step in a chunk, where it has chunks and the model allows it."""
    knows_chunks = is_dataclass(rule) and "chunk" in {field.name for field in fields(rule)}
    return replace(rule, chunk=1) if knows_chunks and not sequence_norms(model) else rule  # type: ignore[type-var]


@contextmanager
def aside(model: nn.Module, random: RandomStates) -> Iterator[None]:
    """Inside, the model has no gradients yet and draws the random numbers again; afterwards all is as before."""
    before = [(p, p.grad) for p in model.parameters()]
    for p, _ in before:
        p.grad = None
    try:
        with buffers_kept(model), random.again():
            yield
    finally:
        for p, grad in before:
            p.grad = grad

"""Where the numbers first went wrong, in a batch whose loss or gradient is not finite."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.aside import RandomStates, buffers_kept
from rheobase.chunks import Pace, sequence_norms
from rheobase.engine import Sweep
from rheobase.neurons import Neuron
from rheobase.norms import uses_batch_statistics
from rheobase.processes import apart
from rheobase.rules.rule import Loss, Result, Rule
from rheobase.sequence import PerStep, Target, target_at
from rheobase.training import anomaly_texts as texts

Kind = Literal["input", "target", "weight", "current", "potential", "output", "loss", "gradient"]


class DivergedError(RuntimeError):
    """The loss or the gradient is no longer a finite number."""


@dataclass(frozen=True)
class Anomaly:
    """The first value that is not finite: first in time, then in the order of the layers.

    name: of the layer, or of the parameter or buffer. step: counted from 0; None where no single step is to blame.
    text: for the user: what, where, the probable cause and what to do.
    """

    kind: Kind
    name: str | None
    step: int | None
    text: str


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
        if not _is_finite(x):
            return Anomaly("input", None, t, texts.of_data("input", t, x))
        if (is_own or t == 0) and not _is_finite(goal := target_at(target, t)):
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


def _is_finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


def _bad_weight(model: nn.Module) -> Anomaly | None:
    for name, p in model.named_parameters():
        if not _is_finite(p):
            return Anomaly("weight", name, None, texts.of_weight("parameter", name, p))
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm) and uses_batch_statistics(module):
            continue  # its running statistics have no say in training: a bad batch spoils them, not they the batch
        for own, buffer in module.named_buffers(recurse=False):
            if not _is_finite(buffer):
                name = f"{prefix}.{own}".lstrip(".")
                return Anomaly("weight", name, None, texts.of_weight("buffer", name, buffer))
    return None


class _Found(Exception):  # noqa: N818
    """Ends a run in which a value was found that is not finite."""


class _Watch:
    """Looks at what passes through a model during the first `steps` steps, `size` samples each, and ends at a bad one.

    sweep: shows the state of the neurons, too.
    order: the modules as they are first used.
    """

    def __init__(self, model: nn.Module, steps: int, size: int, sweep: Sweep | None = None) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._model, self._steps, self._size, self._sweep = model, steps, size, sweep
        self.order: dict[nn.Module, int] = {}
        self.found: Anomaly | None = None
        self.done = self._now = self._graded = 0
        self._rows: dict[nn.Module, int] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The run inside ends early, without an error, once something is found."""
        hooks = [module.register_forward_hook(self._seen) for module in self._names]
        hooks.append(self._model.register_forward_pre_hook(self._entered))
        hooks.append(self._model.register_forward_hook(self._left))
        try:
            yield
        except _Found:
            pass
        finally:
            for hook in hooks:
                hook.remove()

    def last_of(self, names: list[str]) -> str:
        """Of these parameters the one that is used last."""
        return max(names, key=self._place)

    def neuron_after(self, parameter: str) -> str | None:
        """The first layer of neurons used after the parameter."""
        place = self._place(parameter)
        return next((self._names[m] for m, p in self.order.items() if p >= place and isinstance(m, Neuron)), None)

    def _place(self, parameter: str) -> int:
        owner = parameter.rpartition(".")[0]
        return next((place for module, place in self.order.items() if self._names[module] == owner), -1)

    def learning_step(self) -> int | None:
        """The step just learned from; None if several, or their means, were."""
        graded, self._graded = self._graded, 0
        return self.done - 1 if graded == 1 and self.done <= self._steps else None

    def _entered(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._rows.clear()
        self._now = len(inputs[0]) // self._size
        self._graded += self._now if torch.is_grad_enabled() else 0

    def _left(self, *_: Any) -> None:
        self.done += self._now
        if self.found:
            raise _Found

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.done >= self._steps:  # a second pass, over means or for checkpoints
            return
        self.order.setdefault(module, len(self.order))
        before = self._rows.get(module, 0)
        for kind, value in self._values(module, inputs, output):
            if value.numel() and not _is_finite(value):
                self._note(kind, module, value, before)
                break
        if isinstance(output, Tensor) and output.dim():
            self._rows[module] = before + len(output)

    def _values(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Iterator[tuple[Kind, Tensor]]:
        if isinstance(module, Neuron):
            yield "current", inputs[0]
            for part in self._sweep.states[module] if self._sweep else ():
                yield "potential", part
        for value in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(value, Tensor):
                yield "output", value

    def _note(self, kind: Kind, module: nn.Module, value: Tensor, before: int) -> None:
        """before: rows of this chunk that the module has computed already. A state is that after the last step."""
        row = before + int(texts.rows(value).isfinite().all(1).logical_not().nonzero()[0])
        within = self._now - 1 if kind == "potential" else min(row // self._size, self._now - 1)
        step = self.done + within
        if self.found is None or (self.found.step is not None and step < self.found.step):
            name = self._names[module]
            self.found = Anomaly(kind, name, step, texts.of_layer(kind, name, module, step, value))


class _WatchedLoss:
    """A loss that remembers the first output and target that it had no finite value for.

    step: the one they belong to, where the rule learned from that step alone.
    """

    def __init__(self, loss: Loss, watch: _Watch) -> None:
        self._loss, self._watch = loss, watch
        self.bad: tuple[Tensor, Tensor, Tensor] | None = None
        self.step: int | None = None
        self._calls = 0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        self._calls += 1
        value, step = self._loss(output, target), self._watch.learning_step()
        if self.bad is None and not _is_finite(value):
            self.bad, self.step = (output.detach(), target, value.detach()), step
        return value

    def find_step(self, outputs: Tensor, target: Target) -> int | None:
        """The first step with this output and target; None for a mean over the steps."""
        assert self.bad is not None
        output, goal, _ = self.bad
        if self.step is None and self._calls > 1:
            equal = (t for t, out in enumerate(outputs) if torch.equal(out, output))
            self.step = next((t for t in equal if torch.equal(target_at(target, t), goal)), None)
        return self.step


def _bad_learning(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, random: RandomStates
) -> Anomaly | None:
    """Lets the rule learn again from the batch, without an effect, and looks at all it passes through."""
    watch = _Watch(model, len(xs), xs.shape[1])
    watched = _WatchedLoss(loss, watch)
    result: Result | None = None
    grad: Tensor | None = None
    with aside(model, random), watch.watching():
        result = rule.backward(model, xs, target, loss=watched)
        names = bad_gradients(model)
        name = watch.last_of(names) if names else ""
        grad = model.get_parameter(name).grad if names else None
    found = watch.found or _bad_state(model, xs, random)
    if found:
        return found
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
        watch = _Watch(model, len(xs), xs.shape[1], sweep)
        with watch.watching():
            for part in Pace(model, None).parts(xs, sweep):
                sweep.forward(part)
    return watch.found


def _learning_step(
    model: nn.Module, rule: Rule, xs: Tensor, target: Target, loss: Loss, random: RandomStates
) -> int | None:
    """The step at which an online rule's gradient first is bad; None for a rule that learns from all steps at once."""
    watch, found = _Watch(model, len(xs), xs.shape[1]), list[int | None]()

    def learned() -> None:
        step = watch.learning_step()
        if not found and bad_gradients(model):
            found.append(step)

    with aside(model, random), watch.watching():
        _by_steps(rule, model).backward(model, xs, target, loss=loss, after_step=learned)
    return found[0] if found else None


def _by_steps(rule: Rule, model: nn.Module) -> Rule:
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

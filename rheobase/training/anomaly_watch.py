"""Looking on while a rule learns: the first value that is not finite."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32
from rheobase.engine import Sweep
from rheobase.neurons import Neuron, State
from rheobase.rules.rule import Loss
from rheobase.sequence import Target, target_at
from rheobase.training import anomaly_texts as texts

Kind = Literal["input", "target", "weight", "current", "potential", "output", "loss", "gradient"]


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


def is_finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


class Found(Exception):  # noqa: N818
    """Ends a run in which a value was found that is not finite."""


class Watch:
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
        except Found:
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
            raise Found

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.done >= self._steps:  # a second pass, over means or for checkpoints
            return
        self.order.setdefault(module, len(self.order))
        before = self._rows.get(module, 0)
        for kind, value in self._values(module, inputs, output):
            if value.numel() and not is_finite(value):
                self._note(kind, module, value, before)
                break
        if isinstance(output, Tensor) and output.dim():
            self._rows[module] = before + len(output)

    def _values(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Iterator[tuple[Kind, Tensor]]:
        if isinstance(module, Neuron):
            yield "current", inputs[0]
            for part in self._states(module, inputs[0]):
                yield "potential", part
        for value in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(value, Tensor):
                yield "output", value

    def _states(self, neuron: Neuron, currents: Tensor) -> Iterable[Tensor]:
        """The parts of the state after each of these steps, which are all there are if there are several."""
        if self._sweep is None or len(currents) == self._size:
            return self._sweep.states[neuron] if self._sweep else ()
        after = list[State]()
        for current in at_least_float32(currents).split(self._size):
            after.append(neuron.dynamics(current, after[-1] if after else neuron.initial_state(current))[1])
        return map(torch.cat, zip(*after, strict=True))

    def _note(self, kind: Kind, module: nn.Module, value: Tensor, before: int) -> None:
        """before: rows of this chunk that the module has computed already, in recurrent layers steps of it."""
        found = texts.rows(value)
        is_part = len(found) < self._now * self._size
        each = len(found) if is_part else len(found) // self._now
        row = int((~found.isfinite().all(1)).nonzero()[0])
        within = before // self._size % self._now if is_part else min(row // each, self._now - 1)
        step = self.done + within
        if self.found is None or (self.found.step is not None and step < self.found.step):
            name, own = self._names[module], found if is_part else found[within * each : (within + 1) * each]
            self.found = Anomaly(kind, name, step, texts.of_layer(kind, name, module, step, own))


class WatchedLoss:
    """A loss that remembers the first output and target that it had no finite value for.

    step: the one they belong to, where the rule learned from that step alone.
    """

    def __init__(self, loss: Loss, watch: Watch) -> None:
        self._loss, self._watch = loss, watch
        self.bad: tuple[Tensor, Tensor, Tensor] | None = None
        self.step: int | None = None
        self._calls = 0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        self._calls += 1
        value, step = self._loss(output, target), self._watch.learning_step()
        if self.bad is None and not is_finite(value):
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

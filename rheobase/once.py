"""What does not change over a sequence is computed once: the part before the first neuron, standardised weights.

Each such value is cut from the steps that use it: they see a leaf that gathers their gradients, and `settle` sends
the sum on, in one backward pass.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32, outside_autocast


class Once:
    """One value, with the graph behind it (`value`) and the leaf that the steps use."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self.leaf = at_least_float32(value.detach()).requires_grad_(value.requires_grad)  # its gradient is a sum
        self._versions = self._now()

    @property
    def is_intact(self) -> bool:
        """Whether no step has changed the value in place."""
        return self._now() == self._versions

    def _now(self) -> tuple[int, int] | None:
        return None if self.value.is_inference() else (self.value._version, self.leaf._version)

    @property
    def gathered(self) -> Tensor:
        """The sum of the gradients at the steps, as the graph behind the value takes it."""
        assert self.leaf.grad is not None
        return self.leaf.grad.to(self.value.dtype)


class OnceStore:
    """The values of one sequence. learns: whether they are computed with their graphs."""

    def __init__(self, learns: bool) -> None:
        self._learns = learns
        self._input: Once | None = None
        self._outputs: dict[tuple[nn.Module, Once], Once] = {}
        self._weights: dict[nn.Module, Once] = {}
        self._outputs_made: list[Once] = []  # with those that a step has changed in place since
        self._given: dict[int, tuple[Tensor, int, Once]] = {}  # tensors alive in this forward, by identity; versions

    def input(self, xs: Tensor, layout: Callable[[Tensor], Tensor]) -> Tensor:
        """The folded form of an input `[c, N, ...]` that is the same at every step; layout: puts its step in order."""
        if self._input is None:
            self._input = Once(layout(xs[0]))
        return self._give(self._input, len(xs))

    def known(self, x: Tensor) -> Once | None:
        _, version, once = self._given.get(id(x)) or (None, 0, None)
        return once if once is not None and once.is_intact and x._version == version else None

    def output(self, module: nn.Module, x: Tensor, compute: Callable[[Tensor], Tensor], chunk: int) -> Tensor | None:
        """`compute` of the one step behind x, made at its first use, for `chunk` steps; None if x may change."""
        source = self.known(x)
        if source is None:
            return None
        made = self._outputs.get((module, source))
        if made is None or not made.is_intact:
            with torch.set_grad_enabled(self._learns):
                made = self._outputs[module, source] = Once(compute(source.value))
            self._outputs_made.append(made)
        return self._give(made, chunk)

    def weight(self, synapse: nn.Module, compute: Callable[[], Tensor]) -> Tensor:
        """`compute()`, made at its first use; a weight that is a parameter itself is given as it is."""
        if synapse not in self._weights:
            with torch.set_grad_enabled(self._learns):
                value = compute()
            if isinstance(value, nn.Parameter):
                return value
            self._weights[synapse] = Once(value)
        made = self._weights[synapse]
        return made.leaf.to(made.value.dtype)

    def settle(self) -> None:
        """Sends the gathered gradients on; all is computed anew afterwards."""
        # Outputs first: some were made with the weights.
        for made in (self._outputs_made, self._weights.values()):
            gathered = [once for once in made if once.leaf.grad is not None]
            if gathered:
                values = [once.value for once in gathered]
                with outside_autocast(values[0]):
                    torch.autograd.backward(values, [once.gathered for once in gathered])
        self._input = None
        self._outputs.clear()
        self._outputs_made.clear()
        self._weights.clear()

    @property
    def input_is_intact(self) -> bool:
        """Whether no step has changed the input in place."""
        return self._input is None or self._input.is_intact

    def forget_given(self) -> None:
        self._given.clear()

    def _give(self, once: Once, chunk: int) -> Tensor:
        # A concatenation keeps the memory order, which expanding and flattening does not.
        steps: Tensor = torch.cat([once.leaf] * chunk) if chunk > 1 else _Shared.apply(once.leaf, [once.leaf.detach()])
        steps = steps.to(once.value.dtype)
        self._given[id(steps)] = steps, steps._version, once
        return steps


class _Shared(torch.autograd.Function):
    """The leaf's own memory (in a list: no input of autograd's), which the model may change in place, as no leaf."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor, value: list[Tensor]) -> Tensor:  # type: ignore[override]
        return value[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None

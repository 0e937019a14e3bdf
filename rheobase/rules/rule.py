"""The contract of a learning rule, and what rules share."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from rheobase.casts import at_least_float32, outside_autocast
from rheobase.chunks import sequence_norms
from rheobase.explained import explained
from rheobase.inference import require_neurons
from rheobase.processes import require_whole
from rheobase.sequence import Target, target_at

Loss = Callable[[Tensor, Tensor], Tensor]
Backward = Callable[[Tensor], None]


class Result(NamedTuple):
    """What a rule reports of one sequence.

    loss: mean loss over the steps that learn, a detached scalar tensor.
    outputs: the model's outputs `[T, N, ...]`, detached.
    """

    loss: Tensor
    outputs: Tensor


class Rule(Protocol):
    """How the gradient of a whole sequence is found."""

    @property
    def exact(self) -> "Rule":
        """The rule that gives the exact gradient of this one's objective, to compare it with."""
        ...

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
        """Adds the rule's gradient to the `.grad` of the model's parameters, as `loss.backward()` would.

        xs: `[T, N, ...]`, time first; online rules also take any iterable of steps `[N, ...]`.
        target: `[N, ...]`, or `PerStep` of `[T, N, ...]`.
        loss: (output `[N, ...]`, target `[N, ...]`) -> scalar, the mean over the batch.
        after_step: called after each learning step, for updates within the sequence: it moves the weights and empties
            `.grad`, to which the next step would add.
        backward: stands in for `Tensor.backward`, for loss scalers.
        """
        ...


def require_learning(model: nn.Module) -> None:
    """Refuses a model without neurons or without anything to learn, and a call without autograd."""
    require_neurons(model)
    require_whole(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise explained(
            ValueError("Expected at least one parameter with requires_grad, found none: nothing would learn."),
            "nothing-learns",
        )
    if not torch.is_grad_enabled():
        raise explained(
            RuntimeError("rule.backward was called inside torch.no_grad(): call it where gradients are enabled."),
            "nothing-learns",
        )


def refuse_sequence_norms(model: nn.Module, rule: object) -> None:
    names = sequence_norms(model)
    if names:
        raise explained(
            ValueError(
                f"{type(rule).__name__} sees the steps as they come, but {', '.join(map(repr, names))} normalises over "
                "the whole sequence. Use nn.BatchNorm1d/2d, which normalises each step, or train with BPTT or RateBP."
            ),
            "sequence-norms",
        )


def summed_loss(loss: Loss, outputs: Tensor, target: Target, first: int) -> Tensor:
    """The sum of the losses of steps `first`, `first` + 1, ..., whose outputs are `[c, N, ...]`."""
    losses = [loss(output, target_at(target, first + t)) for t, output in enumerate(outputs)]
    if losses[0].dim():
        raise explained(
            ValueError(
                f"Expected the loss to return a scalar, the mean over the batch, got shape {list(losses[0].shape)}."
            ),
            "layout",
        )
    return at_least_float32(torch.stack(losses)).sum() if len(losses) > 1 else at_least_float32(losses[0])


def send_back(total: Tensor, backward: Backward) -> None:
    with outside_autocast(total):
        backward(total)


def require_gradient(outputs: Tensor) -> None:
    if not outputs.requires_grad:
        raise explained(
            RuntimeError(
                "The model's output does not depend on any parameter that learns: does it detach, or run in no_grad?"
            ),
            "nothing-learns",
        )


@contextmanager
def gradients_scaled(model: nn.Module, factor: Callable[[], float]) -> Iterator[None]:
    """The gradients gathered inside are multiplied by `factor()` at the end; those from before are kept."""
    parameters = list(model.parameters())
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    try:
        yield
    except BaseException:
        for p, old in zip(parameters, before, strict=True):
            p.grad = old
        raise
    for p, old in zip(parameters, before, strict=True):
        new = None if p.grad is None else p.grad.mul_(factor())
        p.grad = new if old is None else old if new is None else old.add_(new)

"""A model, a rule and a loss as one module, for training loops that call backward themselves."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rheobase.inference import run
from rheobase.rules.rule import Loss, Result, Rule, summed_loss
from rheobase.sequence import Target


class Learner(nn.Module):
    """A module whose output is the loss, and whose loss sends the rule's gradient to the model's parameters.

        result = learner(xs, target)
        result.loss.backward()          # adds what `rule.backward` would have added

    The rule runs in `forward`, whatever number of backward passes it needs; `loss.backward()` then hands each parameter
    its gradient once, and only then are the hooks of parameters called. So DistributedDataParallel around a learner
    reduces once for each optimiser step under any rule, and Lightning, Fabric, Accelerate and gradient accumulation
    need to know nothing of rules. The result is a named tuple, which they all look into.

    model: what learns. rule: how. loss: as in `Rule.backward`.
    scale: what a loss scaler multiplies the loss by, for float16: the rule's own passes are scaled by it, and the
        gradient handed over by what `loss.backward` is called with, so nothing small is lost on the way.

    reached: of the model's parameters with requires_grad, which ones had a gradient in this process's last call. With
        several processes the others get zeros, which an optimiser with weight decay does not pass over as it does None.

    Without autograd (`torch.no_grad`) the loss is the mean over all steps, whatever the rule, and nothing learns.
    Raises RuntimeError for a second `loss.backward()`.
    """

    def __init__(self, model: nn.Module, rule: Rule, loss: Loss, *, scale: Callable[[], float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.rule, self.loss, self._scale = rule, loss, scale
        self.reached: list[bool] = []

    def forward(self, xs: Tensor | Iterable[Tensor], target: Target) -> Result:
        """The loss, a scalar, and the outputs `[T, N, ...]`, detached, of the sequence `xs` `[T, N, ...]`."""
        if not torch.is_grad_enabled():
            outputs = run(self.model, xs)
            return Result(summed_loss(self.loss, outputs, target, 0) / len(outputs), outputs)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        factor = 1.0 if self._scale is None else self._scale()
        with _untouched(parameters):
            result = self.rule.backward(
                self.model, xs, target, loss=self.loss, backward=lambda total: (total * factor).backward()
            )
            found = [p.grad for p in parameters]
        self.reached = [grad is not None for grad in found]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Each process must take part for each parameter, also for one that no gradient reaches.
            found = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        return Result(_HandedOver.apply(result.loss, found, factor, *parameters), result.outputs)


@contextmanager
def _untouched(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Inside, the parameters have no gradient and no hooks; afterwards those from before."""
    grads = [p.grad for p in parameters]
    hooks = [(own, dict(own)) for p in parameters for own in (p._backward_hooks, p._post_accumulate_grad_hooks) if own]
    try:
        for p in parameters:
            p.grad = None
        for own, _ in hooks:
            own.clear()
        yield
    finally:
        for p, grad in zip(parameters, grads, strict=True):
            p.grad = grad
        for own, kept in hooks:
            own.update(kept)


class _HandedOver(torch.autograd.Function):
    """The loss, as if the parameters' gradients of it were those found already."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, loss: Tensor, found: list[Tensor | None], factor: float, *parameters: Tensor
    ) -> Tensor:
        ctx.found, ctx.factor = found, factor
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        if ctx.found is None:
            raise RuntimeError("The gradient of this loss was handed over already: call the learner again.")
        found, ctx.found = ctx.found, None
        given = grads[0] / ctx.factor
        return None, None, None, *(None if g is None else g.mul_(given.to(g.dtype)) for g in found)

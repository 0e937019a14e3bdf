"""A synapse whose weight is credited with traces: one forward, and in the backward pass

grad W = causal * vjp_W(trace, g) + acausal * vjp_W(x, error),   grad x = vjp_x(W, g)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from rheobase.casts import at_least_float32, outside_autocast
from rheobase.synapses import Operation


@dataclass(eq=False)
class Call:
    """One use of a synapse in one forward.

    factors: (causal, acausal), asked for in the backward pass, when the wiring is known.
    bias_trace: factor of the bias gradient, one per step of the chunk `[c]`; None for 1.
    input_trace: the same for the input, where that is constant.
    decay: of the trace, where the trace of the step before the chunk is given in place of the chunk's traces.
    skips: whether the backward pass under way only looks for this synapse's output.
    error: the non-causal error at the synapse's output, gathered before its own backward runs.
    edge: where the graph behind what the synapse gave out ends, while the chunk lasts; None for no graph.
    value: the output, where it is known already; taken by the forward.
    """

    operation: Operation
    factors: Callable[[], tuple[float, float]]
    bias_trace: Tensor | None
    skips: Callable[[], bool]
    error: Tensor | None = None
    edge: GradientEdge | None = None
    value: Tensor | None = None
    input_trace: Tensor | None = None
    decay: float | None = None

    def add_error(self, error: Tensor, offset: int = 0, steps: int = 1) -> None:
        """Adds the error of all steps, or of step `offset` of `steps`."""
        if steps == 1:
            self.error = error if self.error is None else self.error + error
            return
        if self.error is None:
            self.error = error.new_zeros(steps * len(error), *error.shape[1:])
        self.error[offset * len(error) : (offset + 1) * len(error)] += error


def edge_of(x: Tensor) -> GradientEdge | None:
    """Where x is in its graph, as it is now: what changes it in place comes after; None for no graph."""
    return get_gradient_edge(x) if x.requires_grad else None


class CreditedSynapse(torch.autograd.Function):
    """operation(x, weight) + bias; saves the trace (and x only when the non-causal term needs it)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor, keeps_x: bool, call: Call
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.call, ctx.keeps_x = call, keeps_x
        ctx.save_for_backward(weight, trace, *([x] if keeps_x else []))
        value, call.value = call.value, None  # kept, it would close a cycle: call, output, graph, call
        return call.operation.forward(x, weight, bias) if value is None else value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (grad,), call = grads, ctx.call
        if call.skips() or (grad is None and call.error is None):
            return (None,) * 6
        weight, trace, *kept = ctx.saved_tensors
        operation, (causal, acausal) = call.operation, call.factors()
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = grad_bias = None
        if grad is not None:
            if call.decay is not None:
                grad_x = operation.input_gradient(grad, kept[0], weight) if needs_x else None
                if needs_weight:
                    grad_weight = _weight_gradient_of_chunk(call, grad, kept[0], trace, weight)
            elif needs_x and needs_weight:
                grad_x, grad_weight = operation.both_gradients(grad, trace, weight)
            elif needs_x:
                grad_x = operation.input_gradient(grad, trace, weight)
            elif needs_weight:
                grad_weight = operation.weight_gradient(grad, trace, weight)
            if needs_bias:
                if call.bias_trace is not None:
                    steps = grad.unflatten(0, (len(call.bias_trace), -1))
                    grad = (steps * call.bias_trace.view(-1, *[1] * (steps.dim() - 1)).to(grad)).flatten(0, 1)
                grad_bias = operation.bias_gradient(grad)
            if grad_weight is not None and causal != 1 and call.decay is None:
                grad_weight.mul_(causal)
        if needs_weight and call.error is not None and ctx.keeps_x and (call.decay is None or grad is None):
            backward = operation.weight_gradient(call.error, kept[0], weight)
            grad_weight = backward.mul_(acausal) if grad_weight is None else grad_weight.add_(backward, alpha=acausal)
        return grad_x, grad_weight, grad_bias, None, None, None


def _weight_gradient_of_chunk(call: Call, grad: Tensor, x: Tensor, before: Tensor, weight: Tensor) -> Tensor:
    """Both terms for all steps, with a product a step and one more, where the traces themselves would take two a step.

        sum_t g[t] trace[t] = sum_s sent[s] x[s] + decay sent[0] before,  sent[s] = g[s] + decay sent[s+1]

    before: the trace of the step before the chunk, `[N, ...]`.
    """
    causal, acausal = call.factors()
    assert call.decay is not None
    sent = at_least_float32(grad).clone().unflatten(0, (len(x) // len(before), -1))
    for step in reversed(range(len(sent) - 1)):
        sent[step].add_(sent[step + 1], alpha=call.decay)
    first = (causal * call.decay) * sent[0]
    errors = sent.flatten(0, 1).mul_(causal)
    if call.error is not None:
        errors.add_(call.error, alpha=acausal)
    gradient = call.operation.weight_gradient(errors.to(x.dtype), x, weight)
    return gradient.add_(call.operation.weight_gradient(first.to(x.dtype), before.to(x.dtype), weight))


class SteadyWeight:
    """A synapse whose input is the same at every step: its output, and the errors gathered at it.

    x: the input as the operation takes it, `[N, ...]`.
    """

    def __init__(self, operation: Operation, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self.operation, self.x, self.weight, self.bias = operation, x, weight, bias
        with torch.no_grad():
            self.output = operation.forward(x, weight, bias)
        self._weight_error: Tensor | None = None
        self._bias_error: Tensor | None = None

    def gather(self, weight_error: Tensor, bias_error: Tensor) -> None:
        if self._weight_error is None or self._bias_error is None:
            self._weight_error, self._bias_error = weight_error, bias_error
        else:
            self._weight_error, self._bias_error = self._weight_error + weight_error, self._bias_error + bias_error

    def settle(self) -> None:
        """One weight gradient for all steps."""
        if self._weight_error is None or self._bias_error is None:
            return
        roots, grads = [], []
        x, weight = at_least_float32(self.x), at_least_float32(self.weight.detach())
        with outside_autocast(x):
            if self.weight.requires_grad:
                roots.append(self.weight)
                grads.append(self.operation.weight_gradient(self._weight_error, x, weight).to(self.weight.dtype))
            if self.bias is not None and self.bias.requires_grad:
                roots.append(self.bias)
                grads.append(self.operation.bias_gradient(self._bias_error).to(self.bias.dtype))
            torch.autograd.backward(roots, grads)


class SteadySynapse(torch.autograd.Function):
    """The output of a `SteadyWeight` for `steps` steps; the backward pass adds their errors up, times the traces."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, weight: Tensor, bias: Tensor | None, steady: SteadyWeight, steps: int, call: Call
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.steady, ctx.steps, ctx.call = steady, steps, call
        return torch.cat([steady.output] * steps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (grad,), call = grads, ctx.call
        if not call.skips() and grad is not None:
            causal, acausal = call.factors()
            errors = at_least_float32(grad).unflatten(0, (ctx.steps, -1))
            weight_error = causal * _weighted_sum(errors, call.input_trace)
            if call.error is not None:
                weight_error = weight_error + acausal * call.error.unflatten(0, (ctx.steps, -1)).sum(0)
            ctx.steady.gather(weight_error, _weighted_sum(errors, call.bias_trace))
        return (None,) * 5


def _weighted_sum(steps: Tensor, factors: Tensor | None) -> Tensor:
    """sum_t factors[t] * steps[t]; the plain sum for None."""
    return steps.sum(0) if factors is None else torch.tensordot(factors.to(steps), steps, 1)

"""Kernels as functions that autograd differentiates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rheobase.kernels.neuron import Kernel
from rheobase.neurons import State


class Fired(torch.autograd.Function):
    """The chunk's spikes and the state after it; keeps the currents alone, and computes the rest again.

    source: what autograd keeps anyway, to keep that in place of the currents, which `make` makes of it, bit for bit.
    initial: makes the state from one step's current, where it is the one before the first step.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        currents: Tensor,
        kernel: Kernel,
        source: Tensor,
        make: Callable[[Tensor], Tensor] | None,
        initial: Callable[[Tensor], State] | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.kernel, ctx.initial, ctx.size, ctx.make = kernel, initial, len(state[0]), make
        ctx.save_for_backward(source if make else currents, *([] if initial else state))
        spikes, after = kernel.run(currents, state)
        return spikes, *after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        kept, *state = ctx.saved_tensors
        currents = ctx.make(kept) if ctx.make else kept
        errors, *state_errors = grads
        if errors is None:
            errors = torch.zeros_like(currents)
        before = ctx.initial(currents[: ctx.size]) if ctx.initial else tuple(state)
        below, entering = ctx.kernel.back(currents, before, errors, state_errors)
        return below, None, None, None, None, *([None] * len(before) if ctx.initial else entering)


class Respond(torch.autograd.Function):
    """`value` (in a list: no input of autograd's), as if it depended on `x` with the diagonal Jacobian `gain`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: list[Tensor], gain: Tensor) -> Tensor:  # type: ignore[override]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gain)
        return value[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        (gain,) = ctx.saved_tensors
        return None if grads[0] is None else grads[0] * gain, None, None

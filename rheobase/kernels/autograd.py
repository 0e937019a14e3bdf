"""Kernels as functions that autograd differentiates."""

from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.neuron import Kernel


class Fired(torch.autograd.Function):
    """The chunk's spikes and the state after it; keeps the currents alone, and computes the rest again."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, kernel: Kernel, *state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        ctx.set_materialize_grads(False)
        ctx.kernel = kernel
        ctx.save_for_backward(currents, *state)
        spikes, after = kernel.run(currents, state)
        return spikes, *after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        currents, *state = ctx.saved_tensors
        errors, *state_errors = grads
        if errors is None:
            errors = torch.zeros_like(currents)
        below, before = ctx.kernel.back(currents, tuple(state), errors, state_errors)
        return below, None, *before


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

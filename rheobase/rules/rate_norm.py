"""Batch normalisation in the rate pass."""

from typing import Any

import torch
from torch import Tensor

from rheobase.processes import summed


class RateNorm(torch.autograd.Function):
    """y = gamma * normalised + beta, with the mean over time of batch normalisation's Jacobian.

        dx = gamma * inverse * (g - mean(g) - normalised * mean(g * normalised)),  means over all axes but channels

    normalised: mean over time of (x[t] - mean) * inverse, shaped like x `[N, C, ...]`.
    inverse: mean over time of 1 / standard deviation, `[1, C, ...]`.
    joint: the means of g go over the batches of all processes, as those of x did.

    For sequence statistics this is the rate pass of Yu et al. (its section "mode m"). For statistics per step the
    last term is the product of the means over time; only the covariance of normalised[t] with itself is dropped.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        normalised: Tensor,
        inverse: Tensor,
        joint: bool,
    ) -> Tensor:
        ctx.save_for_backward(*([] if gamma is None else [gamma]), normalised, inverse)
        ctx.has_gamma, ctx.shape = gamma is not None, [1, -1, *[1] * (x.dim() - 2)]
        ctx.has_beta, ctx.joint = beta is not None, joint
        scaled = normalised.clone() if gamma is None else normalised * gamma.view(ctx.shape)
        return scaled if beta is None else scaled + beta.view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,) = grads
        *gammas, normalised, inverse = ctx.saved_tensors
        axes = [axis for axis in range(grad.dim()) if axis != 1]
        product = (grad * normalised).sum(axes)
        total = grad.sum(axes)
        means = torch.stack([total, product, torch.full_like(total, grad.numel() // grad.shape[1])])
        if ctx.joint:
            means = summed(means)
        level, lean = (means[:2] / means[2]).view(2, *ctx.shape)
        scale = inverse * gammas[0].view(ctx.shape) if ctx.has_gamma else inverse
        dx = scale * (grad - level - normalised * lean)
        return dx, product if ctx.has_gamma else None, total if ctx.has_beta else None, None, None, None

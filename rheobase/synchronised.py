"""Batch normalisation with the statistics of the batches of all processes together, on any device."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase import processes
from rheobase.casts import at_least_float32
from rheobase.layers import SequenceBatchNorm1d, SequenceBatchNorm2d
from rheobase.moments import Moments, all_but_groups_and_channels, joint_moments, track


class SynchronisedNorm(_BatchNorm):
    """Batch normalisation as if each process saw the batches of all; in eval mode, or alone, the plain one.

    In train mode all processes run it in the same order, and backward as well.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not is_joint(self):
            return super().forward(input)
        self._check_input_dim(input)
        moments = joint_moments(input, 1)
        track(self, moments.mean[0], moments.variance[0], moments.count[0])
        return jointly_normalised(self, input, moments)


class SynchronisedBatchNorm1d(SynchronisedNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the batches of all processes."""


class SynchronisedBatchNorm2d(SynchronisedNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes."""


class SynchronisedBatchNorm3d(SynchronisedNorm, nn.BatchNorm3d):
    """`nn.BatchNorm3d` over the batches of all processes."""


class SynchronisedSequenceBatchNorm1d(SynchronisedNorm, SequenceBatchNorm1d):
    """`SequenceBatchNorm1d` over the sequences of all processes."""


class SynchronisedSequenceBatchNorm2d(SynchronisedNorm, SequenceBatchNorm2d):
    """`SequenceBatchNorm2d` over the sequences of all processes."""


SYNCHRONISED: dict[type[_BatchNorm], type[SynchronisedNorm]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
    SequenceBatchNorm1d: SynchronisedSequenceBatchNorm1d,
    SequenceBatchNorm2d: SynchronisedSequenceBatchNorm2d,
}


def synchronised(model: nn.Module) -> nn.Module:
    """The model itself, whose batch norms are from now on those of all processes together.

    Parameters, buffers, hooks and names stay, so state dicts fit both forms.

    Raises ValueError for batch norms of other kinds, whose statistics would be those of one process.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, (SynchronisedNorm, nn.SyncBatchNorm)):
            if type(module) not in SYNCHRONISED:
                known = ", ".join(kind.__name__ for kind in SYNCHRONISED)
                raise ValueError(
                    f"{name!r} ({type(module).__name__}) would normalise with the statistics of one process: only "
                    f"{known} can be synchronised. Use one of them, or a norm without a batch such as nn.GroupNorm."
                )
            module.__class__ = SYNCHRONISED[type(module)]
    return model


def is_joint(norm: _BatchNorm) -> bool:
    """Whether the norm, as it is now, takes the statistics of several processes."""
    return isinstance(norm, SynchronisedNorm) and norm.training and processes.count() > 1


def jointly_normalised(norm: _BatchNorm, x: Tensor, moments: Moments) -> Tensor:
    """x, each group of its rows normalised by its moments; the backward pass knows that they depend on all x."""
    y: Tensor = _JointlyNormalised.apply(x, norm.weight, norm.bias, moments, norm.eps)
    return y


class _JointlyNormalised(torch.autograd.Function):
    """dx = scale (g - mean(g) - y mean(g y)), the means over all processes, y normalised but not yet scaled.

    What a process adds to the loss depends on the x of all, so g is summed over them as well; the gradients of weight
    and bias are the process's own part.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, moments: Moments, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, *([] if weight is None else [weight]))
        ctx.moments, ctx.eps, ctx.has_bias = moments, eps, bias is not None
        inverse = (moments.variance + eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        shift = -moments.mean * scale if bias is None else bias - moments.mean * scale
        parts = at_least_float32(x).unflatten(0, (len(scale), -1))
        return torch.addcmul(_spread(shift, parts), parts, _spread(scale, parts)).flatten(0, 1).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        moments, inverse = ctx.moments, (ctx.moments.variance + ctx.eps).rsqrt()
        parts = at_least_float32(x).unflatten(0, (len(inverse), -1))
        errors = at_least_float32(grads[0]).unflatten(0, (len(inverse), -1))
        normed = (parts - _spread(moments.mean, parts)) * _spread(inverse, parts)
        axes = all_but_groups_and_channels(parts)
        sums = torch.stack([errors.sum(axes), (errors * normed).sum(axes)]).double()
        bias, weight = sums.sum(1)
        below = None
        if ctx.needs_input_grad[0]:
            total, product = processes.summed(sums) / moments.count
            scale = inverse * weights[0] if weights else inverse
            below = errors - _spread(total, parts) - normed * _spread(product, parts)
            below = (below * _spread(scale, parts)).flatten(0, 1).to(x.dtype)
        of_weight = weight.to(parts.dtype) if weights else None
        return below, of_weight, bias.to(parts.dtype) if ctx.has_bias else None, None, None


def _spread(values: Tensor, parts: Tensor) -> Tensor:
    """`[groups, C]` against `[groups, N, C, ...]`, in their precision."""
    return values.to(parts.dtype).view(len(values), 1, -1, *[1] * (parts.dim() - 3))

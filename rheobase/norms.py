"""Batch normalisation of steps: with their own statistics, once for all steps, and again for the backward pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.casts import at_least_float32
from rheobase.kernels import norm as kernels
from rheobase.layers import SEQUENCE_NORMS
from rheobase.moments import joint_moments, track
from rheobase.synchronised import SYNCHRONISED, is_joint, jointly_normalised

STEADY_NORMS = (*SYNCHRONISED, *SYNCHRONISED.values())


def uses_batch_statistics(norm: _BatchNorm) -> bool:
    """Whether the norm, as it is now, normalises with what it sees: in train mode, or if it keeps no statistics."""
    return norm.training or norm.running_mean is None


def statistics(norm: _BatchNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation `[C]` of x, double; moves the running statistics."""
    norm._check_input_dim(x)
    count = x.numel() // x.shape[1]
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(x.shape)}")
    mean, variance = kernels.moments(x)
    track(norm, mean, variance, count)
    return mean, variance.add_(norm.eps).rsqrt_()


def knows(norm: _BatchNorm, x: Tensor) -> bool:
    """Whether `normalised` can compute the norm of x."""
    return is_joint(norm) or kernels_know(norm, x)


def kernels_know(norm: _BatchNorm, x: Tensor) -> bool:
    """Whether the norm of x can be computed by kernels: not if it goes over several processes."""
    if type(norm) not in STEADY_NORMS or is_joint(norm):
        return False
    return kernels.knows(x) and (norm.weight is None or norm.weight.dtype == x.dtype)


@dataclass(frozen=True)
class Normed:
    """Where a normalised tensor comes from: x, `groups` times N rows, and each group's statistics `[groups, C]`."""

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    inverse: Tensor
    scale: Tensor
    shift: Tensor

    def again(self, x: Tensor) -> Tensor:
        """The normalised tensor, bit for bit."""
        y = torch.empty_like(x)
        for i, (part, out) in enumerate(_groups(len(self.mean), x, y)):
            kernels.applied(part, self.scale[i], self.shift[i], out)
        return y

    def back(self, x: Tensor, error: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The gradients at x, weight and bias from the gradient `error * slope`."""
        error = aligned(error, x)
        below, totals = torch.empty_like(x), torch.zeros(2, x.shape[1], dtype=torch.float64)
        for i, (part, e, out, *s) in enumerate(
            _groups(len(self.mean), x, error, below, *([] if slope is None else [slope]))
        ):
            mean, inverse, scale = self.mean[i], self.inverse[i], self.scale[i]
            kernels.back(part, e, s[0] if s else None, mean, inverse, scale, (totals[0], totals[1]), out)
        shift, product = totals.to(x.dtype)
        return below, None if self.weight is None else product, None if self.bias is None else shift


def aligned(x: Tensor, like: Tensor) -> Tensor:
    """x in the memory order of `like`."""
    return x if x.stride() == like.stride() else torch.empty_like(like).copy_(x)


def _groups(count: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    if count == 1:
        yield tensors
    else:
        yield from zip(*(tensor.unflatten(0, (count, -1)).unbind(0) for tensor in tensors), strict=True)


def normalised(norm: _BatchNorm, x: Tensor, groups: int) -> Tensor:
    """Each of the groups of rows of x normalised by its own statistics; what it comes from can be asked of it.

    Not so where the statistics are those of several processes, which exchange them once for all groups.
    """
    if is_joint(norm):
        return _jointly(norm, x, groups)
    x = kernels.in_order(x)
    with torch.no_grad():
        found = [statistics(norm, part) for (part,) in _groups(groups, x.detach())]
        mean, inverse = (torch.stack(parts) for parts in zip(*found, strict=True))
        scale, shift = affine(norm, mean, inverse, x.dtype)
    normed = Normed(x, norm.weight, norm.bias, mean, inverse, scale, shift)
    y: Tensor = _Normalised.apply(x, norm.weight, norm.bias, normed)
    if not y.is_inference():
        y._rheobase_normed = normed, y._version, x._version  # type: ignore[attr-defined]
    return y


def _jointly(norm: _BatchNorm, x: Tensor, groups: int) -> Tensor:
    norm._check_input_dim(x)
    moments = joint_moments(x, groups)
    for mean, variance, count in zip(moments.mean, moments.variance, moments.count, strict=True):
        track(norm, mean, variance, count)
    return jointly_normalised(norm, x, moments)


def affine(norm: _BatchNorm, mean: Tensor, inverse: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The norm of x as scale * x + shift, per channel."""
    scale = inverse if norm.weight is None else inverse * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    return scale.to(dtype), shift.to(dtype)


def normed_of(y: Tensor) -> Normed | None:
    """Where y comes from, if `normalised` made it, neither it nor x was changed in place since, and it has no hooks."""
    normed, *versions = getattr(y, "_rheobase_normed", (None,))
    if normed is None or y._backward_hooks or y.retains_grad:
        return None
    return normed if [y._version, normed.x._version] == versions else None


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, normed: Normed
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.normed = without_graph(normed)
        return normed.again(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        return *ctx.normed.back(x, grads[0], None), None


class NormedRespond(torch.autograd.Function):
    """`value` (in a list: no input of autograd's), as if it depended on the normalised x with the Jacobian `slope`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        value: list[Tensor],
        slope: Tensor,
        normed: Normed,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, slope)
        ctx.normed = without_graph(normed)
        return value[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        x, slope = ctx.saved_tensors
        found = (None,) * 3 if grads[0] is None else ctx.normed.back(x, grads[0], slope)
        return *found, None, None, None


def without_graph(normed: Normed) -> Normed:
    """Its statistics alone: a node that held x, which it belongs to, would keep itself alive."""
    weight, bias = (None if p is None else p.detach() for p in (normed.weight, normed.bias))
    return Normed(normed.mean, weight, bias, normed.mean, normed.inverse, normed.scale, normed.shift)


def normalised_steady(norm: _BatchNorm, steps: int, x: Tensor) -> Tensor:
    """Batch normalisation of one step `[N, ...]` that stands for all `steps` of the sequence.

    The running statistics move as they would have at each step: by 1 - (1 - momentum)^T in all.
    """
    if not uses_batch_statistics(norm):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    together = isinstance(norm, SEQUENCE_NORMS)
    repeated, updates = (steps, 1) if together else (1, steps)
    if is_joint(norm):
        moments = joint_moments(x, 1)
        track(norm, moments.mean[0], moments.variance[0], moments.count[0] * repeated, updates)
        return jointly_normalised(norm, x, moments)
    y = F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
    with torch.no_grad():
        variance, mean = torch.var_mean(at_least_float32(x), [d for d in range(x.dim()) if d != 1], correction=0)
        track(norm, mean, variance, x.numel() // x.shape[1] * repeated, updates)
    return y


def observed_by_batch(norm: _BatchNorm, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the norm computes of x with the statistics of x, without kernels; their mean and inverse deviation `[C]`."""
    norm._check_input_dim(x)
    if is_joint(norm):
        moments = joint_moments(x, 1)
        track(norm, moments.mean[0], moments.variance[0], moments.count[0])
        mean, inverse = (
            found[0].to(at_least_float32(x).dtype) for found in (moments.mean, (moments.variance + norm.eps).rsqrt())
        )
        return jointly_normalised(norm, x, moments), mean, inverse
    y, mean, inverse = torch.native_batch_norm(x, norm.weight, norm.bias, None, None, True, 0.0, norm.eps)
    track(norm, mean, inverse.to(torch.float64).pow(-2) - norm.eps, x.numel() // x.shape[1])
    return y, mean, inverse

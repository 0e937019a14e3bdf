"""Means and variances of batches: those that norms keep, and those of all processes together."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.casts import at_least_float32
from rheobase.processes import gathered


def track(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int | Tensor, updates: int = 1) -> None:
    """Moves the running statistics as `updates` steps with this mean and biased variance of `count` values would."""
    if not (norm.training and norm.track_running_stats) or norm.running_mean is None or norm.running_var is None:
        return
    seen = norm.num_batches_tracked
    if seen is not None:
        seen.add_(updates)
    if norm.momentum is not None:
        share = 1 - (1 - norm.momentum) ** updates
    else:
        share = 0.0 if seen is None else updates / float(seen)
    # As in PyTorch's own norms, autograd does not mind: no backward pass in train mode reads them.
    norm.running_mean.data.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.data.lerp_((variance * (count / (count - 1))).to(norm.running_var), share)


@dataclass(frozen=True)
class Moments:
    """Of each group of rows, `[groups, C]`, double: the mean, the biased variance, and of how many values they are."""

    mean: Tensor
    variance: Tensor
    count: Tensor


def joint_moments(x: Tensor, groups: int) -> Moments:
    """Of x, whose rows `[groups * N, C, ...]` lie group by group, and of the x of all other processes."""
    parts = at_least_float32(x.detach()).unflatten(0, (groups, -1))
    variance, mean = torch.var_mean(parts, all_but_groups_and_channels(parts), correction=0)
    count = torch.full_like(mean, parts.numel() // mean.numel())
    means, variances, counts = gathered(torch.stack([mean, variance, count]).double()).unbind(1)
    total = counts.sum(0)
    mean = (means * counts).sum(0) / total
    variance = ((variances + (means - mean).square()) * counts).sum(0) / total
    return Moments(mean, variance, total)


def all_but_groups_and_channels(parts: Tensor) -> list[int]:
    """The axes of `[groups, N, C, ...]` that statistics go over."""
    return [1, *range(3, parts.dim())]

"""Max pooling in the rate pass: the mean over time of its Jacobian."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rheobase.explained import explained


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)  # type: ignore[return-value]


def windows_won(pool: nn.MaxPool2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """The pooled step `[N, C, H', W']` and which element won each window, one-hot `[N, C, k, H' * W']`.

    x: one step `[N, C, H, W]`; k: elements of a window.
    """
    if pool.ceil_mode or pool.return_indices:
        raise explained(ValueError("RateBP handles MaxPool2d without ceil_mode and return_indices only."), "refused")
    (kernel_h, kernel_w), (stride_h, stride_w) = _pair(pool.kernel_size), _pair(pool.stride)
    (pad_h, pad_w), (dilation_h, dilation_w) = _pair(pool.padding), _pair(pool.dilation)
    pooled, winners = F.max_pool2d(x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, return_indices=True)
    top = torch.arange(pooled.shape[2], device=x.device).mul_(stride_h).sub_(pad_h).view(-1, 1)
    left = torch.arange(pooled.shape[3], device=x.device).mul_(stride_w).sub_(pad_w)
    row = (winners // x.shape[3] - top) // dilation_h
    column = (winners % x.shape[3] - left) // dilation_w
    element = (row * kernel_w + column).flatten(2).unsqueeze(2)
    won = x.new_zeros(*x.shape[:2], kernel_h * kernel_w, element.shape[-1])
    return pooled, won.scatter_(2, element, 1.0)


class MeanMaxPool(torch.autograd.Function):
    """`pooled`, the mean over time of the pooled steps; on the way back each window's gradient is shared among its
    elements in proportion to how often each won, `won` `[N, C, k, H' * W']`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pooled: Tensor, won: Tensor, pool: nn.MaxPool2d) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(won)
        ctx.size, ctx.pool = x.shape[2:], pool
        return pooled.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (won,), pool = ctx.saved_tensors, ctx.pool
        shares = (won * grads[0].flatten(2).unsqueeze(2)).flatten(1, 2)
        return F.fold(shares, ctx.size, pool.kernel_size, pool.dilation, pool.padding, pool.stride), None, None, None

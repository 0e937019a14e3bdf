"""Average pooling that keeps nothing for its backward pass: PyTorch's keeps its whole input, for its shape alone."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pooled(pool: nn.AvgPool2d, input: Tensor) -> Tensor:
    """What the pool computes of its input, which has the name that PyTorch gives it."""
    if not (input.requires_grad and torch.is_grad_enabled()) or torch.is_autocast_enabled(input.device.type):
        return _average(pool, input)
    y: Tensor = _Pooled.apply(input, pool)
    return y


def _average(pool: nn.AvgPool2d, x: Tensor) -> Tensor:
    return F.avg_pool2d(
        x, pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad, pool.divisor_override
    )


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: nn.AvgPool2d) -> Tensor:  # type: ignore[override]
        ctx.pool, ctx.form = pool, (x.shape, x.stride(), x.dtype, x.device)
        return _average(pool, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        pool, (shape, stride, dtype, device) = ctx.pool, ctx.form
        like = torch.empty_strided(shape, stride, dtype=dtype, device=device)  # its values do not count
        sizes = (_pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding))
        options = (pool.ceil_mode, pool.count_include_pad, pool.divisor_override)
        return torch.ops.aten.avg_pool2d_backward(grads[0], like, *sizes, *options), None

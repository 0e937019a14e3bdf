"""Nodes of NIR as layers without state."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rheobase.interop.euler import require_fits
from rheobase.layers import Scale

WEIGHTED = ("Linear", "Affine", "Conv1d", "Conv2d")


def _linear(node: Any) -> nn.Module:
    if node.weight.ndim != 2:
        raise ValueError(f"Expected a matrix, got weights of shape {list(node.weight.shape)}.")
    outputs, inputs = node.weight.shape
    return _filled(nn.Linear(inputs, outputs, device="meta"), node)


def _convolution(node: Any) -> nn.Module:
    axes, groups = 1 if type(node).__name__ == "Conv1d" else 2, int(node.groups)
    if node.weight.ndim != axes + 2:
        raise ValueError(f"Expected {axes} axes of the kernel, got weights of shape {list(node.weight.shape)}.")
    outputs, inputs, *size = node.weight.shape
    stride, padding, dilation = (_sizes(each, axes) for each in (node.stride, node.padding, node.dilation))
    kind: Any = nn.Conv1d if axes == 1 else nn.Conv2d
    layer = kind(inputs * groups, outputs, tuple(size), stride, padding, dilation, groups, device="meta")
    return _filled(layer, node)


def _filled(layer: nn.Module, node: Any) -> nn.Module:
    weight, bias = _parameter(node.weight), vars(node).get("bias")
    if bias is not None and np.shape(bias) != (len(weight),):
        raise ValueError(f"Expected a bias for {len(weight)} outputs, got one of shape {list(np.shape(bias))}.")
    layer.register_parameter("weight", weight)
    layer.register_parameter("bias", None if bias is None else _parameter(bias))
    return layer


def _parameter(values: Any) -> nn.Parameter:
    found = torch.tensor(np.asarray(values))
    return nn.Parameter(found if found.is_floating_point() else found.float())


def _sizes(value: Any, axes: int) -> Any:
    """As torch takes them."""
    if isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode()
    found = tuple(int(size) for size in np.atleast_1d(np.asarray(value)))
    if len(found) not in (1, axes):
        raise ValueError(f"Expected {axes} sizes, one for each axis, got {list(found)}.")
    return found * axes if len(found) == 1 else found


def _pool(node: Any) -> nn.Module:
    kernel, stride, padding = (_sizes(each, 2) for each in (node.kernel_size, node.stride, node.padding))
    return nn.AvgPool2d(kernel, stride, padding, divisor_override=1 if type(node).__name__ == "SumPool2d" else None)


def _flatten(node: Any) -> nn.Module:
    first, last = int(node.start_dim), int(node.end_dim)  # which do not count the batch
    return nn.Flatten(first + 1 if first >= 0 else first, last + 1 if last >= 0 else last)


def _scale(node: Any) -> nn.Module:
    values = np.unique(node.scale)
    return Scale(float(values[0])) if len(values) == 1 else ScaleEach(torch.tensor(np.asarray(node.scale)))


class ScaleEach(nn.Module):
    """Multiplies each number of a sample by a factor of its own."""

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors)

    def forward(self, input: Tensor) -> Tensor:
        require_fits(self.factors, input)
        return self.factors * input


LAYER_NODES: dict[str, Callable[[Any], nn.Module]] = {
    "Linear": _linear, "Affine": _linear, "Conv1d": _convolution, "Conv2d": _convolution, "AvgPool2d": _pool,
    "SumPool2d": _pool, "Flatten": _flatten, "Scale": _scale,
}  # fmt: skip

"""Layers without state as nodes of NIR."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rheobase.explained import explained
from rheobase.interop.extras import optional
from rheobase.interop.trace import Node
from rheobase.synapses import computes_as_its_kind

if TYPE_CHECKING:
    import nir

Sizes = NDArray[np.int64]
# What to do about layers and functions that are often met and not in NIR.
_ADVICE = {
    "max": "Train with nn.AvgPool2d in its place, or put the pool behind a neuron.",
    "interpolate": "NIR only makes images smaller: read out at the small size.",
    "upsample": "NIR only makes images smaller: read out at the small size.",
    "cat": "Add what is concatenated, each through a convolution of its own: that is the same map.",
    "matmul": "Products of two signals are not linear: spiking attention cannot be exported.",
    "norm": "It depends on each input; nn.BatchNorm, whose statistics stand still, can be folded.",
    "conv": "Call a layer such as nn.Conv2d, so that the weights are known.",
    "linear": "Call nn.Linear, so that the weights are known.",
    "mean": "Use nn.AdaptiveAvgPool2d(1) and nn.Flatten().",
    "setitem": "Compute a new tensor in place of writing into one.",
    "change_in_place": "Compute a new tensor in place of writing into a view.",
}


def layer_node(node: Node, weight_factor: float, bias_factor: float) -> "nir.NIRNode":
    """The layer as a node of NIR; a synapse's weight and bias are multiplied by the factors.

    Raises ValueError, with the reason, for what NIR cannot say.
    """
    for kind, write in _WRITERS.items():
        if isinstance(node.layer, kind) and (not isinstance(node.layer, SYNAPSES) or computes_as_its_kind(node.layer)):
            return write(node.layer, node, weight_factor, bias_factor)
    raise refused(node, "is not in NIR")


def refused(node: Node, reason: str) -> ValueError:
    advice = next((f" {text}" for word, text in _ADVICE.items() if word in node.kind.lower()), "")
    return explained(ValueError(f"{node} {reason}.{advice}"), "hardware")


def _linear(layer: nn.Linear, node: Node, weight_factor: float, bias_factor: float) -> "nir.NIRNode":
    if len(node.given) != 1:
        raise refused(node, f"hears {list(node.given)} a sample, NIR's linear maps vectors: put nn.Flatten() before it")
    nir, weight = optional("nir", "nir"), array(layer.weight, weight_factor)
    return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, array(layer.bias, bias_factor))


def _convolution(layer: nn.Conv1d | nn.Conv2d, node: Node, weight_factor: float, bias_factor: float) -> "nir.NIRNode":
    if layer.padding_mode != "zeros":
        raise refused(node, f'pads with padding_mode="{layer.padding_mode}", NIR with zeros alone')
    nir, flat = optional("nir", "nir"), isinstance(layer, nn.Conv1d)
    weight = array(layer.weight, weight_factor)
    bias = np.zeros(len(weight), weight.dtype) if layer.bias is None else array(layer.bias, bias_factor)
    sizes = {"stride": layer.stride, "padding": _padding(layer, node), "dilation": layer.dilation}
    options: dict[str, Any] = {name: size[0] if flat else tuple(size) for name, size in sizes.items()}
    kind, given = (nir.Conv1d, node.given[1]) if flat else (nir.Conv2d, node.given[1:])
    return kind(input_shape=given, weight=weight, groups=layer.groups, bias=bias, **options)


def _padding(layer: nn.Conv1d | nn.Conv2d, node: Node) -> tuple[int, ...]:
    if not isinstance(layer.padding, str):
        return tuple(layer.padding)
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    total = [dilation * (size - 1) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(each % 2 for each in total):
        raise refused(node, 'pads one side more than the other with padding="same" and an even kernel')
    return tuple(each // 2 for each in total)


def _average(pool: nn.AvgPool2d, node: Node, *_: float) -> "nir.NIRNode":
    kernel, stride, padding = _windows(pool, node)
    if any(padding) and not pool.count_include_pad:
        raise refused(node, "leaves the padding out of its mean (count_include_pad=False), NIR counts it")
    if pool.divisor_override not in (None, 1, kernel.prod()):
        raise refused(node, f"divides by {pool.divisor_override}, NIR by the size of the window or by 1")
    nir = optional("nir", "nir")
    sums = pool.divisor_override == 1 != kernel.prod()
    return (nir.SumPool2d if sums else nir.AvgPool2d)(kernel, stride, padding)


def sum_pool(pool: nn.MaxPool2d, node: Node) -> "nir.NIRNode":
    """The sums of the pool's windows."""
    if _pair(pool.dilation) != (1, 1) or pool.return_indices:
        raise refused(node, "has dilation or return_indices, which pools of NIR have not")
    return optional("nir", "nir").SumPool2d(*_windows(pool, node))


def _windows(pool: nn.AvgPool2d | nn.MaxPool2d, node: Node) -> tuple[Sizes, Sizes, Sizes]:
    """Kernel, stride and padding."""
    kernel, stride, padding = (np.array(_pair(size)) for size in (pool.kernel_size, pool.stride, pool.padding))
    floored = (np.array(node.given[1:]) + 2 * padding - kernel) // stride + 1
    if tuple(floored) != node.made[1:]:
        raise refused(node, "has ceil_mode=True, which gives another size here: NIR rounds sizes down")
    return kernel, stride, padding


def _adaptive(pool: nn.AdaptiveAvgPool2d, node: Node, *_: float) -> "nir.NIRNode":
    """A pool whose windows are those that the adaptive pool has for the sample's size."""
    nir, (channels, *given), made = optional("nir", "nir"), node.given, node.made[1:]
    if given == [1, 1] and min(made) > 1:  # copies the one pixel, as a convolution of ones does
        copies = np.ones((channels, 1, *made), np.float32)
        padding = tuple(size - 1 for size in made)
        return nir.Conv2d((1, 1), copies, (1, 1), padding, (1, 1), channels, np.zeros(channels, np.float32))
    windows = [_alike(n, m) for n, m in zip(given, made, strict=True)]
    if None in windows:
        raise refused(node, f"pools {given} to {list(made)} with windows of several sizes; NIR's are alike")
    kernel, stride = zip(*(window for window in windows if window), strict=True)
    return nir.AvgPool2d(np.array(kernel), np.array(stride), np.zeros(2, int))


def _alike(given: int, made: int) -> tuple[int, int] | None:
    """Size and stride of the windows of an adaptive pool along one axis, if they are alike."""
    starts = [index * given // made for index in range(made)]
    sizes = {math.ceil((index + 1) * given / made) - start for index, start in enumerate(starts)}
    steps = {after - before for before, after in pairwise(starts)} or {given}
    return None if len(sizes | {0}) > 2 or len(steps) > 1 or 0 in steps else (sizes.pop(), steps.pop())


def _flatten(layer: nn.Flatten, node: Node, *_: float) -> "nir.NIRNode":
    nir = optional("nir", "nir")  # whose axes do not count the batch
    if len(node.made) == 1:
        return nir.Flatten({"input": np.array(node.given)}, 0, -1)
    first, last = (axis if axis < 0 else axis - 1 for axis in (layer.start_dim, layer.end_dim))
    return nir.Flatten({"input": np.array(node.given)}, first, last)


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def array(x: Tensor, factor: float) -> Any:
    x = x.detach().cpu()
    found = (x.float() if x.dtype == torch.bfloat16 else x.clone()).numpy()  # NumPy has no bfloat16
    return found if factor == 1 else (found.astype(np.float64) * factor).astype(found.dtype)


SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d)
_WRITERS: dict[type[nn.Module], Callable[..., "nir.NIRNode"]] = {
    nn.Linear: _linear, nn.Conv1d: _convolution, nn.Conv2d: _convolution, nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _adaptive, nn.Flatten: _flatten,
}  # fmt: skip

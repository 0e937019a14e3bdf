"""Normalisation and standardisation worked into plain weights, for inference elsewhere."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.interop.conversion import without_graphs
from rheobase.interop.trace import Node, Trace
from rheobase.interop.tracing import is_layer, traced
from rheobase.synapses import effective_weight

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FOLDABLE = (nn.Linear, *CONVOLUTIONS)


def fold_batch_norm(model: nn.Module, sample: Tensor) -> nn.Module:
    """A copy of `model`, in eval mode, without batch normalisation and weight standardisation; `model` stays as it is.

        norm(W x + b) = (s W) x + s (b - mean) + shift,  s = weight / sqrt(running_var + eps) per channel

    A norm goes into the linear layer or convolution whose output it alone hears; elsewhere (behind a pool, an addition
    or the input) it becomes a layer of its own that scales and shifts each channel. Standardised and parametrised
    weights become the weights that they stand for.

    sample: one step of some input, `[N, ...]`; only its shape and dtype count.

    The outputs of eval mode stay the same but for rounding. Raises ValueError for norms without running statistics.
    """
    folded = copy.deepcopy(model, without_graphs(model)).eval()
    trace = traced(folded, sample)
    new: dict[nn.Module, nn.Module] = {}
    for node in trace.nodes.values():
        if isinstance(node.layer, _BatchNorm) and node.layer not in new:
            synapse = _before(trace, node)
            if synapse is None or synapse in new:
                new[node.layer] = per_channel(node.layer, node)
            else:
                new[synapse], new[node.layer] = joined(synapse, node.layer, node.where), nn.Identity()
    for module in folded.modules():
        if module not in new and isinstance(module, FOLDABLE) and type(module) not in FOLDABLE and is_layer(module):
            new[module] = with_weight(module, effective_weight(module), module.bias)
    for name, module in folded.named_modules():
        if module in new and not trace.direct.isdisjoint(module.parameters()):
            raise ValueError(
                f"A forward takes parameters of {name!r} ({type(module).__name__}), which is folded: call the layer."
            )
    return exchanged(folded, new)


def exchanged(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """The model with some of its modules, wherever they are used, exchanged for new ones."""
    for name, module in model.named_modules():
        if module in new and (module._forward_hooks or module._forward_pre_hooks):
            raise ValueError(
                f"{name!r} ({type(module).__name__}) has forward hooks, which the layer in its place would not have: "
                "remove them (a weight's norm by a hook: use torch.nn.utils.parametrizations)."
            )
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                parent._modules[name] = new[child]
    return new.get(model, model)


def _before(trace: Trace, norm: Node) -> nn.Module | None:
    """The synapse whose output the norm, and nothing else, hears; None if there is none."""
    if list(norm.inputs.values()) != [1]:
        return None
    (name,) = norm.inputs
    node = trace.nodes.get(name)
    if node is None or not isinstance(node.layer, FOLDABLE) or len(trace.uses(name)) > 1:
        return None
    used = [other.layer for other in trace.nodes.values()]
    once = used.count(node.layer) == used.count(norm.layer) == 1
    along_channels = not isinstance(node.layer, nn.Linear) or len(node.made) == 1
    return node.layer if once and along_channels else None


def joined(synapse: nn.Module, norm: _BatchNorm, where: str) -> nn.Module:
    """The synapse with the norm in its weights."""
    scale, shift = scale_and_shift(norm, where)
    weight, bias = effective_weight(synapse).detach(), synapse.bias
    made = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    if isinstance(bias, Tensor):
        shift = shift + scale * bias.detach().double()
    return with_weight(synapse, made.to(weight.dtype), shift.to(weight.dtype))


def scale_and_shift(norm: _BatchNorm, where: str) -> tuple[Tensor, Tensor]:
    """What the norm multiplies each channel by and adds to it in eval mode, float64 `[C]`."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            f"Expected running statistics in {where!r} ({type(norm).__name__}), which has none: it normalises each "
            "batch by itself, also in eval mode. Train it with track_running_stats=True."
        )
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def per_channel(norm: _BatchNorm, node: Node) -> nn.Module:
    """A convolution of size 1 within each channel, or a diagonal linear layer, that computes what the norm does."""
    scale, shift = scale_and_shift(norm, node.where)
    like = norm.running_mean
    assert like is not None
    dimensions, channels = len(node.given) - 1, len(scale)
    layer: nn.Module
    if dimensions:
        convolution = CONVOLUTIONS[dimensions - 1]
        layer = convolution(channels, channels, 1, groups=channels, device="meta")
        scale = scale.view(-1, *[1] * (dimensions + 1))
    else:
        layer = nn.Linear(channels, channels, device="meta")
        scale = torch.diag(scale)
    return with_weight(layer, scale.to(like.dtype), shift.to(like.dtype))


def with_weight(synapse: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A plain layer of the synapse's kind and sizes, with this weight and bias."""
    if isinstance(synapse, nn.Linear):
        new: nn.Module = nn.Linear(synapse.in_features, synapse.out_features, device="meta")
    else:
        assert isinstance(synapse, CONVOLUTIONS)
        kind: Any = next(kind for kind in CONVOLUTIONS if isinstance(synapse, kind))
        new = kind(
            synapse.in_channels, synapse.out_channels, synapse.kernel_size, synapse.stride, synapse.padding,
            dilation=synapse.dilation, groups=synapse.groups, padding_mode=synapse.padding_mode, device="meta",
        )  # fmt: skip
    new.weight = nn.Parameter(weight.detach().clone())
    new.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return new.train(synapse.training)

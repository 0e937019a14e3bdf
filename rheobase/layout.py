"""Channels last: the memory order in which convolutions on CPUs are fastest."""

import torch
from torch import Tensor, nn

_PIXELS = 1024


def prefers_channels_last(model: nn.Module) -> bool:
    """Whether the model has a 2-d convolution, on a CPU, that is more than a product per pixel."""
    return any(
        isinstance(m, nn.Conv2d) and m.weight.device.type == "cpu" and max(m.kernel_size) > 1 for m in model.modules()
    )


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def pays(x: Tensor) -> bool:
    """Whether a convolution of x `[N, C, H, W]` has pixels enough to make up for bringing its weights in order."""
    return x.numel() // x.shape[1] >= _PIXELS


def convolved(synapse: nn.Conv2d, weight: Tensor, x: Tensor) -> Tensor:
    """The convolution of x, given the synapse's weight in the order that suits."""
    return synapse._conv_forward(x, weight, synapse.bias)

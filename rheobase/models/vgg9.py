"""S-TLLR's VGG-9."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from rheobase.layers import TimeSharedDropout, WSConv2d
from rheobase.models.convnet import require_image
from rheobase.models.starting_weights import kaiming_normal
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron
from rheobase.surrogates import Triangle

STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))  # channels; between stages a pool 2


def stllr_neuron() -> LIF:
    """The neuron of S-TLLR's nets for DVS-Gesture; their threshold in the code (the paper has 0.8 for the VGG)."""
    return LIF(0.5, threshold=0.6, detach_reset=True, surrogate=Triangle(height=0.3))


def vgg9(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = stllr_neuron,
    pool: Literal["avg", "max"] = "avg",
    dropout: float = 0.0,
    width: float = 1.0,
) -> nn.Sequential:
    """Eight standardised convolutions 3x3, each with neuron and dropout; global average pool; a linear readout.

    shape: (C, H, W) of one step. pool: of 2x2 windows of spikes; the published command for DVS-Gesture has "max", the
    paper "avg". dropout: one mask a sequence, its survivors scaled by 1 / (1 - p); the authors do not scale them for
    p < 0.5. It is 0.1 on CIFAR10-DVS and N-Caltech101. width: factor for all channels.

    Kaiming normal weights (fan in; the paper does not say), biases 0. The code pools globally before the readout, the
    paper's text by 2.
    Apolinario and Roy, TMLR 2025, arXiv 2306.15220.
    """
    require_image(shape, "vgg9")
    if pool not in ("avg", "max"):
        raise ValueError(f'Expected pool "avg" or "max", got {pool!r}.')
    layers: list[nn.Module] = []
    inputs = shape[0]
    for stage in STAGES:
        if layers:
            layers.append(nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2))
        for channels in stage:
            outputs = scaled(channels, width)
            layers += [WSConv2d(inputs, outputs, 3, padding=1), neuron(), TimeSharedDropout(dropout)]
            inputs = outputs
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    kaiming_normal(net, "in")
    return net

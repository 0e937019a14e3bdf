"""OTTT's VGG with scaled weight standardisation."""

from collections.abc import Callable, Sequence

from torch import nn

from rheobase.layers import Scale, TimeSharedDropout, WSConv2d, heaviside_gain
from rheobase.models.convnet import require_image
from rheobase.models.starting_weights import kaiming_normal
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron

STAGES = ((64, 128), (256, 256), (512, 512), (512, 512))  # channels; between stages an average pool 2


def vgg_sws(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = LIF,
    dropout: float = 0.0,
    width: float = 1.0,
) -> nn.Sequential:
    """Eight standardised convolutions 3x3, each with neuron and variance-keeping gain; global pool; a linear readout.

    shape: (C, H, W) of one step. dropout: of the spikes, one mask a sequence (0.1 for CIFAR10-DVS). width: factor for
    all channels.
    Xiao et al., NeurIPS 2022, without the feedback connection of their VGG-F. The gain is 2.737 in place of 2.74.
    """
    require_image(shape, "vgg-sws")
    layers: list[nn.Module] = []
    inputs = shape[0]
    for stage in STAGES:
        if layers:
            layers.append(nn.AvgPool2d(2))
        for channels in stage:
            outputs = scaled(channels, width)
            layers += [WSConv2d(inputs, outputs, 3, padding=1), neuron()]
            layers += [TimeSharedDropout(dropout), Scale(heaviside_gain())]
            inputs = outputs
    readout = nn.Linear(inputs, classes)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)
    kaiming_normal(net, "out")
    nn.init.normal_(readout.weight, std=0.01)
    return net

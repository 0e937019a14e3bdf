"""A small spiking convolutional net with standardised weights and no batch normalisation."""

from collections.abc import Callable, Sequence

from torch import nn

from rheobase.layers import Scale, WSConv2d, heaviside_gain
from rheobase.models.convnet import require_image
from rheobase.neurons import LIF, Neuron


def ws_convnet(
    shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int] = (32, 64),
    neuron: Callable[[], Neuron] = LIF,
) -> nn.Sequential:
    """Standardised convolution 3x3, neuron, the variance-keeping gain, average pool 2 for each width; a linear readout.

    shape: (C, H, W) of one step. The form of OTTT's VGG (Xiao et al., NeurIPS 2022).
    """
    require_image(shape, "ws-convnet")
    layers: list[nn.Module] = []
    width = shape[0]
    for size in channels:
        layers += [WSConv2d(width, size, 3, padding=1), neuron(), Scale(heaviside_gain()), nn.AvgPool2d(2)]
        width = size
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

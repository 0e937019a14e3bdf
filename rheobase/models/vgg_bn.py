"""SLTT's VGG for event cameras."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from rheobase.models.paper_neurons import sltt_neuron
from rheobase.models.preact_resnet import dropping
from rheobase.models.starting_weights import kaiming_normal
from rheobase.models.vgg import Groups, conv_norm_neuron, require_pixels
from rheobase.models.width import scaled
from rheobase.neurons import Neuron

GROUPS: Groups = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg11_bn(
    shape: Sequence[int],
    classes: int,
    *,
    head: Literal["paper", "clean"] = "paper",
    dropout: float = 0.3,
    neuron: Callable[[], Neuron] = sltt_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """VGG-11 with dropout for event cameras: 9.5 M parameters with the paper's head, 9.2 M with a clean one.

    shape: (C, H, W) of one step, at least 32 x 32.
    head: "paper" brings what is left, 1 x 1 of 48 x 48 pixels, to 7 x 7 by copying before the readout: each weight
        stands there 49 times, which multiplies its learning rate by 49. "clean" is a global average pool and the
        readout; it wants a learning rate of its own.
    dropout: after each layer of neurons, one mask for the sequence: 0.3 for CIFAR10-DVS, 0.4 for DVS-Gesture.
    norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d. width: factor on all channel counts.

    Meng et al., ICCV 2023, arXiv 2302.14311.
    """
    require_pixels(shape, 32, "vgg11-bn")
    if head not in ("paper", "clean"):
        raise ValueError(f'Expected head "paper" or "clean", got {head!r}.')
    layers: list[nn.Module] = []
    inputs = shape[0]
    for group in GROUPS:
        for channels in group:
            layers += [*conv_norm_neuron(inputs, scaled(channels, width), neuron, norm), *dropping(dropout)]
            inputs = scaled(channels, width)
        layers.append(nn.AvgPool2d(2))
    side = 7 if head == "paper" else 1
    readout = nn.Linear(side * side * inputs, classes)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(side), nn.Flatten(), readout)
    kaiming_normal(net, "out")
    nn.init.normal_(readout.weight, std=0.01)
    return net

"""NF-ResNets: residual nets without normalisation, whose activations keep their variance by construction."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from rheobase.layers import Scale, WSConv2d, heaviside_gain
from rheobase.models.convnet import require_image
from rheobase.models.stages import keeps_shape
from rheobase.models.starting_weights import kaiming_normal
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron

CHANNELS = (64, 128, 256, 512)  # of the four stages; the last three halve the image


def nf_resnet34(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = LIF,
    alpha: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """NF-ResNet-34: standardised convolutions, pre-activation blocks of two, an average pool, a linear readout.

    shape: (C, H, W) of one step, 224 x 224 in the paper. alpha: share of each block in the residual stream.
    width: factor for all channels.

    At the start each block passes its input on (SkipInit) and the readout's weights are 0.
    OTTT: Xiao et al., NeurIPS 2022; SLTT uses the same nets on ImageNet. NF-ResNets: Brock et al., ICLR 2021.
    """
    return nf_resnet(shape, classes, (3, 4, 6, 3), bottleneck=False, neuron=neuron, alpha=alpha, width=width)


def nf_resnet50(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = LIF,
    alpha: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """NF-ResNet-50: standardised convolutions, bottleneck blocks of three, an average pool, a linear readout.

    Otherwise as `nf_resnet34`.
    """
    return nf_resnet(shape, classes, (3, 4, 6, 3), bottleneck=True, neuron=neuron, alpha=alpha, width=width)


def nf_resnet101(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = LIF,
    alpha: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """NF-ResNet-101: standardised convolutions, bottleneck blocks of three, an average pool, a linear readout.

    Otherwise as `nf_resnet34`.
    """
    return nf_resnet(shape, classes, (3, 4, 23, 3), bottleneck=True, neuron=neuron, alpha=alpha, width=width)


class NFBlock(nn.Module):
    """A pre-activation residual block whose input has variance beta^2 and whose branch has variance 1.

        z = gain neuron(x / beta),  out = (downsample(z) or x) + alpha skip branch(z)

    branch: convolutions with a neuron and its variance-keeping gain between any two. skip: learned, 0 at the start.
    """

    def __init__(
        self,
        branch: Sequence[WSConv2d],
        downsample: WSConv2d | None,
        neuron: Callable[[], Neuron],
        beta: float,
        alpha: float,
    ) -> None:
        super().__init__()
        self.beta, self.alpha = beta, alpha
        self.fire = nn.Sequential(neuron(), Scale(heaviside_gain()))
        layers: list[nn.Module] = [branch[0]]
        for conv in branch[1:]:
            layers += [neuron(), Scale(heaviside_gain()), conv]
        self.branch, self.downsample = nn.Sequential(*layers), downsample
        self.skip = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        fired = self.fire(x / self.beta)
        stream: Tensor = x if self.downsample is None else self.downsample(fired)
        return stream + self.alpha * self.skip * self.branch(fired)

    def extra_repr(self) -> str:
        return f"beta={self.beta:.4f}, alpha={self.alpha:g}"


def nf_resnet(
    shape: Sequence[int],
    classes: int,
    depths: Sequence[int],
    *,
    bottleneck: bool,
    neuron: Callable[[], Neuron] = LIF,
    alpha: float = 0.2,
    width: float = 1.0,
) -> nn.Sequential:
    """An NF-ResNet of any depth; options as in `nf_resnet34`.

    depths: blocks of each of one to four stages. bottleneck: blocks of three convolutions, 1x1, 3x3 and 1x1 to four
    times the channels, in place of two 3x3.
    """
    require_image(shape, "nf-resnet")
    if not 1 <= len(depths) <= len(CHANNELS) or min(depths) < 1:
        raise ValueError(f"Expected one to four stages of at least one block each, got depths {tuple(depths)}.")
    inputs = scaled(CHANNELS[0], width)
    layers: list[nn.Module] = [WSConv2d(shape[0], inputs, 7, 2, 3), nn.AvgPool2d(3, 2, 1)]
    variance = 1.0
    for stage, depth in enumerate(depths):
        size = scaled(CHANNELS[stage], width)
        outputs = 4 * size if bottleneck else size
        for block in range(depth):
            stride = 2 if block == 0 and stage > 0 else 1
            resamples = not keeps_shape(inputs, outputs, stride)
            downsample = WSConv2d(inputs, outputs, 1, stride) if resamples else None
            branch = _branch(inputs, size, stride, bottleneck)
            layers.append(NFBlock(branch, downsample, neuron, math.sqrt(variance), alpha))
            variance = alpha**2 + (1.0 if resamples else variance)
            inputs = outputs
    features, readout = nn.Sequential(*layers), nn.Linear(inputs, classes)
    kaiming_normal(features, "out")
    nn.init.zeros_(readout.weight)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)


def _branch(inputs: int, size: int, stride: int, bottleneck: bool) -> list[WSConv2d]:
    if bottleneck:
        return [WSConv2d(inputs, size, 1), WSConv2d(size, size, 3, stride, 1), WSConv2d(size, 4 * size, 1)]
    return [WSConv2d(inputs, size, 3, stride, 1), WSConv2d(size, size, 3, 1, 1)]

"""A fully spiking net for optical flow."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rheobase.layers import WSConv2d
from rheobase.models.convnet import require_image
from rheobase.models.starting_weights import kaiming_normal
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron
from rheobase.surrogates import InverseQuadratic

CHANNELS = (32, 64, 128, 256)  # of the encoder, each halving the image


def flow_neuron() -> LIF:
    """The neuron of S-TLLR's flow net."""
    return LIF(0.88, threshold=0.6, detach_reset=True, surrogate=InverseQuadratic(10.0))


class SpikingResidual(nn.Module):
    """neuron(conv(neuron(conv(x))) + x): the sum is a current, so what comes out are spikes again."""

    def __init__(self, channels: int, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            WSConv2d(channels, channels, 3, padding=1), neuron(), WSConv2d(channels, channels, 3, padding=1)
        )
        self.neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.neuron(self.branch(x) + x)
        return spikes


class FlowNet(nn.Module):
    """Encoder, two residual blocks, a decoder that hears the encoder at each size, a prediction at full resolution."""

    def __init__(self, inputs: int, outputs: int, channels: Sequence[int], neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(WSConv2d(below, size, 3, 2, 1), neuron())
            for below, size in zip((inputs, *channels), channels, strict=False)
        )
        self.residuals = nn.Sequential(*(SpikingResidual(channels[-1], neuron) for _ in range(2)))
        downwards = list(reversed(channels))
        self.decoder = nn.ModuleList(
            nn.Sequential(WSConv2d(above + size, size, 3, padding=1), neuron()) for above, size in pairwise(downwards)
        )
        self.finest = nn.Sequential(WSConv2d(channels[0], channels[0], 3, padding=1), neuron())
        self.prediction = nn.Conv2d(channels[0], outputs, 1)
        kaiming_normal(self, "in")

    def forward(self, x: Tensor) -> Tensor:
        size, heard = x.shape[-2:], []
        for encode in self.encoder:
            x = encode(x)
            heard.append(x)
        x = self.residuals(x)
        for decode, spikes in zip(self.decoder, reversed(heard[:-1]), strict=True):
            x = decode(torch.cat([enlarged(x, spikes.shape[-2:]), spikes], 1))
        flow: Tensor = self.prediction(self.finest(enlarged(x, size)))
        return flow


def enlarged(spikes: Tensor, size: Sequence[int]) -> Tensor:
    """Spikes at a larger size (H, W), each repeated: they stay zeros and ones."""
    return F.interpolate(spikes, size=list(size), mode="nearest")


def flow(
    shape: Sequence[int],
    classes: int = 2,
    *,
    neuron: Callable[[], Neuron] = flow_neuron,
    width: float = 1.0,
) -> FlowNet:
    """U-Net-like flow net: all hidden activations are spikes, and the output is a flow field at the input's size.

    shape: (C, H, W) of one event frame, such as 4 channels (two polarities in two halves of the interval) or 2.
    classes: channels of the output `[N, classes, H, W]`, 2 for flow. width: factor for all channels.

    Encoder 32-64-128-256 of strided convolutions, two residual blocks, a decoder of nearest up-sampling,
    concatenation with the encoder's spikes and convolution; standardised weights; a plain 1x1 convolution predicts.
    It has the form of the net of S-TLLR's flow experiment (Apolinario and Roy, TMLR 2025), whose widths are not
    published: these are ours.
    """
    require_image(shape, "flow")
    return FlowNet(shape[0], classes, [scaled(channels, width) for channels in CHANNELS], neuron)

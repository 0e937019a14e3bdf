"""OTTT's VGG-F: its VGG with a feedback connection from the last feature map to the first layer."""

from collections.abc import Callable, Sequence

from torch import nn

from rheobase.layers import Feedback, WSConv2d
from rheobase.models.vgg_sws import vgg_sws
from rheobase.neurons import LIF, Neuron

POOLED = 8  # by the three average pools


def vgg_f(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = LIF,
    dropout: float = 0.0,
    width: float = 1.0,
) -> nn.Sequential:
    """VGG with standardised weights whose last feature map comes back to the first layer one step later.

    shape: (C, H, W) of one step, H and W multiples of 8; the rest as in `vgg_sws`. The last spikes are enlarged eight
    times by repetition and convolved 3x3 with weights that are zero at the start.
    Xiao et al., NeurIPS 2022.
    """
    if len(shape) == 3 and (shape[1] % POOLED or shape[2] % POOLED):
        raise ValueError(f"Model 'vgg-f' expects images whose sides are multiples of {POOLED}, got {tuple(shape)}.")
    first, *rest, pool, flatten, readout = vgg_sws(shape, classes, neuron=neuron, dropout=dropout, width=width)
    assert isinstance(first, WSConv2d)
    assert isinstance(readout, nn.Linear)
    channels = readout.in_features
    back = nn.Conv2d(channels, first.out_channels, 3, padding=1)
    nn.init.zeros_(back.weight)
    nn.init.zeros_(back.bias)  # type: ignore[arg-type]
    feedback = nn.Sequential(nn.Upsample(scale_factor=POOLED), back)
    last = (channels, shape[1] // POOLED, shape[2] // POOLED)
    return nn.Sequential(Feedback(first, feedback, nn.Sequential(*rest), last), pool, flatten, readout)

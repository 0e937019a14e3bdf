"""A small spiking convolutional net with batch normalisation."""

from collections.abc import Callable, Sequence

from torch import nn

from rheobase.neurons import LIF, Neuron


def convnet(
    shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int] = (32, 64),
    neuron: Callable[[], Neuron] = LIF,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Convolution 3x3, norm, neuron, average pool 2 for each width; global average pool; a linear readout.

    shape: (C, H, W) of one step. norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d.
    """
    require_image(shape, "convnet")
    layers: list[nn.Module] = []
    width = shape[0]
    for size in channels:
        layers += [nn.Conv2d(width, size, 3, padding=1, bias=False), norm(size), neuron(), nn.AvgPool2d(2)]
        width = size
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def require_image(shape: Sequence[int], model: str) -> None:
    if len(shape) != 3:
        raise ValueError(
            f"Model {model!r} expects steps of shape (C, H, W), this data has {tuple(shape)}: use mlp or recurrent."
        )

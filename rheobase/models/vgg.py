"""VGG nets with batch normalisation, as trained with rate-based backpropagation."""

from collections.abc import Callable, Sequence

from torch import nn

from rheobase.models.convnet import require_image
from rheobase.models.paper_neurons import rate_bp_neuron
from rheobase.models.width import scaled
from rheobase.neurons import Neuron

Groups = tuple[tuple[int, ...], ...]  # channels of convolutions; an average pool 2 between the groups

ELEVEN: Groups = ((64,), (128, 256), (512, 512), (512,), (512, 512))
THIRTEEN: Groups = ((64, 64), (128, 128), (256, 256), (512, 512, 512), (512,))
VGGSNN: Groups = ((64, 128), (256, 256), (512, 512), (512, 512))


def vgg11(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """VGG-11 for small images, eight convolutions and a linear readout: 11.0 M parameters.

    shape: (C, H, W) of one step. norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d. width: factor on all
    channel counts. All weights start as N(0, 0.5^2), all biases at 0, as in the code of rate-based backpropagation (Yu
    et al., NeurIPS 2024): norms undo it but for the readout, whose loss starts well above that of chance.
    """
    require_pixels(shape, 16, "vgg11")
    return _vgg(shape, ELEVEN, [nn.AdaptiveAvgPool2d(1)], 1, classes, neuron, norm, width)


def vgg13(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """VGG-13 for small images, ten convolutions and a linear readout: 9.4 M parameters.

    Options and initial weights as in `vgg11`.
    """
    require_pixels(shape, 16, "vgg13")
    return _vgg(shape, THIRTEEN, [nn.AdaptiveAvgPool2d(1)], 1, classes, neuron, norm, width)


def vggsnn(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """VGGSNN for event cameras, read out from all pixels that are left: 9.3 M parameters at 48 x 48.

    Options and initial weights as in `vgg11`. Four groups of two convolutions, each with a pool after it.
    """
    require_pixels(shape, 16, "vggsnn")
    pixels = (shape[1] // 16) * (shape[2] // 16)
    return _vgg(shape, VGGSNN, [nn.AvgPool2d(2)], pixels, classes, neuron, norm, width)


def vggsnn_cifar(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """VGGSNN for small images, pooled to 3 x 3 at the end: 9.7 M parameters for 100 classes.

    Options and initial weights as in `vgg11`. The windows of the last pool overlap where 3 does not divide the side.
    """
    require_pixels(shape, 8, "vggsnn-cifar")
    return _vgg(shape, VGGSNN, [nn.AdaptiveAvgPool2d(3)], 9, classes, neuron, norm, width)


def require_pixels(shape: Sequence[int], least: int, model: str) -> None:
    require_image(shape, model)
    if min(shape[1:]) < least:
        raise ValueError(
            f"Model {model!r} expects images of at least {least} x {least} pixels, as it pools them down to one, this "
            f"data has {tuple(shape)}: use larger images, convnet or a residual net."
        )


def conv_norm_neuron(
    inputs: int, outputs: int, neuron: Callable[[], Neuron], norm: Callable[[int], nn.Module]
) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), norm(outputs), neuron()]


def _vgg(
    shape: Sequence[int],
    groups: Groups,
    last_pool: list[nn.Module],
    pixels: int,
    classes: int,
    neuron: Callable[[], Neuron],
    norm: Callable[[int], nn.Module],
    width: float,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = shape[0]
    for group in groups:
        layers += [nn.AvgPool2d(2)] if layers else []
        for channels in group:
            layers += conv_norm_neuron(inputs, scaled(channels, width), neuron, norm)
            inputs = scaled(channels, width)
    net = nn.Sequential(*layers, *last_pool, nn.Flatten(), nn.Linear(pixels * inputs, classes))
    for module in net:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, std=0.5)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return net

"""S-TLLR's ResNet-18."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rheobase.layers import WSConv2d
from rheobase.models.convnet import require_image
from rheobase.models.stages import EIGHTEEN, blocks_of, keeps_shape
from rheobase.models.vgg9 import stllr_neuron
from rheobase.models.width import scaled
from rheobase.neurons import Neuron


class SpikeSumBlock(nn.Module):
    """Two convolutions, each with a neuron, plus the spikes of the shortcut: values of 2 and more occur."""

    def __init__(self, inputs: int, outputs: int, stride: int, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            WSConv2d(inputs, outputs, 3, stride, 1), neuron(), WSConv2d(outputs, outputs, 3, 1, 1), neuron()
        )
        self.shortcut: nn.Module = nn.Identity()
        if not keeps_shape(inputs, outputs, stride):
            self.shortcut = nn.Sequential(WSConv2d(inputs, outputs, 1, stride), neuron())

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.branch(x) + self.shortcut(x)
        return spikes


def stllr_resnet18(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = stllr_neuron,
    width: float = 1.0,
) -> nn.Sequential:
    """ResNet-18 of standardised convolutions whose blocks add spikes to spikes: 11.2 M parameters.

    shape: (C, H, W) of one step. width: factor for all channels.

    Convolution 3x3, neuron, average pool 2, four stages of two blocks of which the last three halve the image, global
    average pool, linear readout. PyTorch's default weights. What we know of the paper's net leaves the kernel of the
    first convolution and the strides open: ours are those of a ResNet-18 for small images.
    Apolinario and Roy, TMLR 2025, arXiv 2306.15220.
    """
    require_image(shape, "stllr-resnet18")
    first, last = (scaled(EIGHTEEN[index].channels, width) for index in (0, -1))
    return nn.Sequential(
        WSConv2d(shape[0], first, 3, padding=1), neuron(), nn.AvgPool2d(2),
        blocks_of(EIGHTEEN, first, width, lambda i, o, stride: SpikeSumBlock(i, o, stride, neuron)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes),
    )  # fmt: skip

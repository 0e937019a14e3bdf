"""Residual nets that add spikes: SEW-ResNet-34."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rheobase.models.convnet import require_image
from rheobase.models.paper_neurons import rate_bp_neuron
from rheobase.models.stages import THIRTY_FOUR, blocks_of, draw_by_outputs, keeps_shape
from rheobase.models.width import scaled
from rheobase.neurons import Neuron


class SEWBlock(nn.Module):
    """Two times conv, norm, neuron, then the addition: whole numbers come out, not only 0 and 1.

    The shortcut is the identity, or a convolution 1x1 with norm and neuron.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        neuron: Callable[[], Neuron],
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1), norm(outputs), neuron(),
            nn.Conv2d(outputs, outputs, 3, 1, 1), norm(outputs), neuron(),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if not keeps_shape(inputs, outputs, stride):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm(outputs), neuron())

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.residual(x) + self.shortcut(x)
        return added


def sew_resnet34(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """SEW-ResNet-34 for large images, which adds spikes to spikes: 21.8 M parameters, 36 layers of neurons.

    shape: (C, H, W) of one step, 3 x 224 x 224 in the paper: the side shrinks by 32. norm: nn.BatchNorm2d per step,
    or rheobase.SequenceBatchNorm2d. width: factor on all channel counts. Max pooling after the stem's neurons. Fang et
    al., NeurIPS 2021, as trained with rate-based backpropagation (Yu et al., NeurIPS 2024): convolutions with bias.
    """
    require_image(shape, "sew-resnet34")
    stem = scaled(64, width)
    net = nn.Sequential(
        nn.Conv2d(shape[0], stem, 7, 2, 3), norm(stem), neuron(), nn.MaxPool2d(3, 2, 1),
        blocks_of(THIRTY_FOUR, stem, width, lambda i, o, stride: SEWBlock(i, o, stride, neuron, norm)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(scaled(512, width), classes),
    )  # fmt: skip
    draw_by_outputs(net)
    return net

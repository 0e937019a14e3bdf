"""Residual nets whose neuron follows the addition: rate-based backpropagation's ResNet-18 and ResNet-19."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rheobase.models.convnet import require_image
from rheobase.models.paper_neurons import rate_bp_neuron
from rheobase.models.stages import EIGHTEEN, NINETEEN, Stage, blocks_of, keeps_shape
from rheobase.models.width import scaled
from rheobase.neurons import Neuron


class Block(nn.Module):
    """neuron(norm(conv(neuron(norm(conv(x))))) + shortcut(x)): the currents are added, then the neuron fires."""

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
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), neuron(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), norm(outputs),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if not keeps_shape(inputs, outputs, stride):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
        self.neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        fired: Tensor = self.neuron(self.residual(x) + self.shortcut(x))
        return fired


def resnet18(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """ResNet-18 for small images, its neurons after the addition: 11.2 M parameters, 17 layers of neurons.

    shape: (C, H, W) of one step. norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d. width: factor on all
    channel counts. A stem 3x3 of stride 1, stages of 64, 128, 256, 512 channels, global average pool, a linear
    readout. The CIFAR net of rate-based backpropagation (Yu et al., NeurIPS 2024, arXiv 2410.11488).
    """
    require_image(shape, "resnet18")
    outputs = scaled(512, width)
    return nn.Sequential(*_features(shape[0], EIGHTEEN, neuron, norm, width), nn.Linear(outputs, classes))


def resnet19(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """ResNet-19 for small images, two linear layers at its end: 12.7 M parameters, 18 layers of neurons.

    Options as in `resnet18`. Stages of 128, 256, 512 channels, global average pool, linear to 256, neuron, linear
    readout. With PyTorch's first weights, which the authors keep, the neurons between the linear layers are silent
    until training wakes them. The net of rate-based backpropagation (Yu et al., NeurIPS 2024) and, before it, of tdBN
    (Zheng et al., AAAI 2021).
    """
    require_image(shape, "resnet19")
    outputs, hidden = scaled(512, width), scaled(256, width)
    head = (nn.Linear(outputs, hidden), neuron(), nn.Linear(hidden, classes))
    return nn.Sequential(*_features(shape[0], NINETEEN, neuron, norm, width), *head)


def _features(
    inputs: int,
    stages: Sequence[Stage],
    neuron: Callable[[], Neuron],
    norm: Callable[[int], nn.Module],
    width: float,
) -> list[nn.Module]:
    stem = scaled(stages[0].channels, width)
    blocks = blocks_of(stages, stem, width, lambda i, o, stride: Block(i, o, stride, neuron, norm))
    layers = [nn.Conv2d(inputs, stem, 3, 1, 1, bias=False), norm(stem), neuron(), blocks]
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()]

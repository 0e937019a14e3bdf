"""Residual nets with norm and neuron before the convolutions: SLTT's PreAct-ResNet-18."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from rheobase.layers import TimeSharedDropout
from rheobase.models.convnet import require_image
from rheobase.models.paper_neurons import sltt_neuron
from rheobase.models.stages import EIGHTEEN, blocks_of, draw_by_outputs, keeps_shape
from rheobase.models.width import scaled
from rheobase.neurons import Neuron


class PreActBlock(nn.Module):
    """spikes = neuron(norm(x)); conv(dropout(neuron(norm(conv(spikes))))) + shortcut(spikes).

    The shortcut, of the spikes and not of x, is the identity or a convolution 1x1. All convolutions have a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        neuron: Callable[[], Neuron],
        norm: Callable[[int], nn.Module],
        dropout: float,
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(norm(inputs), neuron())
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1), norm(outputs), neuron(), *dropping(dropout),
            nn.Conv2d(outputs, outputs, 3, 1, 1),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if not keeps_shape(inputs, outputs, stride):
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(x)
        added: Tensor = self.residual(spikes) + self.shortcut(spikes)
        return added


def dropping(probability: float) -> list[nn.Module]:
    """A dropout whose mask stays for the sequence, or nothing at probability 0."""
    return [TimeSharedDropout(probability)] if probability else []


def preact_resnet18(
    shape: Sequence[int],
    classes: int,
    *,
    dropout: float = 0.0,
    neuron: Callable[[], Neuron] = sltt_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """PreAct-ResNet-18 for small images, norm and neuron first: 11.2 M parameters, 17 layers of neurons.

    shape: (C, H, W) of one step. dropout: with one mask for the sequence, inside the blocks and before the readout; 0
    in the paper. norm: nn.BatchNorm2d per step, or rheobase.SequenceBatchNorm2d. width: factor on all channel counts.
    The CIFAR net of SLTT (Meng et al., ICCV 2023, arXiv 2302.14311). The authors pool 4 x 4, which is all there is for
    32 x 32 images; here all is pooled for any size.
    """
    require_image(shape, "preact-resnet18")
    stem, outputs = scaled(64, width), scaled(512, width)
    readout = nn.Linear(outputs, classes)
    nn.init.zeros_(readout.bias)
    net = nn.Sequential(
        nn.Conv2d(shape[0], stem, 3, 1, 1, bias=False),
        blocks_of(EIGHTEEN, stem, width, lambda i, o, stride: PreActBlock(i, o, stride, neuron, norm, dropout)),
        norm(outputs), neuron(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropping(dropout), readout,
    )  # fmt: skip
    draw_by_outputs(net)
    return net

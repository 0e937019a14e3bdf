"""Residual nets with a membrane shortcut: a stream of real values, neurons before the convolutions."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.models.convnet import require_image
from rheobase.models.paper_neurons import ms_resnet_neuron, rate_bp_neuron
from rheobase.models.stages import EIGHTEEN, THIRTY_FOUR, blocks_of, draw_by_outputs, keeps_shape
from rheobase.models.width import scaled
from rheobase.neurons import Neuron


class MembraneBlock(nn.Module):
    """norm(conv(neuron(norm(conv(neuron(x)))))) + shortcut(x); what is added is never passed through a neuron.

    The shortcut is the identity, or a convolution 1x1 with norm, of the real-valued stream itself.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        neuron: Callable[[], Neuron],
        norm: Callable[[int], nn.Module],
        bias: bool,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            neuron(), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias), norm(outputs),
            neuron(), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=bias), norm(outputs),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if not keeps_shape(inputs, outputs, stride):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=bias), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.residual(x) + self.shortcut(x)
        return added


def preact_resnet34(
    shape: Sequence[int],
    classes: int,
    *,
    neuron: Callable[[], Neuron] = rate_bp_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """PreAct-ResNet-34 for large images, with a membrane shortcut: 21.8 M parameters, 32 layers of neurons.

    shape: (C, H, W) of one step, 3 x 224 x 224 in the paper: the side shrinks by 32. norm: nn.BatchNorm2d per step,
    or rheobase.SequenceBatchNorm2d. width: factor on all channel counts. The real-valued stream is pooled and read out
    without a neuron, so S-TLLR finds none after the last convolution and refuses the net. As trained with rate-based
    backpropagation (Yu et al., NeurIPS 2024).
    """
    require_image(shape, "preact-resnet34")
    stem = scaled(64, width)
    net = nn.Sequential(
        nn.Conv2d(shape[0], stem, 7, 2, 3), norm(stem), nn.MaxPool2d(3, 2, 1),
        blocks_of(THIRTY_FOUR, stem, width, lambda i, o, stride: MembraneBlock(i, o, stride, neuron, norm, True)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(scaled(512, width), classes),
    )  # fmt: skip
    draw_by_outputs(net)
    return net


def ms_resnet18(
    shape: Sequence[int],
    classes: int,
    *,
    strides: Sequence[int] = (2, 2, 2, 2, 2),
    norm_gain: float = 0.5,
    neuron: Callable[[], Neuron] = ms_resnet_neuron,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """MS-ResNet-18, with a membrane shortcut: 11.7 M parameters for 1000 classes, 17 layers of neurons.

    shape: (C, H, W) of one step. strides: of the stem 7x7 and of the four stages; the authors' are for 224 x 224, small
    images want (1, 1, 2, 2, 2). norm_gain: weight of the norms at the start, in the authors' code the threshold; that
    of each block's last norm starts at 0, so that a block begins as its shortcut. norm: nn.BatchNorm2d per step; the
    authors' is rheobase.SequenceBatchNorm2d, which online rules refuse. width: factor on all channel counts.
    Hu et al., "Advancing Spiking Neural Networks towards Deep Residual Learning", arXiv 2112.08954.
    """
    require_image(shape, "ms-resnet18")
    if len(strides) != 5:
        raise ValueError(f"Expected 5 strides, of the stem and of four stages, got {list(strides)}.")
    stem, stages = scaled(64, width), [replace(s, stride=n) for s, n in zip(EIGHTEEN, strides[1:], strict=True)]
    blocks = blocks_of(stages, stem, width, lambda i, o, stride: MembraneBlock(i, o, stride, neuron, norm, False))
    net = nn.Sequential(
        nn.Conv2d(shape[0], stem, 7, strides[0], 3, bias=False), norm(stem), blocks,
        neuron(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(scaled(512, width), classes),
    )  # fmt: skip
    _fill_norms(net, norm_gain)
    return net


def _fill_norms(net: nn.Module, gain: float) -> None:
    """The weights of all norms become `gain`, those of the last norm of each block 0."""
    for module in net.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            nn.init.constant_(module.weight, gain)
    for module in net.modules():
        if isinstance(module, MembraneBlock):
            last = module.residual[-1]
            if isinstance(last, _BatchNorm) and last.affine:
                nn.init.zeros_(last.weight)

"""A spiking net of MobileNet's size: depthwise separable convolutions, inverted residuals, membrane shortcuts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from rheobase.models.convnet import require_image
from rheobase.models.stages import keeps_shape
from rheobase.models.width import scaled
from rheobase.neurons import LIF, Neuron


@dataclass(frozen=True)
class InvertedStage:
    """`blocks` blocks, inside `expansion` times as wide as their input; the first one has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int


STAGES = (
    InvertedStage(1, 16, 1, 1),
    InvertedStage(6, 24, 2, 2),
    InvertedStage(6, 32, 3, 2),
    InvertedStage(6, 64, 4, 2),
    InvertedStage(6, 96, 3, 1),
    InvertedStage(6, 160, 3, 2),
    InvertedStage(6, 320, 1, 1),
)


class InvertedBlock(nn.Module):
    """Neuron, widening 1x1; neuron, depthwise 3x3; neuron, narrowing 1x1; each with a norm; plus x where shapes agree.

    What leaves the block is real-valued, as in a membrane shortcut; every convolution hears spikes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        expansion: int,
        neuron: Callable[[], Neuron],
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        inside = expansion * inputs
        widening = [neuron(), nn.Conv2d(inputs, inside, 1, bias=False), norm(inside)] if expansion > 1 else []
        self.residual = nn.Sequential(
            *widening,
            neuron(), nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False), norm(inside),
            neuron(), nn.Conv2d(inside, outputs, 1, bias=False), norm(outputs),
        )  # fmt: skip
        self.adds = keeps_shape(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.residual(x)
        return y + x if self.adds else y


def mobilenet(
    shape: Sequence[int],
    classes: int,
    *,
    early_strides: Sequence[int] = (1, 1),
    neuron: Callable[[], Neuron] = LIF,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    width: float = 1.0,
) -> nn.Sequential:
    """MobileNetV2's sizes with membrane shortcuts: 2.2 M parameters, 3.5 M for 1000 classes, 52 layers of neurons.

    shape: (C, H, W) of one step. early_strides: of the stem and of the second stage, (1, 1) for images of 32 to 64
    pixels a side, which then shrink by 8; (2, 2) for 224. norm: nn.BatchNorm2d per step, or
    rheobase.SequenceBatchNorm2d. width: factor on all channel counts. Sizes of Sandler et al., CVPR 2018, shortcuts of
    Hu et al., arXiv 2112.08954; no paper's net.
    """
    require_image(shape, "mobilenet")
    if len(early_strides) != 2:
        raise ValueError(f"Expected 2 early strides, of the stem and of the second stage, got {list(early_strides)}.")
    inputs, last = scaled(32, width), scaled(1280, width)
    stem = (nn.Conv2d(shape[0], inputs, 3, early_strides[0], 1, bias=False), norm(inputs))
    blocks: list[nn.Module] = []
    for stage in (STAGES[0], replace(STAGES[1], stride=early_strides[1]), *STAGES[2:]):
        outputs = scaled(stage.channels, width)
        for place in range(stage.blocks):
            stride = 1 if place else stage.stride
            blocks.append(InvertedBlock(inputs, outputs, stride, stage.expansion, neuron, norm))
            inputs = outputs
    end = (neuron(), nn.Conv2d(inputs, last, 1, bias=False), norm(last), neuron())
    return nn.Sequential(
        *stem, nn.Sequential(*blocks), *end, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes)
    )

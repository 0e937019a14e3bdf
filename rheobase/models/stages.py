"""Residual stages: their sizes as data, and the blocks they stand for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from rheobase.models.width import scaled


@dataclass(frozen=True)
class Stage:
    """`blocks` blocks of one width; the first one has the stride."""

    channels: int
    blocks: int
    stride: int


EIGHTEEN = (Stage(64, 2, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 2, 2))
NINETEEN = (Stage(128, 3, 1), Stage(256, 3, 2), Stage(512, 2, 2))
THIRTY_FOUR = (Stage(64, 3, 1), Stage(128, 4, 2), Stage(256, 6, 2), Stage(512, 3, 2))


def blocks_of(
    stages: Sequence[Stage], inputs: int, width: float, block: Callable[[int, int, int], nn.Module]
) -> nn.Sequential:
    """All blocks in their order, for an input of `inputs` channels.

    block: makes one from its input channels, its output channels and its stride.
    """
    blocks = []
    for stage in stages:
        outputs = scaled(stage.channels, width)
        for place in range(stage.blocks):
            blocks.append(block(inputs, outputs, 1 if place else stage.stride))
            inputs = outputs
    return nn.Sequential(*blocks)


def keeps_shape(inputs: int, outputs: int, stride: int) -> bool:
    """Whether a block's output has the shape of its input, so that the shortcut can be the identity."""
    return stride == 1 and inputs == outputs


def draw_by_outputs(net: nn.Module) -> None:
    """Draws the weights of all convolutions from N(0, 2 / fan_out) (Kaiming); biases and the rest stay as they are."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

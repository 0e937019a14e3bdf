"""Weights before training."""

from typing import Literal

from torch import nn


def kaiming_normal(net: nn.Module, fan: Literal["in", "out"]) -> None:
    """Draws the weights of convolutions and linear layers from N(0, 2 / fan) and sets their biases to 0.

    Standardised weights have the same value whatever their scale, but the scale sets how far a step turns them.
    """
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if fan == "in" else "fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

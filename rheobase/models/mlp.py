"""A spiking multi-layer perceptron."""

import math
from collections.abc import Callable, Sequence

from torch import nn

from rheobase.neurons import LIF, Neuron


def mlp(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: Sequence[int] = (256,),
    neuron: Callable[[], Neuron] = LIF,
) -> nn.Sequential:
    """Flatten, then linear and neuron for each hidden width, then a linear readout without neuron.

    shape: of one sample at one step, such as (64,) or (1, 28, 28). neuron: makes one layer's neurons.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(shape)
    for size in hidden:
        layers += [nn.Linear(width, size), neuron()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, classes))

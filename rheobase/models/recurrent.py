"""A recurrent spiking net with a leaky readout."""

import math
from collections.abc import Callable, Sequence

from torch import nn

from rheobase.layers import Recurrent
from rheobase.neurons import LI, LIF, Neuron


def recurrent(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: int = 128,
    neuron: Callable[[], Neuron] = lambda: LIF(decay=0.95),
    readout_decay: float = 0.95,
) -> nn.Sequential:
    """Flatten, one recurrent layer of neurons, a linear readout into leaky integrators.

    shape: of one sample at one step. The form of S-TLLR's net for spoken digits (Apolinario and Roy, TMLR 2025).
    """
    layer = Recurrent(nn.Linear(math.prod(shape), hidden), nn.Linear(hidden, hidden, bias=False), neuron())
    nn.init.orthogonal_(layer.recurrent.weight, gain=0.5)  # type: ignore[arg-type]
    return nn.Sequential(nn.Flatten(), layer, nn.Linear(hidden, classes), LI(readout_decay))

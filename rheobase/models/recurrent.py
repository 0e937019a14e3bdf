"""A recurrent spiking net with a leaky readout."""

import math
from collections.abc import Callable, Sequence

from torch import nn

from rheobase.layers import Recurrent, WSLinear
from rheobase.models.starting_weights import kaiming_normal
from rheobase.neurons import LI, LIF, Neuron


def recurrent(
    shape: Sequence[int],
    classes: int,
    *,
    hidden: int = 128,
    neuron: Callable[[], Neuron] = lambda: LIF(decay=0.95),
    readout_decay: float = 0.95,
    standardised: bool = False,
) -> nn.Sequential:
    """Flatten, one recurrent layer of neurons, a linear readout into leaky integrators.

    shape: of one sample at one step. standardised: scaled weight standardisation of the input's and the recurrent
    weights; all weights are then Kaiming normal at the start and all biases 0.

    The form of S-TLLR's net for spoken digits (Apolinario and Roy, TMLR 2025), which is hidden=450, standardised=True,
    readout_decay=0.99331 and neuron LIF(0.99331, threshold=0.6, surrogate=FastSigmoid(100)).
    """
    inputs = math.prod(shape)
    if standardised:
        layer = Recurrent(WSLinear(inputs, hidden), WSLinear(hidden, hidden, bias=False), neuron())
    else:
        layer = Recurrent(nn.Linear(inputs, hidden), nn.Linear(hidden, hidden, bias=False), neuron())
        nn.init.orthogonal_(layer.recurrent.weight, gain=0.5)  # type: ignore[arg-type]
    net = nn.Sequential(nn.Flatten(), layer, nn.Linear(hidden, classes), LI(readout_decay))
    if standardised:
        kaiming_normal(net, "in")
    return net

"""Neurons: one kind a file, pure dynamics with explicit state."""

from rheobase.neurons.alif import ALIF
from rheobase.neurons.cuba_lif import CubaLIF
from rheobase.neurons.firing import Firing
from rheobase.neurons.integrate_and_fire import IF
from rheobase.neurons.li import LI
from rheobase.neurons.lif import LIF
from rheobase.neurons.neuron import Neuron, State
from rheobase.neurons.plif import PLIF

NEURONS: dict[str, type[Neuron]] = {
    "alif": ALIF,
    "cubalif": CubaLIF,
    "if": IF,
    "li": LI,
    "lif": LIF,
    "plif": PLIF,
}

__all__ = ["ALIF", "IF", "LI", "LIF", "NEURONS", "PLIF", "CubaLIF", "Firing", "Neuron", "State"]

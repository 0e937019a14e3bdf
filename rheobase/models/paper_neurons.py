"""The neurons that papers train several of their nets with."""

from rheobase.neurons import LIF
from rheobase.surrogates import Rectangle, Triangle


def rate_bp_neuron() -> LIF:
    """Of rate-based backpropagation (Yu et al., NeurIPS 2024): decay 0.2, soft reset without gradient, sigmoid."""
    return LIF(0.2, detach_reset=True)


def sltt_neuron() -> LIF:
    """Of SLTT (Meng et al., ICCV 2023): tau 1.1, soft reset whose gradient their BPTT keeps, triangle."""
    return LIF(tau=1.1, surrogate=Triangle())


def ms_resnet_neuron() -> LIF:
    """Of MS-ResNet (Hu et al., 2021): decay 0.25, threshold 0.5, hard reset without gradient, rectangle.

    The authors' code spikes above the threshold, ours at it too.
    """
    return LIF(0.25, threshold=0.5, reset="zero", detach_reset=True, surrogate=Rectangle())

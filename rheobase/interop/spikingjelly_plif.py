"""SpikingJelly's neuron with a learned time constant."""

import torch
from torch import Tensor, nn

from rheobase.neurons.firing import Firing
from rheobase.neurons.neuron import Neuron, State, constant_like


class SpikingJellyPLIF(Neuron):
    """SpikingJelly's ParametricLIFNode: a LIF with 1 / tau = sigmoid(w), w the node's own parameter.

    potential[t] = state[t-1] - (state[t-1] - rest) / tau + current[t], the current divided by tau too if decay_input

    `rheobase.PLIF` has the same dynamics and learns leak = -w; with this one the two nets can share w.
    """

    def __init__(self, w: nn.Parameter, decay_input: bool, firing: Firing) -> None:
        super().__init__()
        self.w = w
        self.decay_input = decay_input
        self.firing = firing

    def initial_state(self, current: Tensor) -> State:
        return (constant_like(current, self.firing.reset_value),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        (potential,) = state
        share, rest = torch.sigmoid(self.w), self.firing.reset_value
        # In SpikingJelly's order, so that rounding is the same.
        if self.decay_input:
            spikes, potential = self.firing(potential + (current - (potential - rest)) * share)
        else:
            spikes, potential = self.firing(potential - (potential - rest) * share + current)
        return spikes, (potential,)

    def membrane_decay(self) -> Tensor:
        return 1 - torch.sigmoid(self.w.detach())

    def extra_repr(self) -> str:
        return f"decay_input={self.decay_input}, {self.firing}"

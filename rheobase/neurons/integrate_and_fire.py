"""The integrate-and-fire neuron, without leak."""

from torch import Tensor

from rheobase.neurons.firing import Firing, Reset
from rheobase.neurons.neuron import Neuron, State, constant_like
from rheobase.surrogates import Sigmoid, Surrogate


class IF(Neuron):
    """potential[t] = state[t-1] + current[t]: a `LIF` with decay 1, whose other options it shares."""

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_value: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | str = Sigmoid(),
    ) -> None:
        super().__init__()
        self.firing = Firing(threshold, reset, reset_value, detach_reset, surrogate)

    def initial_state(self, current: Tensor) -> State:
        return (constant_like(current, self.firing.reset_value),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        spikes, potential = self.firing(state[0] + current)
        return spikes, (potential,)

    def membrane_decay(self) -> float:
        return 1.0

    def extra_repr(self) -> str:
        return str(self.firing)

"""The leaky integrate-and-fire neuron with a synaptic current."""

from torch import Tensor

from rheobase.neurons.firing import Firing, Reset
from rheobase.neurons.neuron import Neuron, State, constant_like, in_unit_interval, leak
from rheobase.surrogates import Sigmoid, Surrogate


class CubaLIF(Neuron):
    """A `LIF` behind a first-order synapse.

    synaptic[t] = synaptic_decay * synaptic[t-1] + current[t];  potential[t] = decay * state[t-1] + synaptic[t]
    """

    def __init__(
        self,
        decay: float | None = None,
        *,
        tau: float | None = None,
        synaptic_decay: float = 0.5,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_value: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | str = Sigmoid(),
    ) -> None:
        super().__init__()
        self.decay = leak(decay, tau)
        self.synaptic_decay = in_unit_interval("synaptic_decay", synaptic_decay)
        self.firing = Firing(threshold, reset, reset_value, detach_reset, surrogate)

    def initial_state(self, current: Tensor) -> State:
        return constant_like(current, 0.0), constant_like(current, self.firing.reset_value)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        synaptic, potential = state
        rest = self.firing.reset_value
        synaptic = self.synaptic_decay * synaptic + current
        spikes, potential = self.firing(rest + self.decay * (potential - rest) + synaptic)
        return spikes, (synaptic, potential)

    def extra_repr(self) -> str:
        return f"decay={self.decay:g}, synaptic_decay={self.synaptic_decay:g}, {self.firing}"

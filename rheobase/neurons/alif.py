"""The leaky integrate-and-fire neuron with an adaptive threshold."""

from torch import Tensor

from rheobase.neurons.firing import Firing, Reset
from rheobase.neurons.neuron import Neuron, State, constant_like, in_unit_interval, leak
from rheobase.surrogates import Sigmoid, Surrogate


class ALIF(Neuron):
    """A `LIF` whose threshold rises with its own spikes (Bellec et al., NeurIPS 2018).

    threshold[t] = threshold + adaptation * a[t-1];  a[t] = adaptation_decay * a[t-1] + spikes[t]

    The soft reset takes off the threshold of that step.
    """

    def __init__(
        self,
        decay: float | None = None,
        *,
        tau: float | None = None,
        adaptation: float = 0.2,
        adaptation_decay: float = 0.95,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_value: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | str = Sigmoid(),
    ) -> None:
        super().__init__()
        self.decay = leak(decay, tau)
        self.adaptation = adaptation
        self.adaptation_decay = in_unit_interval("adaptation_decay", adaptation_decay)
        self.firing = Firing(threshold, reset, reset_value, detach_reset, surrogate)

    def initial_state(self, current: Tensor) -> State:
        return constant_like(current, self.firing.reset_value), constant_like(current, 0.0)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, fatigue = state
        rest = self.firing.reset_value
        potential = rest + self.decay * (potential - rest) + current
        spikes, potential = self.firing(potential, self.firing.threshold + self.adaptation * fatigue)
        return spikes, (potential, self.adaptation_decay * fatigue + spikes)

    def membrane_decay(self) -> float:
        return self.decay

    def extra_repr(self) -> str:
        return (
            f"decay={self.decay:g}, adaptation={self.adaptation}, "
            f"adaptation_decay={self.adaptation_decay:g}, {self.firing}"
        )

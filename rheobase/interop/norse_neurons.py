"""Norse's neurons: Euler steps of a membrane behind a synaptic current."""

from torch import Tensor

from rheobase.neurons.neuron import Neuron, State, constant_like
from rheobase.surrogates import Surrogate, spike


class NorseLIF(Neuron):
    """Norse's LIF.

        synaptic[t] = (1 - synaptic_rate) * synaptic[t-1] + current[t]
        potential[t] = state[t-1] + rate * (rest - state[t-1] + synaptic[t])
        spikes[t] = 1[potential[t] > threshold], or at it if the surrogate says so; then state[t] = reset_value

    rate, synaptic_rate: dt / tau of the membrane and of the synapse. A spike's effect is scaled by `rate`, which
    `rheobase.CubaLIF` does not do.
    """

    def __init__(
        self,
        rate: float,
        synaptic_rate: float,
        *,
        rest: float,
        threshold: float,
        reset_value: float,
        detach_reset: bool,
        surrogate: Surrogate,
    ) -> None:
        super().__init__()
        self.rate, self.synaptic_rate, self.rest = rate, synaptic_rate, rest
        self.threshold, self.reset_value, self.detach_reset = threshold, reset_value, detach_reset
        self.surrogate = surrogate

    def initial_state(self, current: Tensor) -> State:
        return constant_like(current, self.rest), constant_like(current, 0.0)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, synaptic = state
        synaptic = synaptic + current
        potential = potential + self.rate * ((self.rest - potential) + synaptic)
        spikes = spike(potential - self.threshold, self.surrogate)
        reset = spikes.detach() if self.detach_reset else spikes
        potential = (1 - reset) * potential + reset * self.reset_value
        return spikes, (potential, synaptic - self.synaptic_rate * synaptic)

    def membrane_decay(self) -> float:
        return 1 - self.rate

    def extra_repr(self) -> str:
        detached = ", detach_reset=True" if self.detach_reset else ""
        return (
            f"rate={self.rate:g}, synaptic_rate={self.synaptic_rate:g}, rest={self.rest:g}, "
            f"threshold={self.threshold:g}, reset_value={self.reset_value:g}{detached}, surrogate={self.surrogate}"
        )


class NorseLI(Neuron):
    """Norse's leaky integrator: the potential of a `NorseLIF` that never spikes."""

    spiking = False

    def __init__(self, rate: float, synaptic_rate: float, *, rest: float) -> None:
        super().__init__()
        self.rate, self.synaptic_rate, self.rest = rate, synaptic_rate, rest

    def initial_state(self, current: Tensor) -> State:
        return constant_like(current, self.rest), constant_like(current, 0.0)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, synaptic = state
        synaptic = synaptic + current
        potential = potential + self.rate * ((self.rest - potential) + synaptic)
        return potential, (potential, synaptic - self.synaptic_rate * synaptic)

    def membrane_decay(self) -> float:
        return 1 - self.rate

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}, synaptic_rate={self.synaptic_rate:g}, rest={self.rest:g}"

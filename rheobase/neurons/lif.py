"""The leaky integrate-and-fire neuron."""

from torch import Tensor

from rheobase.neurons.firing import Firing, Reset
from rheobase.neurons.neuron import Neuron, State, constant_like, leak
from rheobase.surrogates import Sigmoid, Surrogate


class LIF(Neuron):
    """potential[t] = decay * state[t-1] + current[t]; spikes where it reaches the threshold; then the reset.

    decay: share of the potential kept per step, in [0, 1] (0.5 when neither it nor `tau` is given).
    tau: time constant in steps, decay = 1 - 1 / tau.
    reset: "subtract" takes the threshold off, "zero" returns to `reset_value`, where the neuron then also starts
        and towards which it leaks: potential = reset_value + decay * (state - reset_value) + current.
    detach_reset: no gradient through the reset.
    decay_input: the current is multiplied by 1 - decay (SpikingJelly's default; not in the papers' code).
    surrogate: an object or a name, `"triangle"` or `"triangle(width=0.5)"`.
    """

    def __init__(
        self,
        decay: float | None = None,
        *,
        tau: float | None = None,
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_value: float = 0.0,
        detach_reset: bool = False,
        decay_input: bool = False,
        surrogate: Surrogate | str = Sigmoid(),
    ) -> None:
        super().__init__()
        self.decay = leak(decay, tau)
        self.decay_input = decay_input
        if decay_input and self.decay == 1:
            raise ValueError("decay_input with decay=1 multiplies the input by 0: leave it out.")
        self.firing = Firing(threshold, reset, reset_value, detach_reset, surrogate)

    def initial_state(self, current: Tensor) -> State:
        return (constant_like(current, self.firing.reset_value),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        (potential,) = state
        rest = self.firing.reset_value
        if self.decay_input:
            current = (1 - self.decay) * current
        potential = self.decay * potential + current
        if rest:
            potential = potential + (1 - self.decay) * rest
        spikes, potential = self.firing(potential)
        return spikes, (potential,)

    def membrane_decay(self) -> float:
        return self.decay

    def extra_repr(self) -> str:
        return f"decay={self.decay:g}{', decay_input=True' if self.decay_input else ''}, {self.firing}"

"""The leaky integrator, which does not spike."""

from torch import Tensor

from rheobase.neurons.neuron import Neuron, State, constant_like, leak


class LI(Neuron):
    """potential[t] = decay * potential[t-1] + current[t], given out as it is: the usual readout.

    decay_input: the current is multiplied by 1 - decay.
    """

    spiking = False

    def __init__(self, decay: float | None = None, *, tau: float | None = None, decay_input: bool = False) -> None:
        super().__init__()
        self.decay = leak(decay, tau)
        self.decay_input = decay_input
        if decay_input and self.decay == 1:
            raise ValueError("decay_input with decay=1 multiplies the input by 0: leave it out.")

    def initial_state(self, current: Tensor) -> State:
        return (constant_like(current, 0.0),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential = self.decay * state[0] + ((1 - self.decay) * current if self.decay_input else current)
        return potential, (potential,)

    def membrane_decay(self) -> float:
        return self.decay

    def extra_repr(self) -> str:
        return f"decay={self.decay:g}{', decay_input=True' if self.decay_input else ''}"

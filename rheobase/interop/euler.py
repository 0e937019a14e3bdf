"""The neuron of a NIR graph whose constants no neuron of ours can say, stepped by Euler's method."""

from torch import Tensor

from rheobase.neurons import Neuron, State
from rheobase.neurons.neuron import constant_like
from rheobase.surrogates import Surrogate, spike


def require_fits(constants: Tensor, x: Tensor) -> None:
    """Raises ValueError unless the constants, one for each cell of a sample or for all, are for `x` `[N, ...]`."""
    shape, sample = constants.shape, x.shape[1:]
    if shape and (
        len(shape) != len(sample) or any(size not in (1, other) for size, other in zip(shape, sample, strict=True))
    ):
        raise ValueError(f"Expected samples of shape {list(shape)}, as the constants are, got {list(sample)}.")


class EulerNeuron(Neuron):
    """A neuron with constants of its own for each cell.

        synaptic[t] = synaptic_decay * synaptic[t-1] + synaptic_gain * current[t]   (or current[t] itself)
        potential[t] = decay * state[t-1] + gain * synaptic[t] + drift;  spikes where it reaches the threshold

    constants: named as in the equations, and `threshold`, `reset_value` (which the reset "zero" returns to, and where
        the neuron starts); each a tensor that broadcasts with one sample. Without `threshold` the potential is given
        out as it is; without the two synaptic ones the current is not filtered.
    reset: "subtract" or "zero".
    """

    decay: Tensor
    gain: Tensor
    drift: Tensor

    def __init__(
        self, constants: dict[str, Tensor], *, reset: str, detach_reset: bool = False, surrogate: Surrogate
    ) -> None:
        super().__init__()
        for name, value in constants.items():
            self.register_buffer(name, value)
        self.filters, self.spiking = "synaptic_decay" in constants, "threshold" in constants
        self.reset, self.detach_reset, self.surrogate = reset, detach_reset, surrogate

    def initial_state(self, current: Tensor) -> State:
        for value in self.buffers():
            require_fits(value, current)
        rest = constant_like(current, 0.0)
        if self.spiking and self.reset == "zero":
            rest = rest + self.get_buffer("reset_value")
        return (rest, constant_like(current, 0.0)) if self.filters else (rest,)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, *synaptic = state
        if synaptic:
            current = self.get_buffer("synaptic_decay") * synaptic[0] + self.get_buffer("synaptic_gain") * current
            synaptic = [current]
        potential = self.decay * potential + self.gain * current + self.drift
        if not self.spiking:
            return potential, (potential, *synaptic)
        threshold = self.get_buffer("threshold")
        spikes = spike(potential - threshold, self.surrogate)
        fired = spikes.detach() if self.detach_reset else spikes
        lost = threshold if self.reset == "subtract" else potential - self.get_buffer("reset_value")
        return spikes, (potential - fired * lost, *synaptic)

    def membrane_decay(self) -> Tensor:
        return self.decay

    def extra_repr(self) -> str:
        constants = ", ".join(f"{name}={list(value.shape)}" for name, value in self.named_buffers())
        return f"{constants}, reset={self.reset!r}, surrogate={self.surrogate}"

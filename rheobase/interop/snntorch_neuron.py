"""snnTorch's neurons, whose reset comes one step late."""

from typing import Literal

from torch import Tensor

from rheobase.neurons.neuron import Neuron, State, constant_like
from rheobase.surrogates import Surrogate, spike

Number = float | Tensor  # a tensor is learned, or differs between neurons
Reset = Literal["subtract", "zero", "zero_all", "none"]


class SnnTorchLeaky(Neuron):
    """snnTorch's Leaky, Lapicque and Synaptic.

        late[t] = 1[potential[t-1] > threshold], without gradient
        potential[t] = beta * potential[t-1] + gain * current[t] - threshold * late[t]
        spikes[t] = 1[potential[t] > threshold]

    The potential lies above the threshold until the step after the spike, and what is then taken off has not decayed,
    so this is no `rheobase.LIF` with reset "subtract".

    reset: "zero" takes off late * beta * potential[t-1] instead, "zero_all" the whole of the new potential, with the
        current of this step; "none" nothing.
    alpha: of a synapse in front, synaptic[t] = alpha * synaptic[t-1] + current[t]; None for none.
    delay: False takes off what the spikes of this step call for at once, with their gradient; what the late reset did
        take off is given back.
    gain: of the current. factor: a spike's size.

    beta, alpha, threshold and factor may be learned or differ between neurons; such a beta or alpha is clamped to
    [0, 1].
    """

    beta: Number
    threshold: Number
    alpha: Number | None
    factor: Number

    def __init__(
        self,
        beta: Number,
        threshold: Number,
        surrogate: Surrogate,
        *,
        alpha: Number | None = None,
        reset: Reset = "subtract",
        delay: bool = True,
        gain: float = 1.0,
        factor: Number = 1.0,
    ) -> None:
        super().__init__()
        for name, value in {"beta": beta, "threshold": threshold, "alpha": alpha, "factor": factor}.items():
            if isinstance(value, Tensor) and not value.requires_grad:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        self.surrogate, self.reset, self.delay, self.gain = surrogate, reset, delay, gain

    def initial_state(self, current: Tensor) -> State:
        return tuple(constant_like(current, 0.0) for _ in range(1 if self.alpha is None else 2))

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, *synaptic = state
        if self.alpha is not None:
            current = _clamped(self.alpha) * synaptic[0] + current
            synaptic = [current]
        late = spike(potential - self.threshold, self.surrogate).detach()
        potential = self._charged(potential, current, late)
        spikes = spike(potential - self.threshold, self.surrogate)
        if not self.delay and self.reset != "none":
            due = spikes - late
            potential = potential - due * (self.threshold if self.reset == "subtract" else potential)
        return self.factor * spikes, (potential, *synaptic)

    def _charged(self, potential: Tensor, current: Tensor, late: Tensor) -> Tensor:
        """The potential before this step's spikes."""
        if self.reset == "zero":
            potential = (1 - late) * potential
        potential = _clamped(self.beta) * potential + (current if self.gain == 1 else self.gain * current)
        if self.reset == "subtract":
            return potential - late * self.threshold
        return potential - late * potential if self.reset == "zero_all" else potential

    def membrane_decay(self) -> Number:
        decay = _clamped(self.beta)
        return decay.detach() if isinstance(decay, Tensor) else decay

    def extra_repr(self) -> str:
        parts = {"beta": self.beta, "alpha": self.alpha, "threshold": self.threshold, "factor": self.factor}
        shown = [f"{name}={_shown(value)}" for name, value in parts.items() if value is not None]
        return f"{', '.join(shown)}, reset={self.reset!r}, delay={self.delay}, surrogate={self.surrogate}"


def _clamped(share: Number) -> Number:
    return share.clamp(0, 1) if isinstance(share, Tensor) else share


def _shown(value: Number) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else f"{'learned ' if value.requires_grad else ''}{list(value.shape)}"
    )

"""The leaky integrate-and-fire neuron whose decay is learned."""

import torch
from torch import Tensor, nn

from rheobase.neurons.firing import Firing, Reset
from rheobase.neurons.neuron import Neuron, State, constant_like, leak
from rheobase.surrogates import Sigmoid, Surrogate


class PLIF(Neuron):
    """A `LIF` with decay = sigmoid(leak), `leak` a learned parameter (Fang et al., ICCV 2021).

    decay, tau: where learning starts, strictly between 0 and 1.
    shape: () for one decay for the whole layer, or a shape that broadcasts with one sample, such as (C, 1, 1).

    Rules that cut time (SLTT) give `leak` the gradient of the step alone: the past potential counts as a constant.
    """

    def __init__(
        self,
        decay: float | None = None,
        *,
        tau: float | None = None,
        shape: tuple[int, ...] = (),
        threshold: float = 1.0,
        reset: Reset = "subtract",
        reset_value: float = 0.0,
        detach_reset: bool = False,
        decay_input: bool = False,
        surrogate: Surrogate | str = Sigmoid(),
    ) -> None:
        super().__init__()
        start = leak(decay, tau)
        if not 0 < start < 1:
            raise ValueError(f"A learned decay starts strictly between 0 and 1, got {start}.")
        self.leak = nn.Parameter(torch.full(shape, start).logit())
        self.decay_input = decay_input
        self.firing = Firing(threshold, reset, reset_value, detach_reset, surrogate)

    def initial_state(self, current: Tensor) -> State:
        return (constant_like(current, self.firing.reset_value),)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        decay, rest = torch.sigmoid(self.leak), self.firing.reset_value
        if self.decay_input:
            current = (1 - decay) * current
        spikes, potential = self.firing(rest + decay * (state[0] - rest) + current)
        return spikes, (potential,)

    def membrane_decay(self) -> Tensor:
        return torch.sigmoid(self.leak.detach())

    def extra_repr(self) -> str:
        return f"shape={tuple(self.leak.shape)}{', decay_input=True' if self.decay_input else ''}, {self.firing}"

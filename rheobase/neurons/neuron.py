"""What a neuron is: pure dynamics of one step, with explicit state."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from rheobase.explained import explained

State = tuple[Tensor, ...]


class Neuron(nn.Module):
    """A layer of neurons of one kind, each with its own state and none of its neighbours'.

    A kind of neuron defines `initial_state` and `dynamics`; both are pure, so every rule can run, differentiate
    and restart them. The module itself never holds state: `rheobase.run`, `rheobase.step` and the rules do.
    """

    spiking = True

    @abstractmethod
    def initial_state(self, current: Tensor) -> State:
        """The state before the first step, each tensor shaped like `current`, `[N, ...]`."""

    @abstractmethod
    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: what the neurons give out, `[N, ...]`, and the state they carry to the next step."""

    def membrane_decay(self) -> float | Tensor:
        """The share of the potential that is left after one step: what a trace of this neuron decays by."""
        raise ValueError(
            f"{type(self).__name__} does not say how its membrane decays: give the rule its trace decay, or "
            f"define {type(self).__name__}.membrane_decay()."
        )

    def forward(self, current: Tensor) -> Tensor:
        raise explained(
            RuntimeError(
                f"{type(self).__name__} has no state of its own, so a spiking model cannot be called directly. "
                "Use rheobase.run(model, xs) for a sequence [T, N, ...], rheobase.step(model, x, state) for one step, "
                "or rule.backward(model, xs, target, loss=...) to train."
            ),
            "state",
        )


def leak(decay: float | None, tau: float | None) -> float:
    """`decay`, or 1 - 1 / tau, tau in steps; 0.5 when neither is given."""
    if decay is not None and tau is not None:
        raise ValueError(f"Give decay or tau, not both: got decay={decay} and tau={tau}.")
    if tau is not None:
        if not tau >= 1:
            raise ValueError(f"Expected tau >= 1 (in steps; decay = 1 - 1 / tau), got {tau}.")
        return 1 - 1 / tau
    return in_unit_interval("decay", 0.5 if decay is None else decay)


def in_unit_interval(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"Expected {name} in [0, 1], got {value}.")
    return float(value)


def constant_like(current: Tensor, value: float) -> Tensor:
    return torch.full_like(current, value, requires_grad=False)

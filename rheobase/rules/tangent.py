"""A neuron's response, by forward-mode differentiation of its own dynamics."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rheobase.neurons import Neuron, State


def response(
    neuron: Neuron, current: Tensor, change: Tensor, state: State, state_change: State | None
) -> tuple[Tensor, Tensor, State, State]:
    """One step of the neuron, and how it changes with its input.

    change: d current, shaped like `current`; state_change: d state, None for a state that does not change.

    Returns spikes, d spikes, the next state, d state. Exact for any dynamics, as each neuron depends on itself alone.
    """
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(current.detach(), change)
        if state_change is not None:
            state = tuple(forward_ad.make_dual(part, d) for part, d in zip(state, state_change, strict=True))
        spikes, after = neuron.dynamics(dual, state)
        parts = [forward_ad.unpack_dual(part) for part in (spikes, *after)]
        zero = change.new_zeros(())
        values = [part.primal for part in parts]
        changes = [zero.expand_as(part.primal) if part.tangent is None else part.tangent for part in parts]
    return values[0], changes[0], tuple(values[1:]), tuple(changes[1:])


def parameter_response(
    neuron: Neuron, name: str, current: Tensor, state: State, state_change: State | None
) -> tuple[Tensor, State]:
    """How one step of the neuron changes with its parameter `name`: d spikes and d state, shaped like them."""
    parameter = neuron.get_parameter(name)
    owner, _, attribute = name.rpartition(".")
    holder = neuron.get_submodule(owner)._parameters
    with forward_ad.dual_level():
        try:
            holder[attribute] = forward_ad.make_dual(parameter.detach(), torch.ones_like(parameter))  # type: ignore[assignment]
            if state_change is not None:
                state = tuple(forward_ad.make_dual(part, d) for part, d in zip(state, state_change, strict=True))
            spikes, after = neuron.dynamics(current.detach(), state)
        finally:
            holder[attribute] = parameter
        parts = [forward_ad.unpack_dual(part) for part in (spikes, *after)]
        changes = [torch.zeros_like(part.primal) if part.tangent is None else part.tangent for part in parts]
    return changes[0], tuple(changes[1:])

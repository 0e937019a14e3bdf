"""How a neuron responds to a change, by differentiating its own dynamics forwards."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rheobase.dual import NOT_ARITHMETIC, Change, Dual
from rheobase.neurons import Neuron, State

Changes = tuple[Change, ...]


def response(
    neuron: Neuron, current: Tensor, state: State, changes: Changes | None
) -> tuple[Tensor, Tensor, State, Changes]:
    """One step of the neuron, and how it changes when its current rises by 1.

    changes: of the state when the currents before rose by 1 too; None if they did not.

    Returns spikes, d spikes, the next state, d state. Exact for any dynamics, as each neuron depends on itself alone.
    """
    changes = changes or (0.0,) * len(state)
    try:
        with torch.enable_grad():  # the dynamics may hide a part of themselves from it
            dual_state = tuple(Dual(part.detach(), change) for part, change in zip(state, changes, strict=True))
            spikes, after = neuron.dynamics(Dual(current.detach(), 1.0), dual_state)  # type: ignore[arg-type]
        duals = [part if isinstance(part, Dual) else Dual(part, 0.0) for part in (spikes, *after)]
        values = [d.value.detach() for d in duals]
        moved = [d.change.detach() if isinstance(d.change, Tensor) else d.change for d in duals]
    except NOT_ARITHMETIC:
        with forward_ad.dual_level():
            values, moved = _by_forward_mode(neuron, current, torch.ones_like(current), state, changes)
    return values[0], _as_tensor(moved[0], values[0]), tuple(values[1:]), tuple(moved[1:])


def parameter_response(
    neuron: Neuron, name: str, current: Tensor, state: State, changes: Changes | None
) -> tuple[Tensor, Changes]:
    """How one step of the neuron changes when its parameter `name` rises by 1: d spikes, d state."""
    parameter = neuron.get_parameter(name)
    owner, _, attribute = name.rpartition(".")
    holder = neuron.get_submodule(owner)._parameters
    changes = changes or (0.0,) * len(state)
    with forward_ad.dual_level():
        try:
            holder[attribute] = forward_ad.make_dual(parameter.detach(), torch.ones_like(parameter))  # type: ignore[assignment]
            values, moved = _by_forward_mode(neuron, current, None, state, changes)
        finally:
            holder[attribute] = parameter
    return _as_tensor(moved[0], values[0]), tuple(moved[1:])


def _by_forward_mode(
    neuron: Neuron, current: Tensor, change: Tensor | None, state: State, changes: Changes
) -> tuple[list[Tensor], list[Change]]:
    """`neuron.dynamics` on PyTorch's own dual tensors, within a dual level: slower, for any function."""
    moving = current.detach() if change is None else forward_ad.make_dual(current.detach(), change)
    state = tuple(
        forward_ad.make_dual(part, _as_tensor(d, part).clone()) for part, d in zip(state, changes, strict=True)
    )
    spikes, after = neuron.dynamics(moving, state)
    parts = [forward_ad.unpack_dual(part) for part in (spikes, *after)]
    return [p.primal for p in parts], [0.0 if p.tangent is None else p.tangent for p in parts]


def _as_tensor(change: Change, like: Tensor) -> Tensor:
    return change if isinstance(change, Tensor) else torch.full_like(like, change)

"""Neurons as nodes of NIR: continuous equations whose Euler step of length dt is the neuron's own.

tau dv/dt = v_leak - v + r I   ->   v[t] = decay v[t-1] + gain I[t] + (1 - decay) v_leak
decay = 1 - dt / tau,  gain = r dt / tau
"""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rheobase.interop.euler import EulerNeuron
from rheobase.interop.extras import optional
from rheobase.neurons import IF, LI, LIF, PLIF, CubaLIF, Neuron
from rheobase.surrogates import SURROGATES, Surrogate

if TYPE_CHECKING:
    import nir

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Metadata = dict[str, Any]


class SoftResetWarning(UserWarning):
    """Neurons with soft reset were written to a format whose neurons reset to a value."""


def neuron_node(neuron: Neuron, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    """The neurons, `shape` of them in one sample, as a node of NIR. dt: length of a step, seconds.

    Raises ValueError, with the reason, for a neuron that NIR cannot say.
    """
    write = _WRITERS.get(type(neuron))
    if write is None:
        known = ", ".join(kind.__name__ for kind in _WRITERS if kind is not EulerNeuron)
        raise ValueError(
            f"NIR has no neuron for {where} ({type(neuron).__name__}); it knows leaky integrators with constant "
            f"thresholds. Train with one of {known}."
        )
    return write(neuron, shape, dt, where)


def _lif(neuron: LIF, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    gain = 1 - neuron.decay if neuron.decay_input else 1.0
    return _node(dt, where, decay=np.full(shape, neuron.decay), gain=np.full(shape, gain), **_fires(neuron, shape))


def _if(neuron: IF, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    return _node(dt, where, decay=np.ones(shape), gain=np.ones(shape), **_fires(neuron, shape))


def _plif(neuron: PLIF, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    decay = filled(torch.sigmoid(neuron.leak), shape)
    gain = 1 - decay if neuron.decay_input else np.ones(shape)
    node = _node(dt, where, decay=decay, gain=gain, **_fires(neuron, shape))
    node.metadata["leak"] = np.atleast_1d(numbers(neuron.leak))
    return node


def _li(neuron: LI, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    gain = 1 - neuron.decay if neuron.decay_input else 1.0
    return _node(dt, where, decay=np.full(shape, neuron.decay), gain=np.full(shape, gain))


def _cuba(neuron: CubaLIF, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    synapse = np.full(shape, neuron.synaptic_decay)
    decays: dict[str, Any] = {"decay": np.full(shape, neuron.decay), "synaptic_decay": synapse}
    return _node(dt, where, gain=np.ones(shape), synaptic_gain=np.ones(shape), **decays, **_fires(neuron, shape))


def _euler(neuron: EulerNeuron, shape: Shape, dt: float, where: str) -> "nir.NIRNode":
    constants: dict[str, Any] = {name: filled(value, shape) for name, value in neuron.named_buffers()}
    fires = _metadata(neuron.reset, neuron.detach_reset, neuron.surrogate) if neuron.spiking else {}
    return _node(dt, where, **constants, metadata=fires)


def _fires(neuron: LIF | IF | PLIF | CubaLIF, shape: Shape) -> dict[str, Any]:
    firing = neuron.firing
    assert isinstance(firing.surrogate, Surrogate)
    return {
        "threshold": np.full(shape, firing.threshold),
        "reset_value": np.full(shape, firing.reset_value),
        "metadata": _metadata(firing.reset, firing.detach_reset, firing.surrogate),
    }


def _node(
    dt: float,
    where: str,
    *,
    decay: Array,
    gain: Array,
    drift: Array | None = None,
    threshold: Array | None = None,
    reset_value: Array | None = None,
    synaptic_decay: Array | None = None,
    synaptic_gain: Array | None = None,
    metadata: Metadata | None = None,
) -> "nir.NIRNode":
    """The node whose Euler step is that of `EulerNeuron` with these constants; it leaks to the reset value."""
    nir, fires, told = optional("nir", "nir"), {}, {**(metadata or {}), "decay": decay}
    rest = np.zeros_like(decay) if reset_value is None else reset_value
    if threshold is not None:
        fires = {"v_threshold": threshold, "v_reset": rest.copy()}
    if (decay == 1).all() and synaptic_decay is None and (drift is None or not drift.any()):
        return (nir.IF if fires else nir.I)(r=gain / dt, **fires, metadata=told)
    if (decay == 1).any() or (synaptic_decay is not None and (synaptic_decay == 1).any()):
        raise ValueError(
            f"NIR's leaky neurons leak: {where} has a decay of 1. Train it with decays below 1, or with rheobase.IF."
        )
    leak = rest if drift is None else drift / (1 - decay)
    membrane = {"r": gain / (1 - decay), "v_leak": leak, **fires}
    if synaptic_decay is None or synaptic_gain is None:
        return (nir.LIF if fires else nir.LI)(tau=dt / (1 - decay), **membrane, metadata=told)
    synapse = {"tau_syn": dt / (1 - synaptic_decay), "w_in": synaptic_gain / (1 - synaptic_decay)}
    told["synaptic_decay"] = synaptic_decay
    kind = nir.CubaLIF if fires else nir.CubaLI
    return kind(tau_mem=dt / (1 - decay), **synapse, **membrane, metadata=told)


def _metadata(reset: str, detach_reset: bool, surrogate: Surrogate) -> Metadata:
    """What NIR has no field for."""
    return {"reset": reset, "detach_reset": int(detach_reset), "surrogate": _surrogate_text(surrogate)}


def _surrogate_text(surrogate: Surrogate) -> str:
    """The text that `rheobase.surrogates.surrogate_named` reads; the repr of one that has no name."""
    for name, kind in SURROGATES.items():
        if type(surrogate) is kind:
            values = ", ".join(f"{each.name}={getattr(surrogate, each.name)!r}" for each in fields(surrogate))  # type: ignore[arg-type]
            return f"{name}({values})"
    return repr(surrogate)


def numbers(x: Tensor) -> Array:
    found: Array = x.detach().cpu().double().numpy()
    return found


def filled(x: Tensor, shape: Shape) -> Array:
    """x, which broadcasts with one sample, for each of its `shape` cells."""
    return np.broadcast_to(numbers(x), shape).copy()


_WRITERS: dict[type[Neuron], Callable[..., "nir.NIRNode"]] = {
    LIF: _lif, IF: _if, PLIF: _plif, LI: _li, CubaLIF: _cuba, EulerNeuron: _euler,
}  # fmt: skip

"""Nodes of NIR as neurons, stepped by Euler's method; see `nir_neurons` for the equations."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rheobase.interop.euler import EulerNeuron
from rheobase.interop.surrogates import described
from rheobase.neurons import IF, LI, LIF, PLIF, CubaLIF, Neuron
from rheobase.surrogates import Sigmoid, Surrogate

NEURON_NODES = ("LIF", "LI", "IF", "I", "CubaLIF", "CubaLI", "Threshold")
Constants = dict[str, NDArray[np.float64]]


def neuron_of(node: Any, dt: float, dtype: torch.dtype) -> Neuron:
    """The neuron whose step is the node's Euler step of dt seconds.

    Raises ValueError where dt is too long a step for a time constant.
    """
    constants = _constants(node, dt)
    reset = _text(node.metadata.get("reset", "zero"))
    if reset not in ("zero", "subtract"):
        raise ValueError(f'Expected reset "zero" or "subtract" in its metadata, got {reset!r}.')
    if reset == "subtract" and np.any(constants.get("reset_value", 0)):
        raise ValueError('Expected v_reset = 0 with reset "subtract" in its metadata.')
    options = {
        "reset": reset,
        "detach_reset": bool(node.metadata.get("detach_reset", 0)),
        "surrogate": _surrogate(node),
    }
    learned = _learned(node, constants)
    neuron = _ours(constants, options, learned)
    if neuron is not None:
        return neuron
    tensors = {
        key: torch.tensor(value.item() if value.size == 1 else value, dtype=dtype) for key, value in constants.items()
    }
    return EulerNeuron(tensors, **options)  # type: ignore[arg-type]


def _constants(node: Any, dt: float) -> Constants:
    """Those of `EulerNeuron`; a bare threshold is a neuron that forgets at once."""
    kind = type(node).__name__
    if kind == "Threshold":
        threshold = np.asarray(node.threshold, np.float64)
        zero = np.zeros_like(threshold)
        found = {"decay": zero, "gain": zero + 1, "drift": zero, "threshold": threshold, "reset_value": zero}
    else:
        found = _membrane(node, kind, dt)
    if kind.startswith("Cuba"):
        found["synaptic_decay"], share = _decay(node, "synaptic_decay", node.tau_syn, dt)
        found["synaptic_gain"] = share * np.asarray(node.w_in, np.float64)
    if kind.endswith("IF"):
        found |= {
            "threshold": np.asarray(node.v_threshold, np.float64),
            "reset_value": np.asarray(node.v_reset, np.float64),
        }
    if any(np.isnan(value).any() for value in found.values()):
        raise ValueError("Expected numbers, got some that are none (NaN).")
    return found


def _membrane(node: Any, kind: str, dt: float) -> Constants:
    r = np.asarray(node.r, np.float64)
    if kind in ("IF", "I"):
        return {"decay": np.ones_like(r), "gain": r * dt, "drift": np.zeros_like(r)}
    decay, share = _decay(node, "decay", node.tau_mem if kind.startswith("Cuba") else node.tau, dt)
    return {"decay": decay, "gain": r * share, "drift": share * np.asarray(node.v_leak, np.float64)}


def _decay(node: Any, which: str, tau: Any, dt: float) -> tuple[Any, Any]:
    """What is left after one step, 1 - dt / tau, and dt / tau; exactly as they were where the metadata tell."""
    with np.errstate(divide="ignore"):
        share = dt / np.asarray(tau, np.float64)
    if not (share > 0).all() or (share > 1 + 1e-9).any():
        raise ValueError(
            f"Expected dt of at most its shortest time constant, {np.min(tau):g} s, got {dt:g} s: Euler's method would "
            "overshoot."
        )
    told = node.metadata.get(which)
    decay = np.clip(1 - share, 0.0, 1.0)
    if told is not None and np.shape(told) == decay.shape and np.allclose(told, decay, rtol=0, atol=1e-9):
        decay = np.asarray(told, np.float64)
    return decay, share


def _ours(constants: Constants, options: dict[str, Any], learned: NDArray[np.float64] | None) -> Neuron | None:
    """The neuron of ours with these constants; None if there is none."""
    single = {name: float(value.flat[0]) for name, value in constants.items() if np.ptp(value) == 0}
    spikes, rest = "threshold" in constants, single.get("reset_value", 0.0)
    decay, gain = constants["decay"], constants["gain"]
    takes_all, takes_share = (np.allclose(gain, whole, rtol=1e-9, atol=0) for whole in (1.0, 1 - decay))
    fits = (takes_all or (takes_share and gain.all())) and np.allclose(
        constants["drift"], (1 - decay) * rest, rtol=1e-9, atol=1e-12
    )
    varying = (
        constants.keys() - single.keys() - ({"decay", "gain", "drift"} if learned is not None and spikes else set())
    )
    if not fits or varying or (spikes and not single["threshold"] > max(rest, 0)):
        return None
    shares: dict[str, Any] = {"decay_input": not takes_all}
    if not spikes:
        return None if "synaptic_decay" in single else LI(single["decay"], **shares)
    fires = {"threshold": single["threshold"], "reset_value": rest, **options}
    if "synaptic_decay" in single:
        whole = takes_all and np.isclose(single["synaptic_gain"], 1, rtol=1e-9) and learned is None
        return CubaLIF(single["decay"], synaptic_decay=single["synaptic_decay"], **fires) if whole else None
    if learned is not None:
        return _plif(learned, shares | fires)
    return IF(**fires) if single["decay"] == 1 else LIF(single["decay"], **shares, **fires)


def _plif(leak: NDArray[np.float64], options: dict[str, Any]) -> PLIF:
    neuron = PLIF(**options)
    value = torch.tensor(leak)
    neuron.leak = nn.Parameter(value[0] if value.numel() == 1 else value)
    return neuron


def _learned(node: Any, constants: Constants) -> NDArray[np.float64] | None:
    """The parameter behind the decays, if the metadata have it and it agrees with them."""
    leak = node.metadata.get("leak")
    if leak is None:
        return None
    agrees = np.allclose(1 / (1 + np.exp(-np.asarray(leak, np.float64))), constants["decay"], rtol=0, atol=1e-6)
    return np.asarray(leak, np.float64) if agrees else None


def _surrogate(node: Any) -> Surrogate:
    """That of the metadata; the default one where they have none, or, with a warning, one that is not known here."""
    text = _text(node.metadata.get("surrogate", ""))
    if not text:
        return Sigmoid()
    try:
        return described(text)
    except ValueError:
        warnings.warn(f"Surrogate {text!r} is not known here: its neuron has {Sigmoid()} in place of it.", stacklevel=2)
        return Sigmoid()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

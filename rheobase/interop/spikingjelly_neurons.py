"""SpikingJelly's nodes and surrogates, as neurons of this library."""

import math
from collections.abc import Callable
from typing import Any

from rheobase.interop.conversion import Copier, number
from rheobase.interop.spikingjelly_plif import SpikingJellyPLIF
from rheobase.interop.surrogates import (
    CappedReciprocal,
    CosineSeries,
    Exponential,
    Gaussian,
    LogTail,
    Power,
    Scaled,
    Sides,
    SigmoidThenReciprocal,
    Window,
)
from rheobase.neurons import IF, LIF, CubaLIF, Neuron
from rheobase.neurons.firing import Firing
from rheobase.surrogates import ATan, FastSigmoid, Sigmoid, Surrogate, Triangle

SURROGATES: dict[str, Callable[[Any], Surrogate]] = {
    "Sigmoid": lambda s: Sigmoid(s.alpha),
    "ATan": lambda s: ATan(s.alpha),
    "PiecewiseQuadratic": lambda s: Triangle(1 / s.alpha),
    "Rect": lambda s: Window(0.5 / s.alpha, s.alpha),
    "SoftSign": lambda s: Scaled(FastSigmoid(s.alpha), s.alpha / 2),
    "SuperSpike": lambda s: Scaled(FastSigmoid(1.0), s.alpha),
    "PiecewiseExp": lambda s: Exponential(s.alpha / 2, s.alpha),
    "Erf": lambda s: Gaussian(s.alpha / math.sqrt(math.pi), s.alpha),
    "NonzeroSignLogAbs": lambda s: Power(s.alpha, s.alpha, 1),
    "QPseudoSpike": lambda s: Power(1.0, 2 / (s.alpha - 1), s.alpha),
    "PiecewiseLeakyReLU": lambda s: Window(s.w, 1 / (2 * s.w), s.c),
    "LeakyKReLU": lambda s: Sides(s.leak, s.k, s.k),
    "DeterministicPass": lambda s: Sides(1.0, 1.0, 1.0),
    "LogTailedReLU": lambda s: LogTail(s.alpha),
    "S2NN": lambda s: SigmoidThenReciprocal(s.alpha, s.beta),
    "FakeNumericalGradient": lambda s: CappedReciprocal(s.alpha),
    "SquarewaveFourierSeries": lambda s: CosineSeries(s.n, s.T_period),
}


def surrogate_of(function: Any) -> Surrogate:
    """The surrogate with the same slope as one of SpikingJelly's.

    Raises ValueError for one that is unknown, does not spike, or spikes otherwise than at the threshold.
    """
    name = type(function).__name__
    if not type(function).__module__.startswith("spikingjelly.") or name not in SURROGATES:
        raise ValueError(
            f"surrogate {name} has no counterpart. Take one of {', '.join(SURROGATES)}, or convert with one of them "
            "and set `.firing` of the converted neuron."
        )
    if not function.spiking:
        raise ValueError("its surrogate is in analogue mode: call surrogate_function.set_spiking_mode(True).")
    return SURROGATES[name](function)


def _firing(node: Any) -> Firing:
    rest = 0.0 if node.v_reset is None else number(node.v_reset, "v_reset")
    if getattr(node, "_neuron_precision", None) is not None:
        raise ValueError("a precision policy set the precision of its state. Convert before that.")
    if node.get_reset_value("v") != rest:
        raise ValueError(f"it starts at v = {node.get_reset_value('v')}; here it can only start at its rest, {rest}.")
    return Firing(
        number(node.v_threshold, "v_threshold"),
        "subtract" if node.v_reset is None else "zero",
        rest,
        node.detach_reset,
        surrogate_of(node.surrogate_function),
    )


def _options(node: Any) -> dict[str, Any]:
    return vars(_firing(node))


def _cuba(node: Any, copier: Copier) -> Neuron:
    if node.v_reset:
        raise ValueError(f"it resets to {node.v_reset} but leaks towards 0. Use v_reset=0.0 or None.")
    if node.get_reset_value("c"):
        raise ValueError(f"its current starts at {node.get_reset_value('c')}; here it can only start at 0.")
    decays = number(node.v_decay, "v_decay"), number(node.c_decay, "c_decay")
    return CubaLIF(decays[0], synaptic_decay=decays[1], **_options(node))


def _lif(node: Any, copier: Copier) -> Neuron:
    return LIF(tau=number(node.tau, "tau"), decay_input=node.decay_input, **_options(node))


def _plif(node: Any, copier: Copier) -> Neuron:
    return SpikingJellyPLIF(copier.of(node.w), node.decay_input, _firing(node))


NEURONS: dict[str, Callable[[Any, Copier], Neuron]] = {
    "IFNode": lambda node, copier: IF(**_options(node)),
    "SimpleIFNode": lambda node, copier: IF(**_options(node)),
    "LIFNode": _lif,
    "SimpleLIFNode": _lif,
    "ParametricLIFNode": _plif,
    "CUBALIFNode": _cuba,
}

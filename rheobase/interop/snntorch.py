"""Nets of snnTorch, as nets of this library."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rheobase.interop.checking import require_equal
from rheobase.interop.conversion import Copier, Library, converted, number
from rheobase.interop.snntorch_neuron import Number, Reset, SnnTorchLeaky
from rheobase.interop.surrogates import Above, Beyond, Exponential, Sides
from rheobase.layers import Recurrent
from rheobase.neurons import LIF, Neuron
from rheobase.surrogates import ATan, FastSigmoid, Sigmoid, Surrogate

LIBRARY = Library("snntorch")

SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "atan": ATan,
    "fast_sigmoid": FastSigmoid,
    "sigmoid": lambda slope: Sigmoid(slope),
    "straight_through_estimator": lambda: Sides(1.0, 1.0, 1.0),
    "triangular": lambda threshold: Sides(threshold, -threshold, -threshold),
    "heaviside": lambda: Sides(0.0, 0.0, 1.0),
    "spike_rate_escape": lambda beta, slope: Exponential(slope, beta, 1.0),
    "SFS": lambda **options: Beyond(FastSigmoid(options["slope"]), options["B"]),
}
RESETS: dict[str, Reset] = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
ADVICE = {
    "StateLeaky": "it sees whole sequences. Use snntorch.Leaky.",
    "LinearLeaky": "it sees whole sequences. Use nn.Linear and snntorch.Leaky.",
    "LeakyParallel": "it sees whole sequences. Use nn.Linear and snntorch.RLeaky or snntorch.Leaky.",
    "BatchNormTT1d": "it is a list of norms, one a step. Use nn.BatchNorm1d.",
    "BatchNormTT2d": "it is a list of norms, one a step. Use nn.BatchNorm2d.",
}


def from_snntorch(net: nn.Module, *, copy: bool = False, check: Tensor | None = None) -> nn.Module:
    """The same net with neurons of this library: equal spikes, equal gradients under BPTT, any other rule besides.

    net: any module whose forward computes one step, with neurons that keep their own state (`init_hidden=True`). With
        `output=True` at the end of an `nn.Sequential` the converted net gives out the spikes alone. It is not changed,
        and the state that it holds is left behind.
    copy: parameters and buffers are copied. By default both nets have the same ones: what trains one trains the other.
    check: a sequence `[T, N, ...]` on which both nets are run, in float64 and eval mode, and compared layer by layer.

    Raises ValueError that names each module without an exact counterpart; for `check`, the first step and layer that
    differ.
    """
    last = _last(net)

    def convert(module: Any, path: str, copier: Copier) -> nn.Module | None:
        if not LIBRARY.owns(module):
            return None
        name = type(module).__name__
        if not type(module).__module__.startswith("snntorch."):
            raise ValueError("a subclass may compute something else. Write it as a rheobase.Neuron.")
        if name in ADVICE:
            raise ValueError(ADVICE[name])
        if name not in NEURONS:
            return None
        _require_plain(module, path == last)
        return NEURONS[name](module, copier)

    made = converted(net, LIBRARY, convert, copy=copy)
    if check is not None and made is not net:
        require_equal(net, made, check, _run_original)
    return made


def surrogate_of(function: Any) -> Surrogate:
    """The surrogate with the same slope as one of snnTorch's.

    Raises ValueError for one that is unknown, random or not snnTorch's.
    """
    module, title = getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))
    name = title.split(".")[0]
    if name == "SpikingNeuron":  # surrogate_disable=True
        return Above(Sides(0.0, 0.0, 0.0))
    if module != "snntorch.surrogate" or name not in SURROGATES:
        raise ValueError(
            f"spike_grad {title} has no counterpart. Take one of {', '.join(SURROGATES)}, or convert with "
            "one of them and set `.surrogate` of the converted neuron."
        )
    return Above(SURROGATES[name](**inspect.getclosurevars(function).nonlocals))


def _require_plain(neuron: Any, is_last: bool) -> None:
    if not neuron.init_hidden:
        raise ValueError(
            "it is called as `spk, mem = lif(cur, mem)`, with the state outside. Give it init_hidden=True, and write "
            "forward for one step: `spk = lif(cur)`, no mem, no loop over time; rheobase.run and the rules go through "
            "the steps, and start from rest."
        )
    if neuron.output and not is_last:
        raise ValueError(
            "with output=True it gives out its potential too, which only what follows can take apart. Leave output out "
            "(it is for the last layer of an nn.Sequential)."
        )
    if neuron.inhibition:
        raise ValueError("inhibition=True lets the neurons of a layer act on each other within a step.")
    if neuron.state_quant:
        raise ValueError("state_quant rounds its state. Convert before quantising.")


def _given(value: Tensor, copier: Copier) -> Number:
    """A setting: the parameter, if it is learned; else a number, or a tensor if it differs between neurons."""
    return copier.of(value) if isinstance(value, nn.Parameter) or value.numel() != 1 else float(value)


def _share(value: Tensor, copier: Copier) -> Number:
    """A decay, which snnTorch clamps to [0, 1]."""
    share = _given(value, copier)
    return min(max(share, 0.0), 1.0) if isinstance(share, float) else share


def _reset(neuron: Any, *, with_current: bool) -> Reset:
    """with_current: a reset to zero takes the current of the step along."""
    reset = RESETS[neuron.state_function.__name__]
    if not reset == neuron.reset_mechanism == list(neuron.reset_dict)[int(neuron.reset_mechanism_val)]:
        raise ValueError(
            f'reset_mechanism became "{neuron.reset_mechanism}" later, which snnTorch follows in part. Make it anew.'
        )
    return "zero_all" if reset == "zero" and with_current else reset


def _leaky(neuron: Any, copier: Copier) -> Neuron:
    beta, threshold = _share(neuron.beta, copier), _given(neuron.threshold, copier)
    factor, surrogate = _given(neuron.graded_spikes_factor, copier), surrogate_of(neuron.spike_grad)
    reset, delay = _reset(neuron, with_current=False), neuron.reset_delay
    fixed = all(isinstance(value, float) for value in (beta, threshold, factor))
    if reset == "zero" and fixed and threshold > 0 and factor == 1:
        decay, height = number(beta, "beta"), number(threshold, "threshold")
        return LIF(decay, threshold=height, reset="zero", detach_reset=delay, surrogate=surrogate)
    return SnnTorchLeaky(beta, threshold, surrogate, reset=reset, delay=delay, factor=factor)


def _lapicque(neuron: Any, copier: Copier) -> Neuron:
    if isinstance(neuron.beta, nn.Parameter):
        raise ValueError("learn_beta has no effect in snnTorch, which makes R and C of beta once. Leave it out.")
    product = neuron.R * neuron.C
    return SnnTorchLeaky(
        number(1 - neuron.time_step / product, "1 - time_step / (R * C)"),
        _given(neuron.threshold, copier),
        surrogate_of(neuron.spike_grad),
        reset=_reset(neuron, with_current=True),
        gain=number(neuron.R * (1 / product) * neuron.time_step, "time_step / C"),
        factor=_given(neuron.graded_spikes_factor, copier),
    )


def _synaptic(neuron: Any, copier: Copier) -> Neuron:
    return SnnTorchLeaky(
        _share(neuron.beta, copier),
        _given(neuron.threshold, copier),
        surrogate_of(neuron.spike_grad),
        alpha=_share(neuron.alpha, copier) if type(neuron).__name__.endswith("Synaptic") else None,
        reset=_reset(neuron, with_current=True),
        delay=neuron.reset_delay,
        factor=_given(neuron.graded_spikes_factor, copier),
    )


def _recurrent(neuron: Any, copier: Copier) -> Recurrent:
    if not neuron.all_to_all:
        raise ValueError("all_to_all=False has a weight of its own kind, V. Use all_to_all=True.")
    if type(neuron).__name__ == "RSynaptic" and not neuron.reset_delay:
        raise ValueError("snnTorch 1.0 cannot run it with reset_delay=False itself.")
    return Recurrent(nn.Identity(), copier.of(neuron.recurrent), _synaptic(neuron, copier))


NEURONS: dict[str, Callable[[Any, Copier], nn.Module]] = {
    "Leaky": _leaky,
    "Lapicque": _lapicque,
    "Synaptic": _synaptic,
    "RLeaky": _recurrent,
    "RSynaptic": _recurrent,
}


def _last(net: nn.Module) -> str:
    """The path of the module whose output is the net's, as far as the net is an `nn.Sequential`."""
    path: list[str] = []
    while type(net) is nn.Sequential and len(net):
        path.append(list(net._modules)[-1])
        net = net[-1]
    return ".".join(path)


def _run_original(net: nn.Module, xs: Tensor) -> None:
    for neuron in (module for module in net.modules() if LIBRARY.owns(module)):
        neuron.reset_mem()  # type: ignore[operator]
    for x in xs:
        net(x)

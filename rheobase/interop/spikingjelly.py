"""Nets of SpikingJelly, as nets of this library."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rheobase.interop.checking import require_equal
from rheobase.interop.conversion import Copier, Library, converted, step_of
from rheobase.interop.spikingjelly_neurons import NEURONS
from rheobase.layers import SequenceBatchNorm1d, SequenceBatchNorm2d, TimeSharedDropout

LIBRARY = Library(
    "spikingjelly",
    containers=("MultiStepContainer", "SeqToANNContainer", "StepModeContainer"),
    models="spikingjelly.activation_based.model",
)

ADVICE = {
    "SLTTLIFNode": "the rule is in the neuron. Use LIFNode with the same options, and train with rheobase.SLTT().",
    "OTTTLIFNode": "the rule is in the neuron. Use LIFNode with the same options, and train with rheobase.OTTT().",
    "NonSpikingLIFNode": "it gives out all potentials at once. Use rheobase.LI(tau=..., decay_input=True) as readout.",
    "WSConv2d": "its gain has another shape. Use rheobase.WSConv2d.",
    "WSLinear": "its gain has another shape. Use rheobase.WSLinear.",
    "LinearRecurrentContainer": "its two weights are one tensor. Use rheobase.Recurrent.",
    "Dropout2d": "it drops whole channels, with one mask for all steps. Use layer.Dropout or torch.nn.Dropout2d.",
}
NORMS: dict[str, type[nn.Module]] = {"BatchNorm1d": SequenceBatchNorm1d, "BatchNorm2d": SequenceBatchNorm2d}


def from_spikingjelly(net: nn.Module, *, copy: bool = False, check: Tensor | None = None) -> nn.Module:
    """The same net with neurons of this library: equal spikes, equal gradients under BPTT, any other rule besides.

    net: in step mode "s" any module whose forward computes one step; in step mode "m" layers in `nn.Sequential`, whose
        batch norms become norms over the sequence. It is not changed, and the state that it holds is left behind.
    copy: parameters and buffers are copied. By default both nets have the same ones: what trains one trains the other.
    check: a sequence `[T, N, ...]` on which both nets are run, in float64 and eval mode, and compared layer by layer.

    Raises ValueError that names each module without an exact counterpart; for `check`, the first step and layer that
    differ.
    """
    conversion = _Conversion(net)
    made = converted(net, LIBRARY, conversion, copy=copy)
    if check is not None and made is not net:
        require_equal(net, made, check, partial(_run_original, whole=conversion.whole))
    return made


class _Conversion:
    """What stands for each module of one net.

    A module sees one step `[N, ...]`, a sequence `[T, N, ...]`, or its steps folded into the batch `[T * N, ...]`.
    """

    def __init__(self, net: nn.Module) -> None:
        modules = LIBRARY.layers(net)
        self._folded = _inside(modules, _folds)
        self._looped = _inside(modules, _loops)
        outside = [m for path, m in modules.items() if path not in self._folded | self._looped]
        self.whole = any(_folds(m) or _loops(m) or _mode(m) == "m" for m in outside)
        self._own = _inside(modules, lambda m: not (LIBRARY.owns(m) or type(m).__module__.startswith("torch.nn.")))

    def __call__(self, module: Any, path: str, copier: Copier) -> nn.Module | None:
        folded = path in self._folded
        in_time = self.whole and not folded and path not in self._looped
        if not LIBRARY.owns(module):
            return _plain(module, copier, folded, in_time and path not in self._own)
        name = type(module).__name__
        if not type(module).__module__.startswith("spikingjelly."):
            raise ValueError("a subclass may compute something else. Write it as a rheobase.Neuron or a plain module.")
        if name in ADVICE:
            raise ValueError(ADVICE[name])
        if _folds(module) or _loops(module) or name == "StepModeContainer":
            return copier.in_sequence(module)
        if in_time and _mode(module) != "m":
            raise ValueError(
                'it is in step mode "s" among others in "m": call functional.set_step_mode(net, "s" or "m").'
            )
        if folded and (name in NEURONS or name == "Dropout"):
            raise ValueError("it has state, which SeqToANNContainer mixes between steps. Use MultiStepContainer.")
        if name in NEURONS:
            return NEURONS[name](module, copier)
        return _layer(module, copier, folded or _mode(module) == "m")


def _plain(module: nn.Module, copier: Copier, folded: bool, in_time: bool) -> nn.Module | None:
    if folded and isinstance(module, _BatchNorm):
        return _norm_over_time(module, copier)
    if not in_time:
        return None
    try:
        return step_of(module)
    except ValueError as reason:
        raise ValueError(
            f"{reason} Put it in layer.SeqToANNContainer. If its forward can compute one step, call "
            'functional.set_step_mode(net, "s") first. If it loops over time or takes the mean over it, convert the '
            "nn.Sequential inside it: rheobase.run and the rules go through the steps."
        ) from None


def _layer(module: Any, copier: Copier, over_time: bool) -> nn.Module | None:
    """A layer of SpikingJelly that is one of PyTorch's, or nearly so."""
    name, kind = type(module).__name__, type(module).__mro__[1]
    if name == "Dropout":
        return TimeSharedDropout(module.p)
    if name == "VotingLayer":
        return nn.AvgPool1d(module.voting_size, module.voting_size)
    if isinstance(module, _BatchNorm) and over_time:
        return _norm_over_time(module, copier)
    if kind.__module__.startswith("torch.nn.") and kind.__name__ == name:
        made = copier.as_kind(module, kind)
        made.step_mode = "s"  # type: ignore[assignment]  # a forward of the user's own may ask for it
        return made
    return None


def _norm_over_time(module: nn.Module, copier: Copier) -> nn.Module:
    over_time = NORMS.get(type(module).__name__.removeprefix("ThresholdDependent"))
    if over_time is None:
        raise ValueError("of norms over whole sequences, only BatchNorm1d and BatchNorm2d have a counterpart.")
    return copier.as_kind(module, over_time)


def _mode(module: Any) -> str:
    return getattr(module, "_step_mode", "s")


def _folds(module: Any) -> bool:
    return _is(module, "SeqToANNContainer") or (
        _is(module, "StepModeContainer") and _mode(module) == "m" and not module.stateful
    )


def _loops(module: Any) -> bool:
    return _is(module, "MultiStepContainer") or (
        _is(module, "StepModeContainer") and _mode(module) == "m" and module.stateful
    )


def _is(module: nn.Module, name: str) -> bool:
    return type(module).__module__.startswith("spikingjelly.") and type(module).__name__ == name


def _inside(modules: dict[str, nn.Module], contains: Callable[[nn.Module], bool]) -> set[str]:
    """The paths of what is inside such containers."""
    roots = [f"{path}." if path else "" for path, module in modules.items() if contains(module)]
    return {path for path in modules for root in roots if path.startswith(root) and path + "." != root and path}


def _run_original(net: nn.Module, xs: Tensor, whole: bool) -> None:
    from spikingjelly.activation_based import functional

    functional.reset_net(net)
    if whole:
        net(xs)
    else:
        for x in xs:
            net(x)

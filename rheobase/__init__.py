"""Rheobase: train deep spiking networks over any number of time steps with the memory of one."""

import importlib
from typing import TYPE_CHECKING, Any

from rheobase.version import __version__

if TYPE_CHECKING:
    from rheobase import datasets as datasets
    from rheobase import distributed as distributed
    from rheobase import events as events
    from rheobase import interop as interop
    from rheobase import layers as layers
    from rheobase import losses as losses
    from rheobase import measure as measure
    from rheobase import models as models
    from rheobase import neurons as neurons
    from rheobase import plots as plots
    from rheobase import recipes as recipes
    from rheobase import report as report
    from rheobase import rules as rules
    from rheobase import surrogates as surrogates
    from rheobase import training as training
    from rheobase import transforms as transforms
    from rheobase.citing import cite as cite
    from rheobase.inference import run as run
    from rheobase.inference import step as step
    from rheobase.interop.fold import fold_batch_norm as fold_batch_norm
    from rheobase.interop.nir_export import to_nir as to_nir
    from rheobase.interop.nir_import import from_nir as from_nir
    from rheobase.interop.norse import from_norse as from_norse
    from rheobase.interop.onnx_export import to_onnx as to_onnx
    from rheobase.interop.snntorch import from_snntorch as from_snntorch
    from rheobase.interop.spikingjelly import from_spikingjelly as from_spikingjelly
    from rheobase.layers import Feedback as Feedback
    from rheobase.layers import Recurrent as Recurrent
    from rheobase.layers import Scale as Scale
    from rheobase.layers import SequenceBatchNorm1d as SequenceBatchNorm1d
    from rheobase.layers import SequenceBatchNorm2d as SequenceBatchNorm2d
    from rheobase.layers import TimeSharedDropout as TimeSharedDropout
    from rheobase.layers import WSConv2d as WSConv2d
    from rheobase.layers import WSLinear as WSLinear
    from rheobase.layers import heaviside_gain as heaviside_gain
    from rheobase.learner import Learner as Learner
    from rheobase.neurons import ALIF as ALIF
    from rheobase.neurons import IF as IF
    from rheobase.neurons import LI as LI
    from rheobase.neurons import LIF as LIF
    from rheobase.neurons import PLIF as PLIF
    from rheobase.neurons import CubaLIF as CubaLIF
    from rheobase.neurons import Neuron as Neuron
    from rheobase.recorder import record as record
    from rheobase.rules import BPTT as BPTT
    from rheobase.rules import OTTT as OTTT
    from rheobase.rules import RULES as RULES
    from rheobase.rules import SLTT as SLTT
    from rheobase.rules import STLLR as STLLR
    from rheobase.rules import Online as Online
    from rheobase.rules import RateBP as RateBP
    from rheobase.rules import Result as Result
    from rheobase.rules import Rule as Rule
    from rheobase.rules import TruncatedBPTT as TruncatedBPTT
    from rheobase.sequence import PerStep as PerStep
    from rheobase.sequence import constant as constant
    from rheobase.surrogates import ATan as ATan
    from rheobase.surrogates import FastSigmoid as FastSigmoid
    from rheobase.surrogates import InverseQuadratic as InverseQuadratic
    from rheobase.surrogates import Rectangle as Rectangle
    from rheobase.surrogates import Sigmoid as Sigmoid
    from rheobase.surrogates import Surrogate as Surrogate
    from rheobase.surrogates import Triangle as Triangle
    from rheobase.surrogates import spike as spike

# What the imports above say to type checkers, for the running program: each is imported when it is asked for.
_MODULES = (
    "datasets", "distributed", "events", "interop", "layers", "losses", "measure", "models", "neurons", "plots",
    "recipes", "report", "rules", "surrogates", "training", "transforms",
)  # fmt: skip
_NAMES = {
    "citing": ("cite",),
    "inference": ("run", "step"),
    "interop.fold": ("fold_batch_norm",),
    "interop.nir_export": ("to_nir",),
    "interop.nir_import": ("from_nir",),
    "interop.norse": ("from_norse",),
    "interop.onnx_export": ("to_onnx",),
    "interop.snntorch": ("from_snntorch",),
    "interop.spikingjelly": ("from_spikingjelly",),
    "layers": (
        "Feedback", "Recurrent", "Scale", "SequenceBatchNorm1d", "SequenceBatchNorm2d", "TimeSharedDropout",
        "WSConv2d", "WSLinear", "heaviside_gain",
    ),
    "learner": ("Learner",),
    "neurons": ("ALIF", "IF", "LI", "LIF", "PLIF", "CubaLIF", "Neuron"),
    "recorder": ("record",),
    "rules": ("BPTT", "OTTT", "RULES", "SLTT", "STLLR", "Online", "RateBP", "Result", "Rule", "TruncatedBPTT"),
    "sequence": ("PerStep", "constant"),
    "surrogates": (
        "ATan", "FastSigmoid", "InverseQuadratic", "Rectangle", "Sigmoid", "Surrogate", "Triangle", "spike",
    ),
}  # fmt: skip
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_HOME, *_MODULES]


if not TYPE_CHECKING:  # to a type checker any name would do

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"rheobase.{name}")
        if name not in _HOME:
            raise AttributeError(f"module 'rheobase' has no attribute {name!r}")
        found = getattr(importlib.import_module(f"rheobase.{_HOME[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

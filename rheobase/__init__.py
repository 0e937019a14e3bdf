"""Rheobase: train deep spiking networks over any number of time steps with the memory of one."""

import importlib
from types import ModuleType

from rheobase import datasets, losses, models
from rheobase.inference import run, step
from rheobase.layers import (
    Feedback,
    Recurrent,
    Scale,
    SequenceBatchNorm1d,
    SequenceBatchNorm2d,
    TimeSharedDropout,
    WSConv2d,
    WSLinear,
    heaviside_gain,
)
from rheobase.learner import Learner
from rheobase.neurons import ALIF, IF, LI, LIF, PLIF, CubaLIF, Neuron
from rheobase.record import record
from rheobase.rules import (
    BPTT,
    OTTT,
    RULES,
    SLTT,
    STLLR,
    Online,
    RateBP,
    Result,
    Rule,
    TruncatedBPTT,
)
from rheobase.sequence import PerStep, constant
from rheobase.surrogates import ATan, FastSigmoid, InverseQuadratic, Rectangle, Sigmoid, Surrogate, Triangle, spike
from rheobase.version import __version__

__all__ = [
    "ALIF",
    "BPTT",
    "IF",
    "LI",
    "LIF",
    "OTTT",
    "PLIF",
    "RULES",
    "SLTT",
    "STLLR",
    "ATan",
    "CubaLIF",
    "FastSigmoid",
    "Feedback",
    "InverseQuadratic",
    "Learner",
    "Neuron",
    "Online",
    "PerStep",
    "RateBP",
    "Rectangle",
    "Recurrent",
    "Result",
    "Rule",
    "Scale",
    "SequenceBatchNorm1d",
    "SequenceBatchNorm2d",
    "Sigmoid",
    "Surrogate",
    "TimeSharedDropout",
    "Triangle",
    "TruncatedBPTT",
    "WSConv2d",
    "WSLinear",
    "__version__",
    "constant",
    "datasets",
    "heaviside_gain",
    "losses",
    "models",
    "record",
    "run",
    "spike",
    "step",
]

_WHEN_ASKED = ("distributed", "measure", "plots", "report", "training")  # what costs time to import


def __getattr__(name: str) -> ModuleType:
    if name in _WHEN_ASKED:
        return importlib.import_module(f"rheobase.{name}")
    raise AttributeError(f"module 'rheobase' has no attribute {name!r}")

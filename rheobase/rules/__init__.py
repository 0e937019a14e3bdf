"""Learning rules: one a file; each finds the gradient of a whole sequence for any model."""

from rheobase.rules.bptt import BPTT, TruncatedBPTT
from rheobase.rules.eligibility import Instantaneous, Traces
from rheobase.rules.online import Online
from rheobase.rules.ottt import OTTT
from rheobase.rules.rate_bp import RateBP
from rheobase.rules.rule import Result, Rule
from rheobase.rules.schedules import EveryStep, GivenSteps, LastSteps, RandomSteps
from rheobase.rules.signals import Backprop, DirectFeedback
from rheobase.rules.sltt import SLTT
from rheobase.rules.stllr import STLLR

RULES = {
    "bptt": BPTT,
    "ottt": OTTT,
    "rate-bp": RateBP,
    "s-tllr": STLLR,
    "sltt": SLTT,
    "truncated-bptt": TruncatedBPTT,
}

__all__ = [
    "BPTT",
    "OTTT",
    "RULES",
    "SLTT",
    "STLLR",
    "Backprop",
    "DirectFeedback",
    "EveryStep",
    "GivenSteps",
    "Instantaneous",
    "LastSteps",
    "Online",
    "RandomSteps",
    "RateBP",
    "Result",
    "Rule",
    "Traces",
    "TruncatedBPTT",
]

"""Learning rules: one a file; each finds the gradient of a whole sequence for any model."""

from rheobase.engine import Sweep
from rheobase.rules.bptt import BPTT, TruncatedBPTT
from rheobase.rules.eligibility import Eligibility, Instantaneous, Traces
from rheobase.rules.online import NamedOnline, Online
from rheobase.rules.ottt import OTTT
from rheobase.rules.rate_bp import RateBP
from rheobase.rules.rule import Result, Rule
from rheobase.rules.schedules import EveryStep, GivenSteps, LastSteps, RandomSteps, Schedule
from rheobase.rules.signals import Backprop, DirectFeedback, Signal, SignalPath
from rheobase.rules.sltt import SLTT
from rheobase.rules.stllr import STLLR
from rheobase.treatment import Treatment
from rheobase.wiring import Wiring

RULES: dict[str, type[Rule]] = {
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
    "Eligibility",
    "EveryStep",
    "GivenSteps",
    "Instantaneous",
    "LastSteps",
    "NamedOnline",
    "Online",
    "RandomSteps",
    "RateBP",
    "Result",
    "Rule",
    "Schedule",
    "Signal",
    "SignalPath",
    "Sweep",
    "Traces",
    "Treatment",
    "TruncatedBPTT",
    "Wiring",
]

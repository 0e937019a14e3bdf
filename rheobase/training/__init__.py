"""Training: an experiment as data, its run, its files."""

from rheobase.training.evaluate import evaluate, load_run
from rheobase.training.experiment import Experiment, rule_named, rule_text
from rheobase.training.fit import Report, fit, resume
from rheobase.training.health import firing_rates
from rheobase.training.loop import DivergedError, Epoch
from rheobase.training.progress import ConsoleProgress, Progress, Silent

__all__ = [
    "ConsoleProgress",
    "DivergedError",
    "Epoch",
    "Experiment",
    "Progress",
    "Report",
    "Silent",
    "evaluate",
    "firing_rates",
    "fit",
    "load_run",
    "resume",
    "rule_named",
    "rule_text",
]

"""Training: an experiment as data, its run, its files."""

from rheobase.training.anomalies import DivergedError
from rheobase.training.evaluate import evaluate, load_run
from rheobase.training.experiment import Experiment, rule_named, rule_text
from rheobase.training.files import DiskError
from rheobase.training.fit import Report, fit, resume
from rheobase.training.health import firing_rates
from rheobase.training.loggers import Logger, TensorBoard
from rheobase.training.loop import Epoch
from rheobase.training.out_of_memory import OutOfMemory
from rheobase.training.progress import ConsoleProgress, Progress, Silent
from rheobase.training.stopping import Interrupted

__all__ = [
    "ConsoleProgress",
    "DiskError",
    "DivergedError",
    "Epoch",
    "Experiment",
    "Interrupted",
    "Logger",
    "OutOfMemory",
    "Progress",
    "Report",
    "Silent",
    "TensorBoard",
    "evaluate",
    "firing_rates",
    "fit",
    "load_run",
    "resume",
    "rule_named",
    "rule_text",
]

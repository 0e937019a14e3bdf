"""Measuring rules: memory, time, accuracy, and how good a gradient is."""

from rheobase.measure.agreement import Agreement, gradient_cosine
from rheobase.measure.comparison import Row, compare, default_rules, results
from rheobase.measure.memory import TrainingMemory, kept_bytes, peak_bytes, training_memory

__all__ = [
    "Agreement",
    "Row",
    "TrainingMemory",
    "compare",
    "default_rules",
    "gradient_cosine",
    "kept_bytes",
    "peak_bytes",
    "results",
    "training_memory",
]

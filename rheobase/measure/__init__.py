"""Measuring rules: memory, time, accuracy, and how good a gradient is."""

from rheobase.measure.agreement import Agreement, gradient_cosine
from rheobase.measure.audit import Audit, RuleAudit, audit
from rheobase.measure.audit_training import Moment, Sampling, audit_run, audit_training
from rheobase.measure.audit_verdict import Finding, Verdict, findings, verdicts
from rheobase.measure.comparison import Row, compare, default_rules, results
from rheobase.measure.memory import TrainingMemory, kept_bytes, peak_bytes, training_memory

__all__ = [
    "Agreement",
    "Audit",
    "Finding",
    "Moment",
    "Row",
    "RuleAudit",
    "Sampling",
    "TrainingMemory",
    "Verdict",
    "audit",
    "audit_run",
    "audit_training",
    "compare",
    "default_rules",
    "findings",
    "gradient_cosine",
    "kept_bytes",
    "peak_bytes",
    "results",
    "training_memory",
    "verdicts",
]

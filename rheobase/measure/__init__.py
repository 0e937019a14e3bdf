"""Measuring rules: memory, time, accuracy, and how good a gradient is."""

from rheobase.allocations import peak_bytes
from rheobase.measure.agreement import Agreement, gradient_cosine
from rheobase.measure.audit import Audit, RuleAudit, audit
from rheobase.measure.audit_training import Moment, Sampling, audit_run, audit_training
from rheobase.measure.audit_verdict import Finding, Verdict, findings, verdicts
from rheobase.measure.comparison import Row, compare, default_rules, results
from rheobase.measure.memory import TrainingMemory, kept_bytes, training_memory
from rheobase.measure.plan import Plan, plan
from rheobase.measure.profile import Energy, Profile, profile

__all__ = [
    "Agreement",
    "Audit",
    "Energy",
    "Finding",
    "Moment",
    "Plan",
    "Profile",
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
    "plan",
    "profile",
    "results",
    "training_memory",
    "verdicts",
]

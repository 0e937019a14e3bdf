"""The demo's promise, kept on real data: every rule learns the digits about as well as BPTT."""

import statistics

import pytest

from rheobase.measure import compare, default_rules
from rheobase.training import Experiment


@pytest.mark.slow
def test_every_rule_comes_within_one_and_a_half_points_of_bptt_on_digits() -> None:
    rows = compare(Experiment(data="digits(steps=8)", model="mlp"), default_rules(8), seeds=(0, 1, 2))
    accuracy = {row.rule: statistics.fmean(100 * run.report.test_score for run in row.runs) for row in rows}
    assert set(accuracy) == {"bptt", "rate-bp", "sltt", "sltt(steps=2)", "ottt", "s-tllr"}
    assert accuracy["bptt"] >= 97
    for rule, value in accuracy.items():
        assert value >= accuracy["bptt"] - 1.5, rule
    kept = {row.rule: row.memory.kept for row in rows if row.memory}
    assert all(kept[rule] < kept["bptt"] / 2 for rule in kept if rule != "bptt")

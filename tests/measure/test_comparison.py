import io
import json
import math
import re
import signal
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from rheobase import plots
from rheobase.measure import Agreement, audit_exact, compare, default_rules, results
from rheobase.measure.comparison import write_results
from rheobase.measure.table import refusals, table
from rheobase.report import report
from rheobase.rules import BPTT, RULES
from rheobase.training import Experiment, Interrupted, Silent, fit, rule_named

SMALL = Experiment(
    data="digits(steps=4, limit=120, evaluation_limit=60)", model="mlp(hidden=[12])", epochs=2, batch_size=30,
    learning_rate=0.01, device="cpu",
)  # fmt: skip


class Picky:
    """A rule that refuses every model."""

    def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
        raise ValueError("no model is good enough")


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RULES, "picky", Picky)
        return compare(SMALL, ["bptt", "truncated-bptt(horizon=1)", "picky"], seeds=(0, 1))


def shown(rows):
    out = io.StringIO()
    Console(file=out, width=100).print(table(rows))
    return out.getvalue()


def test_each_rule_gets_what_it_would_get_alone(rows):
    alone = fit(SMALL)
    assert rows[0].runs[0].report.test_score == alone.test_score
    assert [e.loss for e in rows[0].runs[0].report.epochs] == [e.loss for e in alone.epochs]


def test_all_rules_start_from_the_same_weights(rows):
    bptt, cut = rows[0].runs[0], rows[1].runs[0]
    assert bptt.before.cosine == pytest.approx(1)
    assert bptt.after.cosine == pytest.approx(1)
    assert cut.before.of_parameters["3.weight"] == pytest.approx(1)
    assert cut.before.cosine < 0.99999


def test_cutting_time_takes_less_memory_than_bptt(rows):
    assert rows[1].memory.kept < 0.5 * rows[0].memory.kept
    assert rows[1].memory.peak < rows[0].memory.peak


def test_the_mean_and_the_spread_are_over_the_seeds(rows):
    a, b = (run.report.test_score for run in rows[0].runs)
    assert rows[0].mean(lambda run: run.report.test_score) == pytest.approx((a + b) / 2)
    assert rows[0].spread(lambda run: run.report.test_score) == pytest.approx(abs(a - b) / 2**0.5)


def test_a_rule_that_refuses_is_shown_with_its_reason_and_stops_nothing(rows):
    assert refusals(rows) == ["picky: no model is good enough"]
    assert "refused" in shown(rows)
    assert "±" in shown(rows)


def test_a_rule_that_refuses_the_settings_stops_nothing_either(tmp_path):
    wide = replace(SMALL, chunk=4, epochs=1)
    cut, bptt = compare(wide, ["truncated-bptt(horizon=1)", "bptt"], folder=tmp_path)
    assert cut.refusal is not None
    assert "chunk" in cut.refusal
    assert bptt.refusal is None


class Stops(Silent):
    """Stops the run in its second epoch."""

    def batch(self, epoch, batch, loss, samples_per_second):
        if epoch == 2:
            raise Interrupted(signal.SIGTERM)


class Counts(Silent):
    def __init__(self):
        self.epochs = []

    def epoch(self, record):
        self.epochs.append(record.epoch)


def test_a_comparison_that_was_stopped_takes_up_what_is_there(rows, tmp_path):
    rules, shown = ["bptt", "truncated-bptt(horizon=1)"], {}
    stopping = {"truncated-bptt(horizon=1), seed 0": Stops()}
    with pytest.raises(Interrupted):
        compare(SMALL, rules, seeds=(0, 1), folder=tmp_path, progress=lambda title: stopping.get(title, Silent()))
    again = compare(
        SMALL, rules, seeds=(0, 1), folder=tmp_path, progress=lambda title: shown.setdefault(title, Counts())
    )
    assert {title: counts.epochs for title, counts in shown.items()} == {
        "bptt, seed 0": [],
        "bptt, seed 1": [],
        "truncated-bptt(horizon=1), seed 0": [2],
        "truncated-bptt(horizon=1), seed 1": [1, 2],
    }
    for row, whole in zip(again, rows, strict=False):
        for run, expected in zip(row.runs, whole.runs, strict=True):
            assert run.report.test_score == expected.report.test_score
            assert [e.loss for e in run.report.epochs] == [e.loss for e in expected.report.epochs]
            assert run.after == expected.after


def test_runs_with_other_settings_are_not_taken_for_this_comparison(tmp_path):
    compare(SMALL, ["bptt"], folder=tmp_path)
    with pytest.raises(FileExistsError, match="bptt-seed0 holds a run with other settings"):
        compare(replace(SMALL, learning_rate=0.02), ["bptt", "sltt"], folder=tmp_path)
    assert not (tmp_path / "sltt-seed0").exists()


def test_an_unknown_rule_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="sltt"):
        compare(SMALL, ["bptt", "slt"])


def no_memory(monkeypatch, fits):
    """BPTT of more than two samples fits into memory only where `fits(rule)`, which `free_bytes` knows."""
    backward = BPTT.backward

    def limited(rule, model, xs, *args, **kwargs):
        if xs.shape[1] > 2 and not fits(rule):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return backward(rule, model, xs, *args, **kwargs)

    monkeypatch.setattr(BPTT, "backward", limited)
    monkeypatch.setattr(audit_exact, "free_bytes", lambda _: 1000)


def test_where_bptt_does_not_fit_the_others_are_compared_with_the_checkpointed_one(monkeypatch):
    plain = compare(SMALL, ["sltt"])
    no_memory(monkeypatch, lambda rule: rule.checkpoint)
    bptt, sltt = compare(SMALL, ["bptt", "sltt"])
    assert "Out of memory" in bptt.refusal
    assert "checkpoint=True" in bptt.refusal
    assert bptt.runs == ()
    assert sltt.runs[0].after.cosine == pytest.approx(plain[0].runs[0].after.cosine, rel=1e-5)


def test_where_no_bptt_fits_the_agreement_is_unknown(monkeypatch, tmp_path):
    no_memory(monkeypatch, lambda _: False)
    found = compare(SMALL, ["bptt", "sltt"])
    run = found[1].runs[0]
    assert math.isnan(run.before.cosine)
    assert math.isnan(run.after.cosine)
    assert run.report.test_score > 0.1
    assert "unknown" in shown(found)
    told = results(SMALL, found)
    assert told["rules"][1]["runs"][0]["agreement_after"] == {"cosine": None, "norm_ratio": None, "of_parameters": {}}
    plots.save(plots.comparison(found), tmp_path / "compare.png")
    write_results(tmp_path, told)
    page = report([tmp_path])
    assert not re.search(r"\bnan\b", page)


def test_an_error_that_is_not_about_memory_is_no_refusal(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr(BPTT, "backward", broken)
    with pytest.raises(RuntimeError, match="broken"):
        compare(SMALL, ["sltt"])


def test_the_results_are_json_and_say_where_they_come_from(rows):
    found = json.loads(json.dumps(results(SMALL, rows, ["rheobase", "compare"])))
    assert found.keys() >= {"command", "date", "commit", "device", "threads", "versions", "experiment", "rules"}
    assert found["rules"][0]["runs"][1]["seed"] == 1
    assert len(found["rules"][0]["runs"][0]["epochs"]) == 2
    assert found["rules"][2] == {"rule": "picky", "refusal": "no model is good enough"}


def test_a_cosine_that_cannot_be_told_is_null_in_json(rows):
    run = replace(rows[0].runs[0], before=Agreement(math.nan, 0.0, {"0.weight": math.nan}))
    text = json.dumps(results(SMALL, [replace(rows[0], runs=(run,))]), allow_nan=False)
    told = json.loads(text)["rules"][0]["runs"][0]["agreement_before"]
    assert told == {"cosine": None, "norm_ratio": 0.0, "of_parameters": {"0.weight": None}}


def test_the_picture_is_a_png_also_when_a_rule_refused(rows, tmp_path):
    plots.save(plots.comparison(rows, "title"), tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_there_is_no_picture_where_every_rule_refused(rows):
    with pytest.raises(ValueError, match="every rule refused"):
        plots.comparison([row for row in rows if row.refusal])


def test_without_matplotlib_the_error_says_what_to_install(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"rheobase\[plot\]"):
        plots.save(plots.comparison(rows, "title"), tmp_path / "compare.png")


@pytest.mark.parametrize("steps", [1, 3, 8, 100])
def test_the_default_rules_can_all_be_made(steps):
    assert [rule_named(rule) for rule in default_rules(steps)]

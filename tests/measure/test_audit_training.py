import csv
import importlib
import io
import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

import rheobase as rb
from rheobase.measure.audit import Audit, RuleAudit
from rheobase.measure.audit_files import results, write_audit
from rheobase.measure.audit_paths import Likeness, Path, Paths
from rheobase.measure.audit_sums import Figures
from rheobase.measure.audit_table import sentences, table
from rheobase.measure.audit_training import Moment, Sampling, audit_run
from rheobase.training import Experiment, fit
from rheobase.training.loop import Loop

training = importlib.import_module("rheobase.measure.audit_training")  # its function has the same name

SMALL = Experiment(
    data="digits(steps=3, limit=120, evaluation_limit=60)", model="mlp(hidden=[12])", neuron="lif(threshold=0.5)",
    rule="sltt", epochs=2, batch_size=30, device="cpu",
)  # fmt: skip
RULES = ("sltt", "sltt(steps=9)")
FEW = Sampling(batches=2, draws=1)


def same(a, b):
    """Equal, NaN included."""
    return results(SMALL, [Moment("", 0, a)])["moments"] == results(SMALL, [Moment("", 0, b)])["moments"]


@pytest.fixture(scope="module")
def moments():
    torch.set_num_threads(1)
    return training.audit_training(SMALL, RULES, at=(0, 1, 2), sampling=FEW)


def test_audits_on_the_way_do_not_change_the_training(moments):
    (end,) = training.audit_training(SMALL, RULES, at=(2,), sampling=FEW)
    assert same(end.audit, moments[-1].audit)
    assert not same(moments[0].audit, moments[-1].audit)


def test_a_run_is_audited_at_its_fresh_and_at_its_best_weights(moments, tmp_path):
    best = fit(SMALL, tmp_path / "run").best_epoch
    experiment, (start, end) = audit_run(tmp_path / "run", RULES, sampling=FEW)
    assert experiment == SMALL
    assert (start.title, start.epoch, end.title, end.epoch) == ("start", 0, f"best weights (epoch {best})", best)
    assert same(start.audit, moments[0].audit)
    assert same(end.audit, moments[best].audit)


def test_a_run_can_be_audited_with_another_batch_size(tmp_path):
    fit(replace(SMALL, epochs=1), tmp_path / "run")
    experiment, _ = audit_run(tmp_path / "run", ["bptt"], batch_size=60, sampling=Sampling(batches=9))
    assert experiment.batch_size == 60


def test_all_moments_see_the_same_batches_of_the_train_part_once_each():
    data = SMALL.load_data()
    first, again = ([xs for xs, _ in Sampling(batches=3).of(SMALL, data)] for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert len(list(Sampling(batches=99).of(SMALL, data))) == len(data.train) // 30


def test_by_default_five_audits_are_spread_over_the_training(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "audited", lambda *_: seen.append(1))
    monkeypatch.setattr(Loop, "epoch", lambda self, told: setattr(self, "done", self.done + 1))
    found = training.audit_training(replace(SMALL, epochs=8), RULES)
    assert [(moment.title, moment.epoch) for moment in found] == [
        ("start", 0), ("epoch 2", 2), ("epoch 4", 4), ("epoch 6", 6), ("epoch 8", 8),
    ]  # fmt: skip
    assert len(seen) == 5


def test_rules_take_the_chunk_of_the_experiment_and_those_it_does_not_allow_are_refused():
    (moment,) = training.audit_training(
        replace(SMALL, chunk=3), ["truncated-bptt(horizon=2)", "sltt"], at=(0,), sampling=FEW
    )
    refused, kept = moment.audit.rules
    assert "chunk" in refused.refusal
    assert (kept.rule, kept.refusal) == ("sltt", None)


def test_audits_are_made_in_train_mode():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), rb.LIF(), nn.Linear(8, 10))
    data = SMALL.load_data()
    first, second = (training.audited(SMALL, net.train(mode), data, ["bptt"], FEW) for mode in (True, False))
    assert same(first, second)
    assert first.rules[0].paths.each["normalisation"].without.cosine < 0.999


@pytest.mark.parametrize("at", [(3,), (-1,), ()])
def test_audits_outside_of_the_training_are_refused(at):
    with pytest.raises(ValueError, match="after 0 to 2 epochs"):
        training.audit_training(SMALL, RULES, at=at)


def test_the_results_are_strict_json_and_say_where_they_come_from(moments):
    found = json.loads(json.dumps(results(SMALL, moments, ["rheobase", "audit"]), allow_nan=False))
    assert found.keys() >= {"command", "date", "commit", "versions", "experiment", "moments"}
    first = found["moments"][0]
    assert first["title"] == "start"
    assert first["layers"] == {"1": "Linear", "3": "Linear"}
    assert [neuron["name"] for neuron in first["neurons"]] == ["2"]
    sltt, refused = first["rules"]
    assert sltt["total"]["cosine"] == moments[0].audit.rules[0].total.cosine
    assert sltt["paths"]["each"]["time"]["dropped"] == pytest.approx(1, abs=1e-3)
    assert sltt["verdict"]["text"].startswith("aligned")
    assert refused["total"] is None
    assert "T = 3" in refused["refusal"]
    assert refused["one_step"] is None


def test_the_csv_has_a_line_for_each_moment_rule_and_parameter(moments, tmp_path):
    write_audit(tmp_path, results(SMALL, moments), moments)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "audit.csv").read_text())))
    assert len(rows) == 3 * (1 + 2 + 4)  # moments; all, layers, parameters; the refused rule has none
    row = next(r for r in rows if (r["epoch"], r["of"], r["name"]) == ("1", "parameter", "1.weight"))
    assert float(row["cosine"]) == moments[1].audit.rules[0].of_parameters["1.weight"].cosine
    assert json.loads((tmp_path / "audit.json").read_text())["moments"][2]["epoch"] == 2


def shown(thing, width=200):
    out = io.StringIO()
    Console(file=out, width=width).print(thing)
    return out.getvalue()


def test_the_tables_show_each_rule_with_its_cosines_and_its_verdict(moments):
    numbers, words = shown(table(moments)), shown(sentences(moments), width=80)
    for moment in moments:
        assert f"{moment.audit.rules[0].total.cosine:.3f}" in numbers
    assert "refused" in numbers
    assert "aligned: " in words
    assert "refused: Expected at most T = 3" in words


def test_a_changed_alignment_is_told_with_the_verdict(moments):
    rules = tuple(replace(r, total=r.total and replace(r.total, cosine=0.5)) for r in moments[0].audit.rules)
    before = replace(moments[0], audit=replace(moments[0].audit, rules=rules))
    assert "(start: 0.50)" in shown(sentences([before, moments[-1]]), width=80)
    assert "start" not in shown(sentences(moments), width=80)


def invented(layers, rules, cosine):
    """An audit with this cosine everywhere."""
    figures = Figures(cosine, 0.1, 1.0, 0.2, 0.1, 1.0, 1.0, 0.5)
    like = Likeness(0.9, 1.0, 0.3)
    paths = Paths({name: Path(like, like, 0.5, like) for name in ("reset", "normalisation", "time")}, like, 1.0)
    names = {f"block{i}.convolution_with_a_long_name{i}": "Conv2d" for i in range(layers)}
    made = [RuleAudit(rule, "bptt", figures, dict.fromkeys(names, figures), {}, paths) for rule in rules]
    return Audit((*made, RuleAudit("no", refusal="no")), names, (), 1, 1)


@pytest.mark.parametrize("layers", [3, 40])
def test_the_picture_shows_every_layer_and_rule_at_the_first_and_last_moment(layers):
    rules = ["sltt", "s-tllr(last=4, signal='dfa')"]
    moments = [
        Moment("start", 0, invented(layers, rules, 0.25)),
        Moment("epoch 9", 9, invented(layers, rules, math.nan)),
    ]
    first, last, _, curves, losses = rb.plots.audit(moments, "title").axes
    assert [text.get_text() for text in first.texts] == ["0.25"] * 2 * (layers + 1)
    assert {text.get_text() for text in last.texts} == {"none"}
    assert [label.get_text() for label in first.get_yticklabels()][-1] == "all"
    assert "Conv2d" in first.get_yticklabels()[0].get_text()
    assert [label.get_text() for label in first.get_xticklabels()] == ["sltt", "s-tllr\n(last=4, signal='dfa')"]
    assert [line.get_xdata().tolist() for line in curves.lines] == [[0, 9]] * 2
    assert [bar.get_width() for bar in losses.patches] == pytest.approx([0.3] * 8)


def test_one_moment_has_one_heat_map_and_no_curves():
    figure = rb.plots.audit([Moment("start", 0, invented(3, ["sltt"], 0.9))], "title")
    heat, _, losses = figure.axes
    assert heat.get_title(loc="left").endswith("start")
    assert len(losses.patches) == 4

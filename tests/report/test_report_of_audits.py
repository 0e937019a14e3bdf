import torch
from report import folders as made
from report.reading import headline, read, sections, table_with
from torch import nn

import rheobase as rb
from rheobase.measure.audit import audit
from rheobase.measure.audit_files import results
from rheobase.measure.audit_training import Moment
from rheobase.report import report
from rheobase.training import Experiment

ALIGNED = made.audited("bptt", 1.0, exact="bptt")


def page_of(tmp_path, *moments):
    return report([made.audit(tmp_path / "a", list(moments))])


def test_the_first_sentence_names_the_rules_that_stray(tmp_path):
    bad = made.audited("s-tllr", 0.31, "badly aligned", "; lost through time: consider OTTT")
    page = page_of(tmp_path, made.moment("start", 0, [ALIGNED, made.audited("sltt", 0.97), bad]))
    assert headline(page) == "s-tllr (0.31) strays from the exact gradient; 1 of 2 rules follow it."


def test_the_first_sentence_says_when_all_follow(tmp_path):
    page = page_of(tmp_path, made.moment("start", 0, [ALIGNED, made.audited("sltt", 0.97), made.audited("ottt", 0.95)]))
    assert headline(page) == "Every rule follows the exact gradient: the least cosine is 0.95, of ottt."


def test_a_gradient_that_follows_in_direction_alone_is_told_so(tmp_path):
    short = made.audited("sltt", 0.97)
    short["verdict"] |= {
        "state": "aligned in direction", "text": "aligned in direction, 0.17 of the length: 0.97; nothing for 'a'",
    }  # fmt: skip
    page = page_of(tmp_path, made.moment("start", 0, [ALIGNED, short]))
    assert headline(page) == "It follows the exact gradient, not always in length: the least cosine is 0.97, of sltt."
    row = table_with(page, "verdict")["sltt"]
    assert (row["verdict"], row["in words"]) == ("aligned in direction", "0.17 of the length; nothing for 'a'")


def test_a_defect_of_the_model_comes_first(tmp_path):
    page = page_of(tmp_path, made.moment("start", 0, [ALIGNED], ["'n' (LIF) is dead: lower its threshold"]))
    assert headline(page) == "The model has a defect: 'n' (LIF) is dead."
    assert "lower its threshold" in sections(page)["What is wrong with the model"]


def test_verdicts_have_the_cosines_at_the_start_and_at_the_end(tmp_path):
    after = made.audited("sltt", 0.5, "badly aligned", "; lost through time")
    page = page_of(tmp_path, made.moment("start", 0, [made.audited("sltt", 0.9)]), made.moment("epoch 3", 3, [after]))
    row = table_with(page, "verdict")["sltt"]
    assert row == {
        "rule": "sltt",
        "verdict": "badly aligned",
        "start": "0.900",
        "end": "0.500",
        "in words": "lost through time",
    }


def test_the_heat_map_has_a_row_for_each_layer_and_says_where_there_is_no_gradient(tmp_path):
    page = page_of(tmp_path, made.moment("start", 0, [made.audited("sltt", 0.25, layers=(-0.5, None))]))
    assert table_with(page, "layer") == {
        "a Linear": {"layer": "a Linear", "sltt": "-0.500"}, "b Conv2d": {"layer": "b Conv2d", "sltt": "none"},
        "all": {"layer": "all", "sltt": "0.250"},
    }  # fmt: skip


def test_over_training_there_is_a_curve_for_each_rule(tmp_path):
    moments = [
        made.moment(f"epoch {e}", e, [ALIGNED, made.audited("sltt", c)]) for e, c in ((0, 0.5), (2, 0.75), (4, 1.0))
    ]
    told = [each.attributes.get("aria-label", "") for each in read(page_of(tmp_path, *moments)).all("svg")]
    assert any("sltt from 0.5 at 0 to 1 at 4" in each for each in told)


def test_a_rule_that_refused_is_named_with_its_reason(tmp_path):
    page = page_of(tmp_path, made.moment("start", 0, [ALIGNED, made.refused("picky", "not this model")]))
    assert "picky refused: not this model" in sections(page)["Bias and noise"]
    assert table_with(page, "verdict")["picky"]["in words"] == "not this model"
    assert "picky" not in table_with(page, "layer")["all"]


def test_the_figures_are_those_of_a_real_audit(tmp_path):
    net = nn.Sequential(nn.Linear(6, 12), rb.LIF(decay=0.9), nn.Linear(12, 3))
    batches = [(torch.rand(5, 4, 6) * 2, torch.randint(3, (4,))) for _ in range(2)]
    found = audit(net, batches, ["bptt", "sltt"], loss=rb.losses.cross_entropy)
    made.write(tmp_path / "audit.json", results(Experiment(), [Moment("start", 0, found)], ["rheobase"]))
    page = report([tmp_path])
    assert table_with(page, "layer")["0 Linear"]["sltt"] == f"{found.rules[1].of_layers['0'].cosine:.3f}"
    assert table_with(page, "verdict")["sltt"]["cosine"] == f"{found.rules[1].total.cosine:.3f}"
    assert table_with(page, "time")["sltt"]["time"] == f"{found.rules[1].paths.each['time'].lost.error:.3f}"
    assert table_with(page, "firing rate")["1"]["firing rate"] == f"{100 * found.neurons[0].rate:.1f} %"

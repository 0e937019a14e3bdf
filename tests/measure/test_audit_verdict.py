import io
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure.audit import audit
from rheobase.measure.audit_neurons import neuron_layers
from rheobase.measure.audit_table import table
from rheobase.measure.audit_training import Moment
from rheobase.measure.audit_verdict import findings, verdicts

RULES = ("bptt", "sltt", "ottt")


def net(**options):
    torch.manual_seed(0)
    settings = {"decay": 0.5, "threshold": 0.4} | options
    return nn.Sequential(
        nn.Linear(10, 24), rb.LIF(**settings), nn.Linear(24, 16), rb.LIF(0.5, threshold=0.15), nn.Linear(16, 4)
    )


def audited(model, rules=RULES, steps=10):
    made = torch.Generator().manual_seed(0)
    batches = [
        (torch.rand(steps, 12, 10, generator=made) * 2, torch.randint(4, (12,), generator=made)) for _ in range(3)
    ]
    return audit(model, batches, rules, loss=cross_entropy, draws=2)


def told(found):
    return {verdict.rule: verdict for verdict in verdicts(found)}


def kinds(found):
    return [(finding.kind, finding.layer) for finding in findings(found)]


def test_of_a_healthy_net_nothing_is_reported():
    found = audited(net())
    assert findings(found) == ()
    assert [(v.state, v.causes) for v in verdicts(found)] == [("aligned", ())] * 3
    assert told(found)["bptt"].text == "aligned: 1.00"


def test_a_surrogate_of_width_a_thousandth_is_found():
    found = audited(net(surrogate=rb.Triangle(width=1e-3)))
    assert kinds(found) == [("narrow", "1")]
    assert "widen its surrogate" in findings(found)[0].text


@pytest.mark.parametrize("surrogate", ["rectangle(width=0.001)", "sigmoid(alpha=4000)", "atan(alpha=2000)"])
def test_narrow_surrogates_of_other_forms_are_found_too(surrogate):
    assert ("narrow", "1") in kinds(audited(net(surrogate=surrogate), ["sltt"]))


@pytest.mark.parametrize(
    "surrogate",
    ["triangle", "rectangle", "sigmoid", "atan", "fast_sigmoid", "inverse_quadratic", "triangle(width=0.3)"],
)
def test_surrogates_in_use_are_not_called_narrow(surrogate):
    assert findings(audited(net(surrogate=surrogate), ["sltt"])) == ()


def test_a_dead_layer_is_found_with_the_layers_that_no_gradient_reaches():
    found = audited(net(threshold=60.0, surrogate="triangle"))
    assert kinds(found)[0] == ("dead", "1")
    assert "lower its threshold" in findings(found)[0].text
    silent = next(finding for finding in findings(found) if finding.kind == "silent")
    assert "'0'" in silent.text


@pytest.mark.parametrize("rule", RULES)
def test_a_dead_net_is_not_called_aligned_for_its_readout_alone(rule):
    """Where no neuron fires the readout's bias still learns, and every rule gives it the exact gradient."""
    dead, alive = net(threshold=60.0, surrogate="triangle"), net()
    dead[3].firing = dead[1].firing
    found = audited(dead, [rule])
    (verdict,) = verdicts(found)
    assert found.rules[0].total.cosine == pytest.approx(1)
    assert verdict.state == "aligned where there is a gradient"
    assert verdict.causes == ("silent",)
    assert verdict.text == f"{verdict.state}: 1.00; hardly any reaches '0', '2', not even the exact one"
    assert told(audited(alive, [rule]))[rule].state == "aligned"


def test_without_any_gradient_the_table_and_the_verdict_say_so_in_words():
    dead = net(threshold=60.0, surrogate="triangle")
    dead[3].firing = dead[1].firing
    dead[4].bias = None
    found = audited(dead, ["sltt"])
    assert told(found)["sltt"].state == "no gradient"
    shown = io.StringIO()
    Console(file=shown, width=200).print(table([Moment("start", 0, found)]))
    assert "no gradient" in shown.getvalue()
    assert "nan" not in shown.getvalue()


def test_a_saturated_layer_is_found():
    model = net()
    nn.init.constant_(model[0].bias, 9.0)
    assert ("saturated", "1") in kinds(audited(model, ["sltt"]))


def test_a_decay_of_one_is_named_where_sltt_is_badly_aligned_for_it():
    found = audited(
        net(decay=1.0, threshold=2.0, detach_reset=True), ["bptt", "sltt", "truncated-bptt(horizon=9)"], steps=30
    )
    sltt = told(found)["sltt"]
    assert sltt.state in ("partly aligned", "badly aligned")
    assert sltt.causes[0] == "time"
    assert "lost through time, which '1' hardly forgets" in sltt.text
    assert told(found)["bptt"].causes == ()
    assert findings(found) == ()


def test_the_best_other_rule_is_advised_and_the_exact_one_where_none_is_better():
    model = net(decay=1.0, threshold=2.0, detach_reset=True)
    alone, beside = audited(model, ["sltt"], 30), audited(model, ["bptt", "sltt", "truncated-bptt(horizon=12)"], 30)
    assert "consider bptt(checkpoint=True), which is exact" in told(alone)["sltt"].text
    cosine = beside.rules[2].total.cosine
    assert f"consider truncated-bptt(horizon=12) ({cosine:.2f} here)" in told(beside)["sltt"].text


def test_a_rule_s_own_knobs_come_first_in_the_advice():
    found = audited(
        net(decay=1.0, threshold=2.0, detach_reset=True), ["truncated-bptt(horizon=1)", "sltt(steps=2)"], 30
    )
    assert "consider a longer horizon" in told(found)["truncated-bptt(horizon=1)"].text
    assert "more learning steps" in told(found)["sltt(steps=2)"].text


def test_another_error_signal_is_named_as_the_cause():
    verdict = told(audited(net(), ["s-tllr(signal=dfa)", "sltt"]))["s-tllr(signal=dfa)"]
    assert verdict.causes[0] == "signal"
    assert 'signal="backprop" or sltt' in verdict.text


def test_a_wrong_length_is_named():
    verdict = told(audited(net(), ["s-tllr(scale=paper, acausal=0, decay_pre=0)"]))
    assert [v.causes for v in verdict.values()] == [("length",)]
    assert "9.4 times as long" in next(iter(verdict.values())).text


def of_length(found, ratio, **changes):
    """The verdict on the last rule, were its gradient so long, and as noisy for its length as the exact one."""
    last = found.rules[-1]
    noise = ratio**2 * last.total.exact_noise
    short = replace(last, total=replace(last.total, norm_ratio=ratio, noise=noise, **changes))
    return verdicts(replace(found, rules=(short,)))[0]


@pytest.mark.parametrize(("ratio", "text"), [(0.17, "0.17 of the length"), (6.0, "6 times the length")])
def test_a_right_direction_with_a_wrong_length_is_not_called_aligned(ratio, text):
    found = audited(net(), ["sltt"])
    cosine = found.rules[0].total.cosine
    verdict = of_length(found, ratio)
    assert verdict.state == "aligned in direction"
    assert verdict.causes == ("length",)
    assert verdict.text == f"aligned in direction, {text}: {cosine:.2f}; SGD wants another learning rate"
    assert of_length(found, 0.9).text == f"aligned: {cosine:.2f}"


def test_a_wrong_length_of_a_gradient_that_is_only_partly_aligned_is_named_after_the_causes():
    verdict = of_length(audited(net(), ["sltt"]), 0.17, cosine=0.7)
    assert verdict.state == "partly aligned"
    assert "0.17 times as long as the exact one (SGD" in verdict.text


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("sltt(scale=paper)", 'as scale="paper" means it to be'),
        ("s-tllr", "which its factors causal and acausal choose"),
        ("s-tllr(signal=dfa)", "which is that of its feedback matrices"),
    ],
)
def test_a_length_that_is_meant_to_be_another_is_told_as_such(rule, reason):
    verdict = of_length(audited(net(), [rule]), 0.17, cosine=0.95)
    assert verdict.state == "aligned"
    assert "length" in verdict.causes
    assert f"0.17 times as long as the exact one, {reason} (SGD" in verdict.text


def test_a_noisy_rule_is_named():
    found = audited(net())
    loud = replace(found.rules[1], total=replace(found.rules[1].total, noise=9 * found.rules[1].total.exact_noise))
    (verdict,) = verdicts(replace(found, rules=(loud,)))
    assert verdict.causes == ("noise",)
    assert "times as noisy" in verdict.text


def test_a_layer_without_the_rule_s_gradient_is_named():
    found = audited(net(), ["sltt"])
    layers = found.rules[0].of_layers
    left = replace(layers["0"], norm_ratio=0.0, cosine=math.nan)
    (verdict,) = verdicts(replace(found, rules=(replace(found.rules[0], of_layers={**layers, "0": left}),)))
    assert verdict.causes == ("silent",)
    assert "nothing for '0'" in verdict.text


def test_refusals_and_opposed_gradients_have_states_of_their_own():
    found = audited(net(), ["sltt(steps=99)", "sltt"])
    opposed = replace(found.rules[1], total=replace(found.rules[1].total, cosine=-0.3))
    first, second = verdicts(replace(found, rules=(found.rules[0], opposed)))
    assert (first.state, second.state) == ("refused", "opposed")
    assert first.text.startswith("refused: Expected at most T = 10")


def test_rates_slopes_and_decays_are_those_of_the_neurons():
    """One neuron, two steps; the slope of a triangle is 1 - |potential - 1|."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), rb.LIF(0.5, surrogate="triangle"), nn.Linear(1, 2))
    nn.init.constant_(model[0].weight, 1.0)
    xs = torch.tensor([0.5, 1.0]).view(2, 1, 1)  # potentials 0.5 and 1.25: slopes 0.5 and 0.75
    (layer,) = neuron_layers(model, xs)
    assert (layer.name, layer.kind, layer.rate, layer.decay, layer.ailment) == ("1", "LIF", 0.5, 0.5, None)
    assert layer.sloped == pytest.approx((0.5 + 0.75) ** 2 / (2 * (0.5**2 + 0.75**2)))


def test_neurons_are_watched_in_loops_and_whatever_the_steps_of_a_chunk():
    torch.manual_seed(0)
    model = nn.Sequential(
        rb.Recurrent(nn.Linear(5, 6), nn.Linear(6, 6), rb.LIF(0.7)), rb.SequenceBatchNorm1d(6), rb.IF()
    )
    first, second = neuron_layers(model, torch.rand(7, 4, 5) * 3)
    assert (first.name, second.name) == ("0.neuron", "2")
    assert first.rate > 0
    assert 0 < first.sloped <= 1
    assert second.decay == 1.0

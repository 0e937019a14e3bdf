"""Each of the papers' nets under each rule: the gradient that the equations say, or a refusal with the reason."""

from dataclasses import replace
from functools import cache
from typing import Any

import naive_rules
import pytest
import torch
from deep_nets import FEED_FORWARD, NETS, STEPS, gradients, lively, loss_of, sequence
from torch import Tensor

import rheobase as rb
from rheobase.rules import Rule

EXACT = {"rtol": 1e-9, "atol": 1e-12}
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "ottt": rb.OTTT(),
    "ottt-exact": rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
    "s-tllr-last": rb.STLLR(last=2, acausal=0.5),
    "s-tllr-dfa": rb.STLLR(signal="dfa", acausal=0.0),
    "s-tllr-drtp": rb.STLLR(signal="drtp"),
}
EXACT_SIGNAL = ("sltt", "ottt", "ottt-exact", "rate-bp", "s-tllr")
REFUSALS: dict[tuple[str, str], tuple[type[Exception], str]] = {
    ("spikformer", "rate-bp"): (ValueError, "matmul.* between neurons does not commute with the mean.*train with SLTT"),
    ("flow", "s-tllr-drtp"): (TypeError, "needs integer class targets"),
}


def pairs(rules: Any, nets: Any = tuple(NETS)) -> pytest.MarkDecorator:
    found = [(net, rule) for net in nets for rule in rules if (net, rule) not in REFUSALS]
    return pytest.mark.parametrize(("name", "rule"), found)


@cache
def learned(rule: Rule, name: str, steps: int = STEPS) -> dict[str, Tensor]:
    net = lively(name)
    xs, target = sequence(name, steps)
    rule.backward(net, xs, target, loss=loss_of(name))
    return gradients(net)


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pairs(RULES)
def test_every_parameter_learns(name: str, rule: str) -> None:
    found = learned(RULES[rule], name)
    assert found.keys() == {key for key, _ in NETS[name]().named_parameters()}
    assert all(grad.isfinite().all() for grad in found.values())
    idle = [key for key, grad in found.items() if grad.abs().max() == 0]
    assert not idle


@pytest.mark.parametrize(("name", "rule"), REFUSALS)
def test_what_a_rule_cannot_do_is_refused_with_the_reason(name: str, rule: str) -> None:
    error, words = REFUSALS[name, rule]
    with pytest.raises(error, match=words):
        learned(RULES[rule], name)


@pairs(EXACT_SIGNAL)
def test_at_one_step_a_rule_with_an_exact_signal_is_bptt(name: str, rule: str) -> None:
    found, exact = learned(RULES[rule], name, steps=1), learned(rb.BPTT(), name, steps=1)
    for key, grad in exact.items():
        torch.testing.assert_close(found[key], grad, **EXACT, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_bptt_is_autograd_through_all_steps(name: str) -> None:
    found, net = learned(rb.BPTT(), name), lively(name)
    naive_rules.bptt(net, *sequence(name), loss_of(name))
    agree(found, gradients(net))


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_sltt_is_autograd_within_each_step(name: str) -> None:
    found, net = learned(rb.SLTT(), name), lively(name)
    naive_rules.sltt(net).backward(*sequence(name), loss_of(name))
    agree(found, gradients(net))
    differ(found, learned(rb.BPTT(), name))


@pytest.mark.parametrize("rule", [rb.OTTT(0.5), rb.OTTT(0.5, input_trace=True, readout_trace=False)], ids=str)
@pytest.mark.parametrize("name", FEED_FORWARD)
def test_ottt_credits_every_synapse_with_the_trace_of_its_input(name: str, rule: rb.OTTT) -> None:
    """In an NF-ResNet the last convolution reaches no neuron, only the readout, and counts as part of it."""
    net = lively(name)
    found = learned(rule, name)
    naive_rules.ottt(net, rule).backward(*sequence(name), loss_of(name))
    agree(found, gradients(net))
    differ(found, learned(rb.SLTT(), name))


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_s_tllr_adds_the_trace_of_each_neurons_slope(name: str) -> None:
    chosen = RULES["s-tllr"]
    assert isinstance(chosen, rb.STLLR)
    found, net = learned(chosen, name), lively(name)
    naive_rules.stllr(net, chosen).backward(*sequence(name), loss_of(name))
    agree(found, gradients(net))
    differ(found, learned(rb.STLLR(acausal=0.0), name))


@pairs(("sltt", "ottt", "rate-bp", "s-tllr"))
def test_a_constant_input_and_chunks_change_no_gradient(name: str, rule: str) -> None:
    """Of a constant input all before the first neuron is computed once."""
    (xs, target), found = sequence(name), []
    for chunk, frames in ((STEPS, rb.constant(xs[0], STEPS)), (1, xs[:1].repeat(STEPS, 1, 1, 1, 1))):
        net = lively(name)
        chosen = replace(RULES[rule], chunk=chunk)  # type: ignore[type-var]
        chosen.backward(net, frames, target, loss=loss_of(name))
        found.append(gradients(net))
    agree(*found)


def agree(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, **EXACT, msg=lambda m, key=key: f"{key}: {m}")


def differ(found: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """The twin: the two rules do not agree on this net."""
    assert any((found[key] - other[key]).norm() > 1e-3 * other[key].norm() for key in found)

"""Random nets under every rule: the gradients are those of plain loops over time, or a layer is refused by name."""

import re
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import torch
from fuzz.cases import tries
from fuzz.nets import InPlace, Twice, cases, norms
from fuzz.plain_rules import Wires, by_rates, cut_every, needs_all, of_the_mean, traced
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rheobase as rb
from rheobase.neurons import Neuron
from rheobase.norms import uses_batch_statistics

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
CHUNKS = st.sampled_from([None, 1, 2, 6, "auto"])
WHOLE = "normalises over the whole sequence"
CHANGED = "changes its input in place"
BENT = "'(group_norm|relu|tanh)' between neurons does not commute with the mean"


@contextmanager
def plain_pytorch():
    """Inside, there are no kernels."""
    with (
        mock.patch("rheobase.engine.kernel_of", return_value=None),
        mock.patch("rheobase.kernels.norm.knows", return_value=False),
        mock.patch("rheobase.kernels.bits._code", return_value=None),
    ):
        yield


def learned(case, learn):
    """Outputs, gradients and running statistics of one call, the latter put back; an error's text in place of them.

    A norm at two places sees its steps in another order when they are computed together, so it is left out.
    """
    case.net.zero_grad()
    before = [buffer.clone() for buffer in case.net.buffers()]
    try:
        with mock.patch("rheobase.layout._PIXELS", case.pixels):
            outputs = learn()
        grads = {name: p.grad for name, p in case.net.named_parameters() if p.grad is not None}
        tied = tuple(f"{name}." for name, m in case.net.named_modules() if isinstance(m, Twice))
        kept = [(name, buffer) for name, buffer in case.net.named_buffers() if not name.startswith(tied)]
        return outputs, grads, {name: buffer.clone() for name, buffer in kept}
    except (ValueError, RuntimeError) as error:
        return str(error)
    finally:
        for buffer, kept in zip(case.net.buffers(), before, strict=True):
            buffer.copy_(kept)


def by(rule, case):
    xs = case.xs if case.xs.stride(0) == 0 else case.xs.clone()
    return learned(case, lambda: rule.backward(case.net, xs, case.target, loss=case.loss).outputs)


def agree(found, expected, rule):
    assert not isinstance(found, str), f"{rule}: {found}"
    outputs, grads, statistics = found
    torch.testing.assert_close(outputs, expected[0], **CLOSE, msg=lambda m: f"{rule} outputs: {m}")
    assert grads.keys() >= expected[1].keys(), rule
    for name, grad in grads.items():
        wanted = expected[1].get(name, torch.zeros_like(grad))
        torch.testing.assert_close(grad, wanted, **CLOSE, msg=lambda m, name=name: f"{rule} {name}: {m}")
    torch.testing.assert_close(statistics, expected[2], **CLOSE, msg=lambda m: f"{rule} statistics: {m}")


def check(rule, case, expected, refusals):
    """The rule gives what is expected, or refuses the net for one of the reasons, naming a layer where it can."""
    found = by(rule, case)
    if not isinstance(found, str):
        return agree(found, expected, rule)
    reasons = [reason for reason in refusals if re.search(reason, found)]
    assert reasons, f"{rule}: {found}"
    names = {name for name, _ in case.net.named_modules()}
    assert set(reasons) & {CHANGED, BENT} or names & set(re.findall(r"'([\w.]+)'", found)), f"{rule}: {found}"
    return None


def refusals(case, whole=False):
    """The reasons for which any rule may refuse the net."""
    bodies = [m.layers for m in case.net.modules() if isinstance(m, rb.Feedback)]
    first = next(m for m in case.net.body if not isinstance(m, nn.Identity))
    found = [CHANGED] if isinstance(first, InPlace) else []
    return found + ([WHOLE] if (needs_all(case.net) and not whole) or any(map(needs_all, bodies)) else [])


@tries(80)
@given(cases(), CHUNKS, st.integers(1, 6), st.data())
def test_exact_and_truncated_gradients_are_those_of_a_plain_loop(case, chunk, some, data):
    exact = learned(case, lambda: cut_every(case))
    check(rb.BPTT(chunk=chunk), case, exact, refusals(case, not isinstance(chunk, int) or chunk >= len(case.xs)))
    check(rb.BPTT(checkpoint=data.draw(st.sampled_from([True, some])), chunk=chunk), case, exact, refusals(case))
    if not isinstance(case.target, rb.PerStep):
        mean, refused = learned(case, lambda: of_the_mean(case)), refusals(case, whole=True)
        check(rb.BPTT("mean_output"), case, mean, refused)
        check(rb.BPTT("mean_output", checkpoint=some), case, mean, refusals(case))
    if not needs_all(case.net):
        windows = learned(case, lambda: cut_every(case, some))
        own = min(chunk, some) if isinstance(chunk, int) else chunk
        check(rb.TruncatedBPTT(some, chunk=own), case, windows, refusals(case))


@tries(60)
@given(cases(), CHUNKS, st.data())
def test_sltt_is_a_loop_whose_state_is_detached(case, chunk, data):
    steps = len(case.xs)
    if needs_all(case.net):
        return check(rb.SLTT(chunk=chunk), case, None, [WHOLE])
    every = learned(case, lambda: cut_every(case, 1))
    check(rb.SLTT(chunk=chunk), case, every, refusals(case))
    check(rb.SLTT(steps=steps, chunk=chunk), case, every, refusals(case))
    at = tuple(data.draw(st.sets(st.integers(0, steps - 1), min_size=1)))
    check(rb.SLTT(at=at, chunk=chunk), case, learned(case, lambda: cut_every(case, 1, at)), refusals(case))
    return None


def refused_by_traces(case, wires, acausal):
    found = refusals(case)
    if any(isinstance(m, Neuron) and p.requires_grad for m in case.net.modules() for p in m.parameters(recurse=False)):
        found.append("has parameters that learn")
    if wires.twice:
        found.append("is used twice in one step")
    chained = [m for m in wires.receivers if not isinstance(m, Neuron) and wires.after(m)]
    if acausal and any(not any(isinstance(r, Neuron) for r in wires.receivers[m]) for m in chained):
        found.append("cannot find the neuron of synapse")
    return found


@tries(80)
@given(cases(), CHUNKS, st.sampled_from([0.0, 0.4, 0.9]), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_rules_with_traces_are_loops_that_credit_the_trace(case, chunk, decay, on_input, on_readout, on_bias, data):
    if needs_all(case.net):
        return check(rb.OTTT(chunk=chunk), case, None, [WHOLE, "has parameters that learn"])
    wires = Wires(case)
    synapses = [m for m in case.net.modules() if hasattr(m, "weight") and m.weight is not None and m.weight.dim() > 1]
    hidden, hears = {m for m in synapses if wires.after(m)}, {m for m in synapses if wires.before(m)}
    own = {m for m in hears if m not in hidden} if on_readout else set()
    credited = {m for m in hidden if on_input or m in hears} | own
    rule = rb.OTTT(decay, input_trace=on_input, readout_trace=on_readout, bias_trace=on_bias, chunk=chunk)
    biased = hidden if on_bias else set()
    expected = learned(case, lambda: traced(case, decay, credited, biased))
    check(rule, case, expected, refused_by_traces(case, wires, acausal=False))
    acausal, last = data.draw(st.sampled_from([-1.0, 0.5])), data.draw(st.integers(1, len(case.xs)))
    rule = rb.STLLR(decay, 0.3, acausal=acausal, last=last, decay_readout=decay, chunk=chunk)
    at = range(len(case.xs) - last, len(case.xs))
    expected = learned(case, lambda: traced(case, decay, hidden, acausal=acausal, post=0.3, at=at))
    check(rule, case, expected, refused_by_traces(case, wires, acausal=True))
    return None


def refused_by_rates(case):
    bent = [
        m for m in case.net.modules() if isinstance(m, (nn.ReLU, nn.GroupNorm)) or getattr(m, "after", "") == "bent"
    ]
    return refusals(case, whole=True) + ([BENT] if bent else [])


@tries(60)
@given(cases(), CHUNKS)
def test_rate_based_gradients_are_those_of_two_plain_passes(case, chunk):
    if isinstance(case.target, rb.PerStep):
        case = replace(case, target=case.target.targets[0])
    one = replace(case, xs=case.xs[:1])
    check(rb.RateBP(), one, learned(one, lambda: of_the_mean(one)), refused_by_rates(one))
    refused = refused_by_rates(case) + ([WHOLE] if isinstance(chunk, int) and needs_all(case.net) else [])
    if any(map(uses_batch_statistics, norms(case.net))) or any(isinstance(m, nn.MaxPool2d) for m in case.net.modules()):
        whole = by(rb.RateBP(chunk=len(case.xs)), case)
        if isinstance(whole, str):
            return check(rb.RateBP(chunk=chunk), case, None, refused)
        return check(rb.RateBP(chunk=chunk), case, whole, refused)
    return check(rb.RateBP(chunk=chunk), case, learned(case, lambda: by_rates(case)), refused)


RULES = (
    rb.BPTT(), rb.BPTT(checkpoint=2), rb.SLTT(), rb.SLTT(chunk=3), rb.OTTT(0.5), rb.STLLR(chunk=2), rb.RateBP(),
)  # fmt: skip


@tries(80)
@given(cases(), st.sampled_from(RULES))
def test_kernels_change_nothing(case, rule):
    if isinstance(rule, rb.RateBP) and isinstance(case.target, rb.PerStep):
        case = replace(case, target=case.target.targets[0])
    found = by(rule, case)
    with plain_pytorch():
        expected = by(rule, case)
    if isinstance(found, str) or isinstance(expected, str):
        assert expected == found
    else:
        agree(found, expected, rule)

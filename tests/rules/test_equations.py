"""Every rule against the papers' equations by hand (oracles.py), on every kind of net and every reset."""

from collections.abc import Callable
from functools import partial
from typing import Any

import oracles
import pytest
import torch
from networks import Network, flat
from torch import Tensor

import rheobase as rb
from rheobase.losses import cross_entropy

RESETS: list[dict[str, Any]] = [
    {},
    {"detach_reset": True},
    {"reset": "zero"},
    {"reset": "zero", "detach_reset": True},
    {"reset": "zero", "reset_value": -0.3},
    {"threshold": 0.6, "decay": 0.2},
    {"decay_input": True, "detach_reset": True},
    {"slope": oracles.triangle_slope, "decay": 0.9},
]
RATE_NETS = {
    "linear": oracles.linear_net,
    "linear-LI": partial(oracles.linear_net, readout_decay=0.8),
    "conv": partial(oracles.conv_net, norm=None),
    "conv-sequence-norm": partial(oracles.conv_net, norm="sequence", gap=True),
    "standardised": oracles.ws_net,
}
ONLINE_NETS = {
    "linear": oracles.linear_net,
    "linear-LI": partial(oracles.linear_net, readout_decay=0.8),
    "conv": partial(oracles.conv_net, norm=None, gap=True),
    "conv-step-norm": partial(oracles.conv_net, norm="step"),
    "standardised": partial(oracles.ws_net, readout_decay=0.7),
    "recurrent": partial(oracles.recurrent_net, readout_decay=0.9),
    "recurrent-standardised": partial(oracles.recurrent_net, gain=True),
}
ALL_NETS = ONLINE_NETS | {"conv-sequence-norm": RATE_NETS["conv-sequence-norm"]}
EXACT = {"rtol": 0.0, "atol": 1e-12}


def check(case: oracles.Case, rule: Any, answer: oracles.Answer) -> None:
    layers, xs, target = case
    net = Network(layers)
    result = rule.backward(net, xs, target, loss=cross_entropy)
    found = net.gradients()
    assert found.keys() == answer.gradients.keys()
    for key, gradient in answer.gradients.items():
        if not (key[1] == "bias" and layers[key[0]].norm is not None):  # a bias before a norm has no effect
            assert gradient.abs().max() > 1e-9, f"{key} is not tested: its gradient is 0"
        torch.testing.assert_close(found[key], gradient, **EXACT, msg=lambda m, key=key: f"{key}: {m}")
    torch.testing.assert_close(result.outputs, answer.outputs, **EXACT)
    torch.testing.assert_close(result.loss, answer.loss, **EXACT)
    for index, statistics in answer.running.items():
        torch.testing.assert_close(net.running()[index], statistics, **EXACT)


def cases(nets: dict[str, Callable[..., oracles.Case]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(partial(net, seed=i, **reset), id=f"{name}-{i}")
            for name, net in nets.items()
            for i, reset in enumerate(RESETS)
        ],
    )


@cases(ALL_NETS)
@pytest.mark.parametrize("objective", ["each_step", "mean_output"])
def test_bptt_is_the_reverse_recursion(case: Callable[[], oracles.Case], objective: Any) -> None:
    layers, xs, target = case()
    check((layers, xs, target), rb.BPTT(objective), oracles.bptt(layers, xs, target, objective=objective))


@cases(ONLINE_NETS)
@pytest.mark.parametrize("horizon", [2, 3])
def test_truncated_bptt_is_the_recursion_cut_at_windows(case: Callable[[], oracles.Case], horizon: int) -> None:
    layers, xs, target = case()
    check((layers, xs, target), rb.TruncatedBPTT(horizon), oracles.bptt(layers, xs, target, horizon=horizon))


@cases(ONLINE_NETS)
def test_sltt_cuts_every_temporal_path(case: Callable[[], oracles.Case]) -> None:
    layers, xs, target = case()
    check((layers, xs, target), rb.SLTT(), oracles.sltt(layers, xs, target))
    check((layers, xs, target), rb.SLTT(at=(1, 4)), oracles.sltt(layers, xs, target, at=(1, 4)))
    paper = oracles.sltt(layers, xs, target, at=(0, 3), weight_per_step=1 / 5)
    net = Network(layers)
    rb.SLTT(at=(0, 3), scale="paper").backward(net, xs, target, loss=cross_entropy)
    torch.testing.assert_close(flat(net.gradients()), flat(paper.gradients), **EXACT)


@cases(ONLINE_NETS)
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"input_trace": True, "readout_trace": False, "bias_trace": True},
        {"input_trace": True},
        {"bias_trace": True, "readout_trace": False},
    ],
)
def test_ottt_replaces_the_input_by_its_trace(case: Callable[[], oracles.Case], switches: dict[str, bool]) -> None:
    layers, xs, target = case()
    decay = layers[0].neuron.decay
    check((layers, xs, target), rb.OTTT(**switches), oracles.ottt(layers, xs, target, decay, **switches))


@cases(RATE_NETS)
def test_rate_bp_is_one_pass_through_rates_and_gains(case: Callable[[], oracles.Case]) -> None:
    layers, xs, target = case()
    check((layers, xs, target), rb.RateBP(), oracles.rate_bp(layers, xs, target))


@cases(ONLINE_NETS)
@pytest.mark.parametrize(
    "factors",
    [
        {"decay_pre": 0.75, "decay_post": 0.2, "causal": 1.0, "acausal": -1.0},
        {"decay_pre": 1.0, "decay_post": 0.5, "causal": 0.7, "acausal": 1.0, "last": 2},
        {"decay_pre": 0.5, "decay_post": 0.5, "causal": 0.0, "acausal": 0.5, "last": 3, "decay_readout": 0.99},
        {"decay_pre": 0.8, "decay_post": 0.5, "causal": 1.0, "acausal": 0.0},
    ],
)
def test_s_tllr_credits_both_traces(case: Callable[[], oracles.Case], factors: dict[str, float]) -> None:
    layers, xs, target = case()
    check((layers, xs, target), rb.STLLR(**factors), oracles.stllr(layers, xs, target, **factors))


def test_s_tllr_sums_the_losses_of_its_steps_in_the_papers_scale() -> None:
    layers, xs, target = oracles.recurrent_net()
    factors: dict[str, Any] = {"decay_pre": 0.75, "decay_post": 0.2, "causal": 1.0, "acausal": -1.0, "last": 2}
    answer = oracles.stllr(layers, xs, target, **factors, weight_per_step=1.0)
    net = Network(layers)
    rb.STLLR(**factors, scale="paper").backward(net, xs, target, loss=cross_entropy)
    torch.testing.assert_close(flat(net.gradients()), flat(answer.gradients), **EXACT)


@pytest.mark.parametrize("net", [oracles.linear_net, oracles.conv_net, oracles.recurrent_net, oracles.ws_net])
def test_direct_feedback_brings_the_output_error_through_fixed_matrices(net: Callable[..., oracles.Case]) -> None:
    from rheobase.rules.signals import feedback_matrix

    layers, xs, target = net()
    names = [f"blocks.{i}.neuron" for i in range(len(layers) - 1)]
    units = [record.spikes[0, 0].numel() for record in oracles.forward(layers, xs)[0][:-1]]
    feedback: list[Tensor] = [feedback_matrix(0, n, 3, u) for n, u in zip(names, units, strict=True)]
    answer = oracles.stllr(layers, xs, target, 0.75, 0.2, 1.0, -1.0, last=3, feedback=feedback)
    check((layers, xs, target), rb.STLLR(last=3, signal="dfa"), answer)
    check((layers, xs, target), rb.STLLR(last=3, signal="dfa", chunk=2), answer)


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        (rb.BPTT(), rb.SLTT()),
        (rb.BPTT(), rb.BPTT("mean_output")),
        (rb.SLTT(), rb.OTTT()),
        (rb.OTTT(), rb.STLLR()),
        (rb.RateBP(), rb.BPTT("mean_output")),
    ],
)
def test_the_rules_differ_where_nothing_makes_them_equal(rule: Any, other: Any) -> None:
    layers, xs, target = oracles.ws_net()
    found = []
    for each in (rule, other):
        net = Network(layers)
        each.backward(net, xs, target, loss=cross_entropy)
        found.append(flat(net.gradients()))
    assert (found[0] - found[1]).norm() > 1e-3 * found[0].norm()

"""Every mistake gets an answer that says what was expected, what came and what to do."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.sequence import Feed, PerStep

RULES = [rb.BPTT(), rb.TruncatedBPTT(2), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR()]


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), rb.LIF(), nn.Linear(5, 3))


def refused(
    words: str, model: nn.Module, rule: Any, xs: Any = None, target: Any = None, error: Any = ValueError
) -> str:
    xs = torch.rand(6, 2, 4) if xs is None else xs
    target = torch.randint(3, (2,)) if target is None else target
    with pytest.raises(error, match=words) as caught:
        rule.backward(model, xs, target, loss=cross_entropy)
    return str(caught.value)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_bad_sequences_are_refused(rule: Any) -> None:
    refused(r"N = 6 targets.*xs.transpose\(0, 1\)", net(), rule, torch.rand(6, 2, 4), torch.randint(3, (6,)))
    message = refused("N = 3 targets", net(), rule, torch.rand(6, 2, 4), torch.randint(3, (3,)))
    assert "transpose" not in message
    refused("empty sequence", net(), rule, torch.rand(0, 2, 4))
    refused(r"\[T, N, \.\.\.\]", net(), rule, torch.rand(6))
    refused("at least one sample", net(), rule, torch.rand(6, 0, 4), torch.randint(3, (0,)))
    refused("floating-point.*int64.*float", net(), rule, torch.randint(2, (6, 2, 4)), error=TypeError)
    bad = torch.rand(6, 2, 4)
    bad[3, 1, 2] = float("nan")
    refused("NaN or infinity", net(), rule, bad)
    refused("NaN or infinity", net(), rule, rb.constant(bad[3], 4))
    refused("NaN or infinity", net(), rule, torch.full((6, 2, 4), float("inf")))
    refused("iterable of steps", net(), rule, 3, error=TypeError)


def test_finite_values_are_taken_also_where_their_sum_is_infinite() -> None:
    largest = torch.finfo(torch.float32).max
    xs = torch.full((6, 2, 4), largest)
    assert not torch.isfinite(xs.sum())
    assert torch.equal(rb.run(nn.Sequential(rb.IF()), xs), torch.ones(6, 2, 4))
    Feed(xs, PerStep(xs))
    refused("finite target", net(), rb.SLTT(), target=torch.full((2, 3), float("nan")))


def test_finite_sequences_are_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    own = torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda x: looked.append(x.numel()) or own(x))
    Feed(torch.rand(6, 2, 4))
    assert looked == [1]  # the sum


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.OTTT(), rb.STLLR(), rb.BPTT(), rb.RateBP()], ids=str)
def test_bad_steps_of_a_stream_are_refused(rule: Any) -> None:
    good = torch.rand(2, 4)
    refused("every step of shape", net(), rule, iter([good, torch.rand(2, 5)]))
    refused("NaN", net(), rule, iter([good, good / 0 * 0]))
    refused("each step to be a tensor", net(), rule, iter([1.0, 2.0]), error=TypeError)
    refused("empty sequence", net(), rule, iter([]))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_models_that_cannot_learn_are_refused(rule: Any) -> None:
    refused("at least one neuron", nn.Sequential(nn.Linear(4, 3)), rule)
    frozen = net().requires_grad_(False)
    refused("requires_grad", frozen, rule)
    with torch.no_grad():
        refused("no_grad", net(), rule, error=RuntimeError)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_models_that_break_the_layout_are_refused(rule: Any) -> None:
    class Mixes(nn.Module):
        def __init__(self, change: Any) -> None:
            super().__init__()
            self.body, self.change = net(), change

        def forward(self, x: Tensor) -> Any:
            return self.change(self.body(x))

    refused("keep the leading axis", Mixes(lambda x: x[:1]), rule)
    refused("one tensor, got tuple", Mixes(lambda x: (x, x)), rule, error=TypeError)
    shared = rb.LIF()
    twice = nn.Sequential(nn.Linear(4, 4), shared, nn.Linear(4, 4), shared, nn.Linear(4, 3))
    refused(r"'1' \(LIF\) is used twice", twice, rule)
    dropout = rb.TimeSharedDropout()
    refused("TimeSharedDropout. is used twice", nn.Sequential(dropout, nn.Linear(4, 4), rb.LIF(), dropout), rule)


class Loops(nn.Module):
    """Time as other libraries write it: in the model. call: a neuron, its current and its state -> spikes, state."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.synapse, self.lif, self.call = nn.Linear(4, 3), rb.LIF(), call

    def forward(self, xs: Tensor) -> Tensor:
        spikes, potential = [], torch.zeros(3)
        for x in xs:
            spike, potential = self.call(self.lif, self.synapse(x), potential)
            spikes.append(spike)
        return torch.stack(spikes)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_loop_over_time_in_the_model_is_told_to_be_left_out(rule: Any) -> None:
    todo = r"loops over time, write it for one step \[N, ...\]"
    refused(
        f"(is used twice in one step|Expected a current of 2 steps).*{todo}",
        Loops(lambda lif, current, state: (lif(current), state)),
        rule,
    )
    refused(
        f"'lif' .LIF. to be called with a current alone, got 1 more.*{todo}",
        Loops(lambda lif, current, state: lif(current, state)), rule, error=TypeError,
    )  # fmt: skip


def test_a_net_of_another_library_is_told_how_to_be_converted() -> None:
    snntorch = pytest.importorskip("snntorch")
    theirs = nn.Sequential(nn.Linear(4, 3), snntorch.Leaky(0.9, init_hidden=True))
    refused(r"found none in Sequential. `rheobase.from_snntorch\(model\)`", theirs, rb.SLTT())
    assert "from_" not in refused("at least one neuron", nn.Sequential(nn.Linear(4, 3)), rb.SLTT())


@pytest.mark.parametrize(
    "rule", [rb.SLTT(), rb.OTTT(), rb.STLLR(), rb.TruncatedBPTT(2), rb.BPTT(checkpoint=2)], ids=str
)
def test_a_sequence_norm_is_refused_by_rules_that_see_single_steps(rule: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 5), rb.SequenceBatchNorm1d(5), rb.LIF(), nn.Linear(5, 3))
    refused("'1' normalises over the whole sequence.*nn.BatchNorm1d", model, rule)
    model[1].eval()
    rule.backward(model, torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=cross_entropy)


@pytest.mark.parametrize("rule", [rb.BPTT(chunk=2), rb.RateBP(chunk=2)], ids=str)
def test_a_sequence_norm_and_a_chunk_are_refused_together(rule: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 5), rb.SequenceBatchNorm1d(5), rb.LIF(), nn.Linear(5, 3))
    refused("2 of 6 steps at a time.*chunk", model, rule)


def test_s_tllr_names_the_synapse_whose_neuron_it_cannot_find() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), rb.LIF(), nn.Linear(5, 3))
    refused("'0': its output reaches '1' before any neuron", model, rb.STLLR())
    rb.OTTT().backward(model, torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=cross_entropy)


@pytest.mark.parametrize("rule", [rb.OTTT(), rb.STLLR()], ids=str)
def test_rules_with_traces_refuse_what_they_cannot_credit(rule: Any) -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) ** 2

    refused("'0'.*forward of its own", nn.Sequential(Own(4, 5), rb.LIF(), nn.Linear(5, 3)), rb.STLLR(), error=TypeError)
    refused("'2'.*forward of its own", nn.Sequential(nn.Linear(4, 4), rb.LIF(), Own(4, 4), rb.LIF(), nn.Linear(4, 3)),
            rule, error=TypeError)  # fmt: skip
    linear = nn.Linear(4, 4)
    twice = nn.Sequential(nn.Linear(4, 4), rb.LIF(), linear, rb.LIF(), linear, rb.LIF(), nn.Linear(4, 3))
    refused("'2' is used twice in one step; its trace", twice, rule)
    refused("'1' .PLIF. has parameters that learn", nn.Sequential(nn.Linear(4, 5), rb.PLIF(), nn.Linear(5, 3)), rule)


def test_ottt_asks_for_a_trace_decay_when_the_neurons_disagree() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.start = nn.Linear(4, 4), rb.LIF(0.5)
            self.shared, self.slow, self.fast = nn.Linear(4, 4), rb.LIF(0.9), rb.LIF(0.2)
            self.readout = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            current = self.shared(self.start(self.first(x)))
            return self.readout(self.slow(current) + self.fast(current))

    refused(r"'shared' have 2 different decays \(0.2, 0.9\).*trace_decay", Fork(), rb.OTTT())
    rb.OTTT(trace_decay=0.5).backward(Fork(), torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=cross_entropy)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.ReLU(), "'relu'.*does not commute"),
        (nn.Dropout(0.5), "'dropout'.*TimeSharedDropout"),
        (nn.LayerNorm(5), "'layer_norm'"),
        (nn.Softmax(1), "'softmax'"),
    ],
    ids=str,
)
def test_rate_bp_refuses_what_does_not_commute_with_the_mean(layer: nn.Module, words: str) -> None:
    model = nn.Sequential(nn.Linear(4, 5), rb.LIF(), layer, nn.Linear(5, 3))
    refused(words, model, rb.RateBP())
    before = nn.Sequential(nn.Linear(4, 5), layer, rb.LIF(), nn.Linear(5, 3))
    if not isinstance(layer, nn.Dropout):
        rb.RateBP().backward(before, rb.constant(torch.rand(2, 4), 3), torch.randint(3, (2,)), loss=cross_entropy)
    refused(words, before, rb.RateBP())
    if isinstance(layer, nn.Dropout):
        rb.RateBP().backward(model.eval(), torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=cross_entropy)


class Functional(nn.Module):
    def __init__(self, change: Any) -> None:
        super().__init__()
        self.first, self.neuron, self.change, self.last = nn.Linear(4, 8), rb.LIF(), change, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.change(self.neuron(self.first(x))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: F.max_pool1d(s[:, None], 2)[:, 0], "max_pool1d.*average pooling"),
        (lambda s: s[:, :4] * s[:, 4:], "mul"),
        (lambda s: s[:, :4] @ torch.ones(4, 4) @ s[:, 4:].T @ torch.ones(len(s), 4), "matmul"),
        (lambda s: torch.exp(s[:, :4]), "exp"),
        (lambda s: 1 / (1 + s[:, :4]), "reciprocal|div"),
        (lambda s: s[:, :4].abs(), "abs"),
    ],
)
def test_rate_bp_refuses_functions_too(change: Any, words: str) -> None:
    refused(words, Functional(change), rb.RateBP())


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:, :4] + s[:, 4:],
        lambda s: (s[:, :4] - 0.5) / 2 * torch.arange(4.0),
        lambda s: F.avg_pool1d(s[:, None], 2).flatten(1),
        lambda s: s.view(len(s), 4, 2).mean(2) @ torch.ones(4, 4),
        lambda s: torch.cat([s[:, ::4], s[:, 1::4]], 1),
        lambda s: torch.cat([s[:, :2], torch.zeros_like(s[:, :2]) + s.new_ones(1)], 1),
    ],
)
def test_and_takes_affine_ones(change: Any) -> None:
    xs, target = torch.rand(1, 2, 4) * 3, torch.randint(3, (2,))
    found = []
    torch.manual_seed(0)
    model = Functional(change)
    for rule in (rb.RateBP(), rb.BPTT()):
        model.zero_grad()
        rule.backward(model, xs, target, loss=cross_entropy)
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_a_spiking_model_cannot_be_called_directly() -> None:
    with pytest.raises(RuntimeError, match=r"rheobase.run.*rheobase.step.*rule.backward"):
        net()(torch.rand(2, 4))
    with pytest.raises(RuntimeError, match=r"TimeSharedDropout lives in time.*rheobase.run"):
        rb.TimeSharedDropout()(torch.rand(2, 4))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rb.LIF(decay=1.5), r"decay in \[0, 1\], got 1.5"),
        (lambda: rb.LIF(decay=0.5, tau=2.0), "decay or tau, not both"),
        (lambda: rb.LIF(tau=0.5), "tau >= 1"),
        (lambda: rb.LIF(threshold=0.0), "threshold > 0"),
        (lambda: rb.LIF(reset="soft"), '"subtract" or "zero", got \'soft\''),
        (lambda: rb.LIF(reset_value=-0.5), "no effect"),
        (lambda: rb.LIF(reset="zero", reset_value=2.0), "reset_value < threshold"),
        (lambda: rb.LIF(surrogate="sigmod"), "Unknown surrogate 'sigmod'. Did you mean 'sigmoid'"),
        (lambda: rb.LIF(surrogate="triangle(wide=2)"), r"triangle\(width, height=number\)"),
        (lambda: rb.LIF(decay=1.0, decay_input=True), "multiplies the input by 0"),
        (lambda: rb.PLIF(decay=1.0), "strictly between 0 and 1"),
        (lambda: rb.Sigmoid(alpha=0), "alpha > 0"),
        (lambda: rb.TimeSharedDropout(1.0), r"\[0, 1\)"),
        (lambda: rb.SLTT(steps=2, at=(1,)), "steps or at, not both"),
        (lambda: rb.SLTT(steps=0), "at least 1 learning step"),
        (lambda: rb.SLTT(at=(1, 1)), "different steps"),
        (lambda: rb.SLTT(at=(-1,)), "different steps, counted from 0"),
        (lambda: rb.SLTT(scale="sum"), '"mean" or "paper"'),
        (lambda: rb.SLTT(chunk=0), "chunk >= 1"),
        (lambda: rb.OTTT(trace_decay=2.0), "decay_pre in"),
        (lambda: rb.STLLR(causal=0.0, acausal=0.0), "leave no gradient"),
        (lambda: rb.STLLR(signal="dfb"), "Unknown signal 'dfb'. Did you mean 'dfa'"),
        (lambda: rb.STLLR(last=0), "at least 1"),
        (lambda: rb.BPTT("mean"), '"each_step" or "mean_output"'),
        (lambda: rb.BPTT(checkpoint=0), "checkpoint >= 1"),
        (lambda: rb.TruncatedBPTT(0), "horizon >= 1"),
        (lambda: rb.TruncatedBPTT(2, chunk=3), "chunk <= horizon"),
        (lambda: rb.constant(torch.rand(2), 0), "at least 1 step"),
    ],
)
def test_bad_options_are_refused_where_they_are_given(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_options_that_do_not_fit_the_sequence_are_refused() -> None:
    refused("at most T = 6 learning steps, got 7", net(), rb.SLTT(steps=7))
    refused("at most T = 6 learning steps, got 7", net(), rb.STLLR(last=7))
    refused(r"learning steps in 0..5.*\(1, 6\)", net(), rb.SLTT(at=(1, 6)))
    stream = (torch.rand(2, 4) for _ in range(3))
    refused("needs to know the number of steps", net(), rb.SLTT(steps=2), stream)
    refused("needs to know it", net(), rb.TruncatedBPTT(2), (torch.rand(2, 4) for _ in range(3)))
    per_step = rb.PerStep(torch.randint(3, (5, 2)))
    refused("one target per step, T = 6", net(), rb.SLTT(), target=per_step)
    per_step = rb.PerStep(torch.randint(3, (6, 2)))
    refused("PerStep", net(), rb.RateBP(), target=per_step)
    refused("PerStep", net(), rb.BPTT("mean_output"), target=per_step)
    with pytest.raises(ValueError, match="chunk=1"):
        rb.SLTT(chunk=2).backward(
            net(), torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=cross_entropy, after_step=lambda: None
        )
    with pytest.raises(ValueError, match="list of steps"):
        rb.SLTT().backward(
            net(), iter(torch.rand(6, 2, 4)), torch.randint(3, (2,)), loss=cross_entropy, after_step=lambda: None
        )


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_bad_losses_and_targets_are_refused(rule: Any) -> None:
    xs = torch.rand(6, 2, 4)
    with pytest.raises(ValueError, match="scalar"):
        rule.backward(net(), xs, torch.randint(3, (2,)), loss=lambda o, y: F.cross_entropy(o, y, reduction="none"))
    refused(r"targets in 0..2.*got 3..7", net(), rule, xs, torch.tensor([7, 3]))
    refused("integer class targets", net(), rule, xs, torch.rand(2), error=TypeError)


def test_direct_feedback_needs_a_readout_and_drtp_classes() -> None:
    spiking_end = nn.Sequential(nn.Linear(4, 5), rb.LIF(), nn.Linear(5, 3), rb.LIF())
    refused("needs a readout", spiking_end, rb.STLLR(signal="dfa"))
    with pytest.raises(TypeError, match="integer class targets"):
        rb.STLLR(signal="drtp").backward(net(), torch.rand(6, 2, 4), torch.rand(2, 3), loss=rb.losses.mse)


def test_a_step_of_unknown_names_what_is_near() -> None:
    from rheobase.names import choose

    with pytest.raises(ValueError, match=re.escape("Unknown rule 'slt'. Did you mean 'sltt'? Known: bptt, sltt.")):
        choose("rule", "slt", {"sltt": 1, "bptt": 2})

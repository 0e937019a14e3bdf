import copy
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.measure import gradient_cosine
from rheobase.measure.agreement import gradient_of


@dataclass(frozen=True)
class Scaled:
    """BPTT times a factor."""

    factor: float

    def backward(self, model, xs, target, *, loss, after_step=None, backward=torch.Tensor.backward):
        step_by_step = rb.BPTT(chunk=1)  # as the reference: dropout draws the same masks
        return step_by_step.backward(model, xs, target, loss=lambda *args: self.factor * loss(*args))


def net():
    return nn.Sequential(nn.Linear(6, 20), rb.LIF(), nn.Dropout(0.3), nn.Linear(20, 3)).double()


def agreement(rule, reference=None, model=None):
    xs, target = torch.rand(6, 5, 6, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 0, 1])
    return gradient_cosine(rule, reference or rb.BPTT(), model or net(), xs, target, rb.losses.cross_entropy)


@pytest.mark.parametrize("factor", [1.0, 3.0, -2.0])
def test_a_scaled_gradient_has_cosine_one_and_the_factor_as_norm_ratio(factor):
    found = agreement(Scaled(factor))
    assert found.cosine == pytest.approx(math.copysign(1, factor), abs=1e-12)
    assert found.norm_ratio == pytest.approx(abs(factor), rel=1e-12)
    assert list(found.of_parameters) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_another_rule_agrees_where_no_time_path_is_cut_and_less_elsewhere():
    found = agreement(rb.TruncatedBPTT(horizon=1))
    assert found.of_parameters["3.weight"] == pytest.approx(1, abs=1e-12)
    assert found.of_parameters["0.weight"] < 0.9999
    assert agreement(rb.TruncatedBPTT(horizon=6)).cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.SLTT(chunk=4), rb.BPTT(chunk=3), rb.BPTT(checkpoint=2)])
def test_all_rules_see_the_same_dropout_masks_whatever_their_chunks(rule):
    memoryless = rb.LIF(0.0, threshold=0.3, detach_reset=True)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 20), memoryless, nn.Dropout(0.5), nn.Linear(20, 3)).double()
    found = agreement(rule, model=model)
    assert (found.cosine, found.norm_ratio) == pytest.approx((1, 1), abs=1e-12)


def test_the_total_cosine_is_that_of_all_parameters_as_one_vector():
    torch.manual_seed(1)
    model = net().eval()
    xs, target = torch.rand(6, 5, 6, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 0, 1])
    vectors = []
    for rule in (rb.TruncatedBPTT(horizon=1), rb.BPTT()):
        model.zero_grad()
        rule.backward(model, xs, target, loss=rb.losses.cross_entropy)
        vectors.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    expected = float(torch.cosine_similarity(*vectors, dim=0))
    rules = rb.TruncatedBPTT(horizon=1), rb.BPTT()
    assert gradient_cosine(*rules, model, xs, target, rb.losses.cross_entropy).cosine == pytest.approx(expected)


def test_measuring_changes_neither_the_model_nor_the_random_state():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), rb.LIF(), nn.Linear(4, 3)).double()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    agreement_with_state = gradient_cosine(
        rb.BPTT(), rb.BPTT(), model, torch.ones(2, 3, 6).double().cumsum(1), torch.tensor([0, 1, 2]),
        rb.losses.cross_entropy,
    )  # fmt: skip
    assert agreement_with_state.cosine == pytest.approx(1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_a_gradient_taken_on_the_model_itself_leaves_no_trace_either():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), rb.LIF(), nn.Linear(4, 3)).double()
    before = copy.deepcopy(model.state_dict())
    xs, target = torch.rand(2, 3, 6).double(), torch.tensor([0, 1, 2])
    assert gradient_of(rb.BPTT(), model, xs, target, rb.losses.cross_entropy)["3.weight"].norm() > 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

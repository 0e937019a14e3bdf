import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.aside import RandomStates
from rheobase.losses import cross_entropy
from rheobase.training.anomalies import bad_gradients, bad_input, first_bad, gradient_norm

T, N = 5, 3
ONLINE = [rb.SLTT(), rb.SLTT(at=(1, 3, 4)), rb.SLTT(chunk=4), rb.OTTT(), rb.STLLR(), rb.STLLR(last=2)]
WHOLE = [rb.BPTT(), rb.BPTT(checkpoint=2), rb.TruncatedBPTT(2), rb.RateBP()]
RULES = ONLINE + WHOLE


class Above(nn.Module):
    """Gives infinity for what is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        return x + (x > self.limit) * 3e38 + (x > self.limit) * 3e38


class Cliff(rb.Surrogate):
    """The slope is infinite half a threshold above the threshold, and 1 elsewhere."""

    def __call__(self, distance: Tensor) -> Tensor:
        return torch.ones_like(distance) / (distance != 0.5)


def unit_linear(width: int = 4, outputs: int = 4) -> nn.Linear:
    layer = nn.Linear(width, outputs)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def net(*first: nn.Module, surrogate: rb.Surrogate | str = "sigmoid") -> nn.Sequential:
    return nn.Sequential(*first, unit_linear(), rb.LIF(0.0, surrogate=surrogate), unit_linear(4, 3))


def ones(**at: float) -> Tensor:
    """A sequence of 0.25, but for other values of sample 1 at some steps."""
    xs = torch.full((T, N, 4), 0.25)
    for step, value in at.items():
        xs[int(step[1:]), 1, 2] = value
    return xs


def found_in(
    model: nn.Module,
    xs: Tensor,
    rule: Any = None,
    *,
    target: Any = None,
    loss: Any = cross_entropy,
    random: RandomStates | None = None,
) -> tuple[str, str | None, int | None]:
    target = torch.tensor([0, 1, 2]) if target is None else target
    found = first_bad(model, rule or rb.SLTT(), xs, target, loss, random=random)
    assert len(found.text) < 400
    assert found.name is None or repr(found.name) in found.text
    assert found.step is None or f"step {found.step}" in found.text
    return found.kind, found.name, found.step


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_bad_input_is_found_at_its_step_and_its_sample_is_named(rule: Any) -> None:
    xs = ones(t2=math.inf, t4=math.nan)
    found = first_bad(net(), rule, xs, torch.tensor([0, 1, 2]), cross_entropy)
    assert (found.kind, found.step) == ("input", 2)
    assert "1 of 3 samples, first in sample 1" in found.text


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_layer_that_overflows_is_found_at_the_step_it_does(rule: Any) -> None:
    assert found_in(net(Above(1.0)), ones(t3=2.0), rule) == ("output", "0", 3)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_samples_of_that_step_are_counted_whatever_the_chunk(rule: Any) -> None:
    found = first_bad(net(Above(1.0)), rule, ones(t3=2.0, t4=2.0), torch.tensor([0, 1, 2]), cross_entropy)
    assert "infinite in 1 of 3 samples" in found.text


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.RateBP()], ids=str)
def test_a_layer_used_twice_and_one_with_several_rows_a_sample_are_found_at_their_step(rule: Any) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.above, self.rest = Above(4.0), net()

        def forward(self, x: Tensor) -> Tensor:
            by_value = self.above(x.flatten().unsqueeze(1)).view_as(x)
            return self.rest(self.above(2 * by_value))

    assert found_in(Twice(), ones(t3=3.0), rule) == ("output", "above", 3)
    assert found_in(Twice(), ones(t1=5.0), rule) == ("output", "above", 1)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_potential_that_overflows_is_found_before_what_goes_wrong_later(rule: Any) -> None:
    model = nn.Sequential(Above(2.0), Scaled(), rb.IF(threshold=1e30), unit_linear(4, 3))
    assert found_in(model, ones(t0=1.5, t1=1.5, t2=1.5, t4=3.0), rule) == ("potential", "2", 2)
    assert found_in(model, ones(t0=1.5, t1=3.0), rule) == ("output", "0", 1)


class Scaled(nn.Linear):
    """Times 1e38."""

    def __init__(self) -> None:
        super().__init__(4, 4, bias=False)
        self.weight = nn.Parameter(1e38 * torch.eye(4))


@pytest.mark.parametrize("recurs", [False, True])
def test_a_potential_is_found_at_its_step_also_where_a_norm_needs_all_steps_at_once(recurs: bool) -> None:
    first: nn.Module = nn.Sequential(Scaled(), rb.IF(threshold=1e30))
    if recurs:
        first = rb.Recurrent(Scaled(), nn.Linear(4, 4, bias=False), rb.IF(threshold=1e30))
        nn.init.zeros_(first.recurrent.weight)
    model = nn.Sequential(first, rb.SequenceBatchNorm1d(4), rb.LIF(0.0), unit_linear(4, 3))
    name = "0.neuron" if recurs else "0.1"
    assert found_in(model, ones(t0=1.5, t1=1.5, t2=1.5), rb.BPTT()) == ("potential", name, 2)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_comes_first_in_time_is_found_before_what_comes_first_in_the_model(rule: Any) -> None:
    model = nn.Sequential(Above(9.0), unit_linear(), Above(1.0), rb.LIF(0.0), unit_linear(4, 3))
    assert found_in(model, ones(t2=2.0, t3=10.0), rule) == ("output", "2", 2)
    assert found_in(model, ones(t2=10.0, t3=10.0), rule) == ("output", "0", 2)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_weight_that_was_spoilt_before_is_found(rule: Any) -> None:
    model = net()
    with torch.no_grad():
        model[2].bias[1] = math.nan
    assert found_in(model, ones(), rule) == ("weight", "2.bias", None)


@pytest.mark.parametrize("rule", ONLINE, ids=str)
def test_a_gradient_of_an_online_rule_is_found_at_the_learning_step_that_spoilt_it(rule: Any) -> None:
    model = net(surrogate=Cliff())
    assert found_in(model, ones(t3=1.5), rule) == ("gradient", "0.weight", 3)


@pytest.mark.parametrize("rule", WHOLE, ids=str)
def test_a_gradient_of_a_rule_that_learns_from_all_steps_at_once_has_no_step(rule: Any) -> None:
    assert found_in(net(surrogate=Cliff()), ones(t3=1.5), rule) == ("gradient", "0.weight", None)


def test_a_bad_gradient_is_that_of_the_last_layer_which_has_one() -> None:
    model = nn.Sequential(
        unit_linear(), rb.LIF(0.0), unit_linear(), rb.LIF(0.0, surrogate=Cliff()), unit_linear(), rb.LIF(0.0),
        unit_linear(4, 3),
    )  # fmt: skip
    with torch.no_grad():
        model[2].weight.mul_(1.5)
    found = first_bad(model, rb.BPTT(), ones(t3=1.0), torch.tensor([0, 1, 2]), cross_entropy)
    assert (found.kind, found.name) == ("gradient", "2.weight")
    assert "breaks at '3'" in found.text


def log_of_output(output: Tensor, target: Tensor) -> Tensor:
    return -output.sum(1).log().mean()


@pytest.mark.parametrize("rule", [rule for rule in RULES if not isinstance(rule, rb.RateBP)], ids=str)
def test_a_logarithm_of_zero_in_the_loss_is_found_at_its_step(rule: Any) -> None:
    xs = torch.full((T, N, 4), 2.0)
    xs[3:, 1] = 0.0
    assert found_in(net(), xs, rule, loss=log_of_output) == ("loss", None, 3)


@pytest.mark.parametrize("rule", [rb.RateBP(), rb.BPTT("mean_output")], ids=str)
def test_the_loss_of_a_mean_output_has_no_step(rule: Any) -> None:
    xs = torch.full((T, N, 4), 2.0)
    xs[:, 1] = 0.0
    assert found_in(net(), xs, rule, loss=log_of_output) == ("loss", None, None)


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.SLTT(at=(1, 2))], ids=str)
def test_a_loss_is_found_at_the_step_of_its_target(rule: Any) -> None:
    targets = torch.ones(T, N)
    targets[2, 0] = 0.0
    loss = lambda output, target: (output.sum(1) + target.log()).square().mean()  # noqa: E731
    assert found_in(net(), ones(), rule, target=rb.PerStep(targets), loss=loss) == ("loss", None, 2)


def test_a_loss_whose_derivative_is_not_finite_is_told_from_a_surrogate() -> None:
    loss = lambda output, target: (output - output.detach()).abs().sqrt().mean()  # noqa: E731
    found = first_bad(net(), rb.SLTT(), ones(), torch.tensor([0, 1, 2]), loss)
    assert (found.kind, found.name, found.step) == ("gradient", "2.weight", 0)
    assert "Only the loss lies behind it" in found.text


def test_a_gradient_whose_square_overflows_is_bad() -> None:
    model, target = net(), torch.zeros(N, dtype=torch.long)
    loss = lambda output, target: 1e25 * cross_entropy(output, target)  # noqa: E731
    rb.SLTT().backward(model, ones(), target, loss=loss)
    assert not gradient_norm(model).isfinite()
    assert bad_gradients(model)
    assert model[2].bias.grad.isfinite().all()
    found = first_bad(model, rb.SLTT(), ones(), target, loss)
    assert (found.kind, found.name, found.step) == ("gradient", "2.bias", 0)
    assert "too large to be squared" in found.text


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_potential_that_overflows_is_found_though_spikes_are_finite(rule: Any, reset: Any) -> None:
    model = nn.Sequential(unit_linear(), rb.IF(threshold=3.1e38, reset=reset), unit_linear(4, 3))
    with torch.no_grad():
        model[0].weight.mul_(3e38)
    xs = torch.zeros(T, N, 4)
    xs[1, 1, 2] = xs[3, 1, 2] = 1.0
    assert found_in(model, xs, rule) == ("potential", "1", 3)


def test_what_is_computed_between_layers_is_found_where_it_enters_a_neuron() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.neuron, self.readout = unit_linear(), rb.LIF(), unit_linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.neuron(1 / (self.linear(x) - 1)))

    assert found_in(Between(), ones(t3=1.0)) == ("current", "neuron", 3)


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.RateBP(), rb.STLLR()], ids=str)
def test_a_recurrent_layer_is_looked_into_at_each_of_its_steps(rule: Any) -> None:
    layer = rb.Recurrent(unit_linear(), nn.Linear(4, 4), rb.LIF(0.0))
    with torch.no_grad():
        layer.recurrent.weight.fill_(3e38)
    model = nn.Sequential(layer, unit_linear(4, 3))
    xs = ones()
    xs[2, 1] = 2.0  # all four neurons fire, and are heard at the step after
    assert found_in(model, xs, rule) == ("output", "0.recurrent", 3)


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.RateBP()], ids=str)
def test_steps_are_told_apart_where_a_norm_needs_them_all_at_once(rule: Any) -> None:
    model = nn.Sequential(unit_linear(), rb.SequenceBatchNorm1d(4), Above(1.5), rb.LIF(0.0), unit_linear(4, 3))
    assert found_in(model, ones(t1=0.5, t3=5.0, t4=5.0), rule) == ("output", "2", 3)


def with_norm() -> nn.Sequential:
    return nn.Sequential(unit_linear(), nn.BatchNorm1d(4), rb.LIF(0.0), unit_linear(4, 3))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_bad_running_variance_is_found_where_it_is_used(rule: Any) -> None:
    model = with_norm()
    model[1].running_var[2] = math.nan
    model[1].eval()
    assert found_in(model, ones(), rule) == ("weight", "1.running_var", None)
    model[1].running_var[2] = -1.0
    found = first_bad(model, rule, ones(t3=1.0), torch.tensor([0, 1, 2]), cross_entropy)
    assert (found.kind, found.name, found.step) == ("output", "1", 0)
    assert "running variance is not positive" in found.text


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.RateBP()], ids=str)
def test_a_running_variance_is_not_blamed_for_the_batch_that_spoilt_it(rule: Any) -> None:
    model, xs, target = nn.Sequential(unit_linear(), *with_norm()), ones(t3=3e38), torch.tensor([0, 1, 2])
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    rule.backward(model, xs, target, loss=cross_entropy)
    assert not model[2].running_var.isfinite().all()
    assert found_in(model, xs, rule) == ("output", "0", 3)


class Reciprocal(nn.Module):
    """1 / x; remembers at which step it first was infinite."""

    step: int | None = None
    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        y = 1 / x
        if self.step is None and not y.isfinite().all():
            self.step = (self.rows + int((~y.isfinite()).any(1).nonzero()[0])) // N
        self.rows += len(x)
        return y


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.SLTT(chunk=4), rb.OTTT()], ids=str)
def test_what_hangs_on_chance_is_found_with_the_random_numbers_of_the_batch(rule: Any) -> None:
    steps = []
    for seed in range(6):
        torch.manual_seed(seed)
        reciprocal = Reciprocal()
        model = nn.Sequential(nn.Dropout(0.03), reciprocal, *net())
        before = RandomStates(torch.device("cpu"))
        rule.backward(model, ones(), torch.tensor([0, 1, 2]), loss=cross_entropy)
        expected, kind = reciprocal.step, "loss" if reciprocal.step is None else "output"
        assert found_in(model, ones(), rule, random=before)[::2] == (kind, expected)
        steps.append(expected)
    assert len(set(steps)) > 2


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("make", [lambda: with_norm(), lambda: nn.Sequential(Above(1.0), *with_norm())])
def test_looking_for_it_leaves_no_trace(rule: Any, make: Callable[[], nn.Sequential]) -> None:
    model = nn.Sequential(rb.TimeSharedDropout(0.1), *make())
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    grads = [p.grad for p in model.parameters()]
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    first_bad(model, rule, ones(t3=2.0), torch.tensor([0, 1, 2]), cross_entropy)
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(dict(model.state_dict()), kept, rtol=0, atol=0)
    assert all(p.grad is grad and (grad == 1).all() for p, grad in zip(model.parameters(), grads, strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_sound_batch_has_no_place_where_it_went_wrong(rule: Any) -> None:
    assert found_in(with_norm(), torch.rand(T, N, 4), rule) == ("loss", None, None)


def test_a_target_that_is_not_finite_is_found_at_its_step() -> None:
    xs, goals = ones(), torch.zeros(T, N, 3)
    goals[4, 2, 0] = math.nan
    found = bad_input(xs, rb.PerStep(goals))
    assert found is not None
    assert (found.kind, found.step) == ("target", 4)
    assert bad_input(xs, rb.PerStep(torch.zeros(T, N, 3))) is None
    assert bad_input(xs, goals[4]).step is None


def test_the_norm_of_the_gradient_is_that_of_all_parameters_together() -> None:
    model = net()
    rb.BPTT().backward(model, torch.rand(T, N, 4), torch.tensor([0, 1, 2]), loss=cross_entropy)
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(gradient_norm(model), whole.norm())
    assert bad_gradients(model) == []
    model[2].bias.grad[1] = math.nan
    assert bad_gradients(model) == ["2.bias"]
    assert gradient_norm(model).isnan()
    model.zero_grad()
    assert bad_gradients(model) == []
    assert gradient_norm(model) == 0

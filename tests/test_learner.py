"""A learner's loss brings the rule's gradient to the parameters, once, as if it were the loss's own."""

import gc
from typing import Any
from weakref import ref

import pytest
import torch
from networks import spiking_nets
from torch import Tensor, nn

import rheobase as rb
from rheobase.learner import Learner
from rheobase.losses import cross_entropy
from rheobase.precision import Precision
from rheobase.rules.rule import Rule
from rheobase.rules.signals import DirectFeedback

EXACT = {"rtol": 0.0, "atol": 1e-12}
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "bptt-mean": rb.BPTT("mean_output"),
    "bptt-checkpoint": rb.BPTT(checkpoint=True),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "sltt-k": rb.SLTT(at=(1, 3)),
    "ottt": rb.OTTT(),
    "ottt-exact": rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
    "s-tllr-last": rb.STLLR(last=2),
    "s-tllr-dfa": rb.STLLR(signal="dfa"),
    "online": rb.Online(signal=DirectFeedback("sign"), average="nothing"),
}
every_rule = pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in RULES.items()])


@pytest.fixture(params=spiking_nets())
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(1)
    return spiking_nets()[request.param]().double()


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5), rb.LIF(0.5), nn.Linear(5, 3)).double()


@pytest.fixture
def sequence() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.rand(4, 5, 2, 6, 6, dtype=torch.float64) * 2, torch.randint(3, (5,))


def grads(net: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def by_rule(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> tuple[list[Tensor | None], Any]:
    """The rule's own gradient and result; the running statistics are put back."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.zero_grad()
    result, found = rule.backward(net, *sequence, loss=cross_entropy), grads(net)
    net.load_state_dict(before)
    net.zero_grad()
    return found, result


@every_rule
def test_the_gradient_is_the_rules(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    expected, result = by_rule(rule, net, sequence)
    loss, outputs = Learner(net, rule, cross_entropy)(*sequence)
    assert grads(net) == [None] * len(expected)
    assert torch.equal(outputs, result.outputs)
    assert torch.equal(loss.detach(), result.loss)
    loss.backward()
    torch.testing.assert_close(grads(net), expected, **EXACT)
    assert any(g is not None and g.abs().sum() > 0 for g in expected)


@every_rule
def test_gradients_add_up_over_batches(rule: Rule, small: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    expected, _ = by_rule(rule, small, sequence)
    learner = Learner(small, rule, cross_entropy)
    (learner(*sequence).loss / 4).backward()
    (learner(*sequence).loss * 3 / 4).backward()
    torch.testing.assert_close(grads(small), expected, **EXACT)


@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR(signal="drtp")], ids=str)
def test_a_loss_scale_is_the_rules_own_and_the_losss(
    rule: Rule, small: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    """The passes within run at the scale, and the gradient comes out at what `loss.backward` was scaled by."""
    expected, _ = by_rule(rule, small, sequence)
    precision, within = Precision("float16", torch.device("cpu")), []
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    learner = Learner(small, rule, cross_entropy, scale=precision.scale)
    small[1].bias.register_hook(lambda grad: within.append(grad))
    precision.backward(learner(*sequence).loss)
    scaled = [None if g is None else g * precision.scale() for g in expected]
    torch.testing.assert_close(grads(small), scaled, rtol=1e-12, atol=0)
    precision.unscale(optimizer)
    torch.testing.assert_close(grads(small), expected, **EXACT)
    assert len(within) == 1


def test_float16_keeps_what_is_small_through_a_learner(sequence: tuple[Tensor, Tensor]) -> None:
    xs, target = sequence
    found = {}
    for name in ("float32", "float16"):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), rb.LIF(0.5), nn.Linear(5, 3))
        precision = Precision(name, torch.device("cpu"))  # type: ignore[arg-type]
        learner = Learner(net, rb.SLTT(), lambda y, t: 1e-6 * cross_entropy(y, t), scale=precision.scale)
        with precision.autocast():
            loss = learner(xs.float(), target).loss
        precision.backward(loss)
        precision.unscale(torch.optim.SGD(net.parameters(), lr=0.1))
        found[name] = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.cosine_similarity(found["float16"], found["float32"], 0) > 0.99


def test_hooks_of_parameters_are_called_once_with_the_whole_gradient(
    small: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    expected, _ = by_rule(rb.SLTT(), small, sequence)
    before, after = [], []
    small[1].weight.register_hook(lambda grad: before.append(grad.clone()))
    small[1].weight.register_post_accumulate_grad_hook(lambda p: after.append(p.grad.clone()))
    loss = Learner(small, rb.SLTT(), cross_entropy)(*sequence).loss
    assert not before
    assert not after
    loss.backward()
    torch.testing.assert_close((before, after), ([expected[0]], [expected[0]]), **EXACT)


def test_frozen_and_unused_parameters_get_no_gradient(sequence: tuple[Tensor, Tensor]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), rb.LIF(0.5), nn.Linear(5, 3)).double()
    net[1].weight.requires_grad_(False)
    net[0].unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    Learner(net, rb.SLTT(), cross_entropy)(*sequence).loss.backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == ["0.unused", "1.weight"]


def test_a_gradient_is_handed_over_only_once(small: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    loss = Learner(small, rb.SLTT(), cross_entropy)(*sequence).loss
    loss.backward(retain_graph=True)
    once = grads(small)
    with pytest.raises(RuntimeError, match="handed over already: call the learner again"):
        loss.backward()
    torch.testing.assert_close(grads(small), once, **EXACT)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_autograd_it_gives_the_loss_and_learns_nothing(
    context: Any, small: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    expected, result = by_rule(rb.BPTT(), small, sequence)
    with context():
        loss, outputs = Learner(small, rb.STLLR(), cross_entropy)(*sequence)
    assert not loss.requires_grad
    torch.testing.assert_close((loss, outputs), tuple(result), **EXACT)
    assert grads(small) == [None] * len(expected)


def test_a_model_that_raises_leaves_gradients_and_hooks_as_they_were(
    small: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    xs, target = sequence
    calls = []
    small[3].weight.register_hook(lambda grad: calls.append(1))
    learner = Learner(small, rb.SLTT(), cross_entropy)
    learner(xs, target).loss.backward()
    before, own = grads(small), [p.grad for p in small.parameters()]

    def failing(output: Tensor, goal: Tensor) -> Tensor:
        calls.append(2)
        if calls.count(2) == 3:
            raise ArithmeticError("third step")
        return cross_entropy(output, goal)

    with pytest.raises(ArithmeticError, match="third step"):
        Learner(small, rb.SLTT(), failing)(xs, target)
    torch.testing.assert_close(grads(small), before, **EXACT)
    assert all(p.grad is grad for p, grad in zip(small.parameters(), own, strict=True))
    learner(xs, target).loss.backward()
    assert calls.count(1) == 2


def test_nothing_found_is_kept_once_it_was_handed_over(small: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    result = Learner(small, rb.SLTT(), cross_entropy)(*sequence)
    result.loss.backward()
    kept = [ref(p.grad) for p in small.parameters()]
    small.zero_grad()
    gc.collect()
    assert result.loss.grad_fn is not None
    assert [grad() for grad in kept] == [None] * len(kept)


def test_a_second_call_before_the_first_backward_changes_nothing(
    small: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    expected, _ = by_rule(rb.OTTT(), small, sequence)
    learner = Learner(small, rb.OTTT(), cross_entropy)
    first, second = learner(*sequence).loss, learner(*sequence).loss
    second.backward()
    torch.testing.assert_close(grads(small), expected, **EXACT)
    first.backward()
    torch.testing.assert_close(grads(small), [None if g is None else 2 * g for g in expected], **EXACT)

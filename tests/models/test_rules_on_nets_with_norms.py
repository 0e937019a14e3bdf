"""Each net with batch normalisation under each rule: every parameter learns, or the net is refused with the reason."""

from typing import Any

import naive_rules
import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.models import MODELS
from rheobase.models.membrane_resnet import MembraneBlock
from rheobase.models.mobilenet import InvertedBlock
from rheobase.models.preact_resnet import PreActBlock
from rheobase.models.resnet import Block
from rheobase.models.sew_resnet import SEWBlock
from rheobase.rules import Rule

STEPS, BATCH, CLASSES = 2, 5, 3
SMALL = {"width": 1 / 16}
NETS: dict[str, tuple[int, dict[str, Any]]] = {  # side of the image, options
    "resnet18": (16, SMALL),
    "resnet19": (12, SMALL),
    "vgg11": (16, SMALL),
    "vgg13": (16, SMALL),
    "vggsnn": (16, SMALL),
    "vggsnn-cifar": (16, SMALL),
    "sew-resnet34": (32, SMALL),
    "preact-resnet34": (32, SMALL),
    "preact-resnet18": (16, {**SMALL, "dropout": 0.2}),
    "vgg11-bn": (32, {**SMALL, "head": "clean"}),
    "ms-resnet18": (16, {**SMALL, "strides": (1, 1, 2, 2, 2)}),
    "mobilenet": (8, SMALL),
}
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "sltt": rb.SLTT(),
    "ottt": rb.OTTT(),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
}
BLOCKS = ("after-addition", "spikes-added", "membrane", "pre-activated", "inverted")
PAIRS = [(name, rule) for name in NETS for rule in RULES]
EXACT = {"rtol": 1e-8, "atol": 1e-11}


@pytest.fixture(autouse=True)
def _double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def lively(name: str) -> nn.Module:
    """The net with norms and linear weights that let every layer fire and every branch count."""
    torch.manual_seed(1)
    side, options = NETS[name]
    net = MODELS[name]((2, side, side), CLASSES, **options)
    excite(net)
    for linear in [m for m in net.modules() if isinstance(m, nn.Linear)]:
        nn.init.normal_(linear.weight)
    return net


def excite(net: nn.Module) -> None:
    """Norms whose outputs reach the threshold often."""
    for norm in [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
        nn.init.uniform_(norm.weight, 0.8, 1.5)
        nn.init.uniform_(norm.bias, 0, 0.3)


def sequence(name: str, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.rand(steps, BATCH, 2, NETS[name][0], NETS[name][0]), torch.randint(CLASSES, (BATCH,))


def learned(rule: Rule, name: str, steps: int = STEPS, drops: bool = True) -> dict[str, Tensor]:
    net, (xs, target) = lively(name), sequence(name, steps)
    for dropout in [m for m in net.modules() if isinstance(m, rb.TimeSharedDropout)]:
        dropout.train(drops)
    rule.backward(net, xs, target, loss=cross_entropy)
    return gradients(net)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def blocks(kind: str) -> list[nn.Module]:
    """A block that keeps the shape and one that does not, from 8 to 16 channels, and what comes after them."""
    neuron, norm = (lambda: rb.LIF(0.5)), nn.BatchNorm2d
    makers: dict[str, Any] = {
        "after-addition": lambda i, o, s: Block(i, o, s, neuron, norm),
        "spikes-added": lambda i, o, s: SEWBlock(i, o, s, neuron, norm),
        "membrane": lambda i, o, s: MembraneBlock(i, o, s, neuron, norm, bias=True),
        "pre-activated": lambda i, o, s: PreActBlock(i, o, s, neuron, norm, dropout=0.0),
        "inverted": lambda i, o, s: InvertedBlock(i, o, s, 2, neuron, norm),
    }
    end = [neuron()] if kind in ("membrane", "pre-activated", "inverted") else []
    return [makers[kind](8, 8, 1), makers[kind](8, 16, 2), *end]


def two_blocks(kind: str, steps: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    """A net with two blocks of one kind behind a max pool, its input `[T, N, 2, 12, 12]` and target."""
    torch.manual_seed(1)
    stem = [nn.Conv2d(2, 8, 3, 1, 1), nn.BatchNorm2d(8), rb.LIF(0.5), nn.MaxPool2d(3, 2, 1)]
    net = nn.Sequential(*stem, *blocks(kind), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES))
    excite(net)
    return net, torch.rand(steps, BATCH, 2, 12, 12), torch.randint(CLASSES, (BATCH,))


def learned_by_blocks(rule: Rule, kind: str, steps: int = 3) -> dict[str, Tensor]:
    net, xs, target = two_blocks(kind, steps)
    rule.backward(net, xs, target, loss=cross_entropy)
    return gradients(net)


def undone_by_norms(net: nn.Module) -> set[str]:
    """Biases of convolutions, whose every path leads through a norm that takes the mean off."""
    return {f"{name}.bias" for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize(("name", "rule"), PAIRS)
def test_every_parameter_learns(name: str, rule: str) -> None:
    found, net = learned(RULES[rule], name), lively(name)
    assert found.keys() == {key for key, _ in net.named_parameters()}
    assert all(grad.isfinite().all() for grad in found.values())
    assert not [key for key, grad in found.items() if grad.abs().max() == 0 and key not in undone_by_norms(net)]


@pytest.mark.parametrize("name", NETS)
def test_at_one_step_sltt_is_bptt(name: str) -> None:
    agree(learned(RULES["sltt"], name, steps=1, drops=False), learned(rb.BPTT(), name, steps=1, drops=False), "sltt")


@pytest.mark.parametrize("kind", BLOCKS)
def test_at_one_step_every_rule_is_bptt(kind: str) -> None:
    exact = learned_by_blocks(rb.BPTT(), kind, steps=1)
    for name, rule in RULES.items():
        agree(learned_by_blocks(rule, kind, steps=1), exact, name)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(
    ("rule", "naive"),
    [
        (rb.SLTT(), lambda net, rule: naive_rules.sltt(net)),
        (rb.OTTT(trace_decay=0.5), naive_rules.ottt),
        (rb.STLLR(), naive_rules.stllr),
    ],
    ids=["sltt", "ottt", "s-tllr"],
)
def test_online_rules_are_their_equations_and_not_bptt(rule: Rule, naive: Any, kind: str) -> None:
    """Max pooling, depthwise convolutions and every place of the shortcut included."""
    found, (net, xs, target) = learned_by_blocks(rule, kind), two_blocks(kind)
    naive(net, rule).backward(xs, target, cross_entropy)
    agree(found, gradients(net), str(rule))
    exact = learned_by_blocks(rb.BPTT(), kind)
    assert any((found[key] - exact[key]).norm() > 1e-2 * exact[key].norm() for key in found)


@pytest.mark.parametrize("name", ["resnet18", "sew-resnet34", "preact-resnet34", "preact-resnet18"])
def test_norms_over_the_sequence_learn_with_rules_that_see_it_whole(name: str) -> None:
    side, options = NETS[name]
    net = MODELS[name]((2, side, side), CLASSES, norm=rb.SequenceBatchNorm2d, **options)
    xs, target = sequence(name)
    exact, rate = rb.BPTT("mean_output"), rb.RateBP()
    torch.manual_seed(3)
    loss = exact.backward(net, xs, target, loss=cross_entropy).loss
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.manual_seed(3)
    torch.testing.assert_close(rate.backward(net, xs, target, loss=cross_entropy).loss, loss, rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="normalises over the whole sequence"):
        rb.SLTT().backward(net, xs, target, loss=cross_entropy)


def agree(found: dict[str, Tensor], expected: dict[str, Tensor], rule: str) -> None:
    assert found.keys() == expected.keys()
    for key, grad in expected.items():
        torch.testing.assert_close(found[key], grad, **EXACT, msg=lambda m, key=key: f"{rule} {key}: {m}")

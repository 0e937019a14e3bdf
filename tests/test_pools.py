"""Average pooling that keeps nothing: PyTorch's values and gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import flat_gradient
from torch import Tensor, nn

import rheobase as rb
from rheobase.pools import pooled

POOLS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True, "count_include_pad": False},
    {"kernel_size": 2, "divisor_override": 3},
    {"kernel_size": (2, 2), "stride": 1, "divisor_override": 1, "ceil_mode": True},
    {"kernel_size": (2,), "stride": (2,), "padding": (1,)},
    {"kernel_size": [3, 2]},
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_values_and_gradients_are_pytorchs(options: dict[str, Any], dtype: torch.dtype, last: bool) -> None:
    pool = nn.AvgPool2d(**options)
    x = torch.randn(3, 5, 7, 8, dtype=dtype)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, reference = pooled(pool, found), pool(expected)
    torch.testing.assert_close(y, reference, rtol=0, atol=0)
    assert y.stride() == reference.stride()
    error = torch.randn_like(y)
    y.backward(error)
    reference.backward(error)
    assert found.grad is not None
    torch.testing.assert_close(found.grad, expected.grad, rtol=0, atol=0)
    assert found.grad.abs().sum() > 0


@pytest.mark.parametrize("make", [lambda x: x[0], lambda x: x[:, :, ::2], lambda x: x[:, :1].expand(3, 5, 8, 8)])
def test_samples_without_a_batch_and_inputs_with_gaps_are_pooled_too(make: Any) -> None:
    leaves = [torch.arange(960.0).view(3, 5, 8, 8).requires_grad_() for _ in range(2)]
    pool = nn.AvgPool2d(2)
    for leaf, compute in zip(leaves, (lambda x: pooled(pool, x), pool), strict=True):
        y = compute(make(leaf))
        (y * torch.linspace(0, 1, y.numel()).view_as(y)).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=0, atol=0)


def test_nothing_of_the_input_is_kept() -> None:
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        pooled(nn.AvgPool2d(2), x)
        assert kept == []
        F.avg_pool2d(x, 2)
    assert len(kept) == 1


def test_without_gradient_it_is_the_pool_alone() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.no_grad():
        y = pooled(nn.AvgPool2d(2), x)
    assert not y.requires_grad
    assert not pooled(nn.AvgPool2d(2), x.detach()).requires_grad


class Net(nn.Module):
    def __init__(self, by_name: bool = False) -> None:
        super().__init__()
        self.conv, self.lif, self.pool = nn.Conv2d(2, 3, 3, padding=1), rb.LIF(0.5, threshold=0.3), nn.AvgPool2d(2)
        self.readout, self.by_name = nn.Linear(27, 3), by_name

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.pool(self.conv(x)).repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.readout((self.pool(input=spikes) if self.by_name else self.pool(spikes)).flatten(1))


class Averaging(nn.Module):
    """The same pool, not known as one."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, 2)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("name", ["bptt", "sltt", "ottt", "s-tllr", "rate-bp"])
def test_under_every_rule_the_gradient_is_that_of_the_function(name: str, by_name: bool) -> None:
    rule, net = rb.rules.RULES[name](), Net(by_name).double()
    xs, target = torch.rand(4, 5, 2, 6, 6, dtype=torch.float64) * 3, torch.randint(3, (5,))
    found = flat_gradient(rule, net, xs, target)
    net.pool = Averaging()  # type: ignore[assignment]
    torch.testing.assert_close(found, flat_gradient(rule, net, xs, target), rtol=0, atol=1e-12)
    assert found.abs().max() > 1e-3

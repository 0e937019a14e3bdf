from itertools import pairwise

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.models.vgg9 import stllr_neuron, vgg9


@pytest.mark.parametrize("classes", [10, 11])
def test_it_has_the_parameters_of_its_layers(classes: int) -> None:
    with torch.device("meta"):
        net = vgg9((2, 32, 32), classes)
    channels = [2, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(9 * i * o + 2 * o for i, o in pairwise(channels))
    assert sum(p.numel() for p in net.parameters()) == convolutions + 512 * classes + classes
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 9.23


def test_each_layer_is_convolution_neuron_dropout_and_then_the_pool() -> None:
    for pool, kind in (("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)):
        net = vgg9((2, 32, 32), 11, pool=pool, dropout=0.1, width=1 / 8)
        layer = [rb.WSConv2d, rb.LIF, rb.TimeSharedDropout]
        two = [*layer, *layer]
        expected = [*two, kind, *two, kind, *two, kind, *two, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
        assert [type(m) for m in net] == expected
        assert all(m.p == 0.1 for m in net if isinstance(m, rb.TimeSharedDropout))
        assert rb.run(net, torch.rand(2, 3, 2, 32, 32)).shape == (2, 3, 11)
    with pytest.raises(ValueError, match="pool"):
        vgg9((2, 32, 32), 11, pool="mean")  # type: ignore[arg-type]


def test_max_pooled_spikes_are_spikes_and_averaged_ones_are_not() -> None:
    torch.manual_seed(0)
    for pool, binary in (("avg", False), ("max", True)):
        net = vgg9((2, 16, 16), 11, pool=pool, width=1 / 8)
        seen = []
        net[7].register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        rb.run(net, torch.rand(4, 3, 2, 16, 16) * 5)
        values = torch.cat(seen).unique()
        assert len(values) > 1
        assert set(values.tolist()).issubset({0.0, 1.0}) == binary


def test_its_neuron_has_the_papers_secondary_activation() -> None:
    """0.3 max(0, 1 - |potential - 0.6|), and no gradient through the reset."""
    neuron, current = stllr_neuron(), torch.linspace(-1, 2, 13, dtype=torch.float64, requires_grad=True)
    spikes, (left,) = neuron.dynamics(current, (torch.full_like(current, 0.2),))
    potential = 0.1 + current.detach()
    assert torch.equal(spikes, (potential >= 0.6).double())
    torch.testing.assert_close(left.detach(), potential - 0.6 * spikes.detach())
    (slope,) = torch.autograd.grad(spikes.sum(), current, retain_graph=True)
    torch.testing.assert_close(slope, 0.3 * (1 - (potential - 0.6).abs()).clamp(min=0))
    (through,) = torch.autograd.grad(left.sum(), current)
    assert torch.equal(through, torch.ones_like(current))

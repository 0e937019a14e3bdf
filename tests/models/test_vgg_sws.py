import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.models.vgg_sws import vgg_sws

CONVOLUTIONS = [(64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]


@pytest.mark.parametrize("classes", [10, 100])
def test_it_has_the_parameters_of_its_layers(classes: int) -> None:
    with torch.device("meta"):
        net = vgg_sws((3, 32, 32), classes)
    expected = sum(9 * i * o + 2 * o for i, o in [(3, 64), *CONVOLUTIONS]) + 512 * classes + classes
    assert sum(p.numel() for p in net.parameters()) == expected
    assert round(expected / 1e6, 2) == {10: 9.23, 100: 9.27}[classes]
    assert sum(isinstance(m, rb.LIF) for m in net.modules()) == 8


def test_the_gain_keeps_the_variance_from_one_layer_to_the_next() -> None:
    """Standardised weights keep the variance of their input, a step function at 1 does not, but with the gain."""
    torch.manual_seed(0)
    net = vgg_sws((3, 32, 32), 10)
    found = []
    for neuron in [module for module in net if isinstance(module, rb.LIF)][:2]:
        neuron.register_forward_pre_hook(lambda _, given: found.append(float(given[0].std())))
    rb.run(net[:8], torch.randn(1, 4, 3, 32, 32))
    first, second = found
    assert abs(first - 1) < 0.05
    assert abs(second - 1) < 0.05


def test_dropout_has_one_mask_a_sequence_and_sits_between_neuron_and_gain() -> None:
    net = vgg_sws((2, 16, 16), 4, dropout=0.5, width=1 / 8)
    masks = [m for m in net.modules() if isinstance(m, rb.TimeSharedDropout)]
    assert [m.p for m in masks] == [0.5] * 8
    order = [type(m) for m in net[:4]]
    assert order == [rb.WSConv2d, rb.LIF, rb.TimeSharedDropout, rb.Scale]
    xs = rb.constant(torch.rand(2, 2, 16, 16) * 3, 3)
    assert not torch.equal(rb.run(net, xs), rb.run(net, xs))
    assert torch.equal(rb.run(net.eval(), xs), rb.run(vgg_like(net), xs))


def vgg_like(net: nn.Module) -> nn.Module:
    """The same net made without dropout."""
    plain = vgg_sws((2, 16, 16), 4, width=1 / 8)
    plain.load_state_dict(net.state_dict())
    return plain


def test_the_readout_starts_small_and_the_biases_at_zero() -> None:
    torch.manual_seed(0)
    net = vgg_sws((3, 32, 32), 100, width=1 / 2)
    readout = net[-1]
    assert isinstance(readout, nn.Linear)
    assert abs(float(readout.weight.detach().std()) - 0.01) < 1e-3
    assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))

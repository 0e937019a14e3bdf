import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rheobase as rb
from rheobase.layers import standardised
from rheobase.losses import CrossEntropyMSE, accuracy, cross_entropy, mse

EXACT = {"rtol": 0.0, "atol": 1e-12}


def test_standardised_weights_have_no_mean_and_the_stated_norm() -> None:
    weight, gain = torch.randn(4, 3, 3, 3, dtype=torch.float64), torch.tensor([1.0, 2.0, 0.5, -1.0]).double()
    result = standardised(weight, gain)
    for row, own, factor in zip(result, weight, gain, strict=True):
        n = own.numel()
        expected = factor * (own - own.mean()) / math.sqrt(n * own.var(correction=1) + 1e-4)
        torch.testing.assert_close(row, expected, **EXACT)


@pytest.mark.parametrize("make", [lambda: rb.WSConv2d(2, 3, 3, padding=1, stride=2), lambda: rb.WSLinear(8, 3)])
def test_a_standardised_layer_is_the_plain_one_on_standardised_weights(make: object) -> None:
    layer = make()  # type: ignore[operator]
    layer.gain.data.uniform_(0.5, 2)
    weight = standardised(layer.weight, layer.gain)
    if isinstance(layer, nn.Conv2d):
        x = torch.rand(2, 2, 8, 8)
        expected = F.conv2d(x, weight, layer.bias, stride=2, padding=1)
    else:
        x = torch.rand(2, 8)
        expected = F.linear(x, weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_the_heaviside_gain_gives_spikes_unit_variance() -> None:
    assert abs(rb.heaviside_gain() - 2.737) < 1e-3
    for threshold in (0.5, 1.0, 1.5):
        spikes = (torch.randn(400_000) >= threshold).double() * rb.heaviside_gain(threshold)
        assert abs(float(spikes.var()) - 1) < 0.02
    assert torch.equal(rb.Scale(2.5)(torch.ones(2)), torch.full((2,), 2.5))


def test_a_recurrent_layer_hears_its_spikes_of_the_step_before() -> None:
    layer = rb.Recurrent(nn.Linear(3, 4), nn.Linear(4, 4, bias=False), rb.LIF(0.7, threshold=0.3)).double()
    xs = torch.rand(6, 2, 3, dtype=torch.float64) * 3
    potential, spikes, expected = torch.zeros(2, 4), torch.zeros(2, 4).double(), []
    for x in xs:
        potential = 0.7 * potential + layer.synapse(x) + layer.recurrent(spikes)
        spikes = (potential >= 0.3).double()
        potential = potential - 0.3 * spikes
        expected.append(spikes)
    assert 0.1 < torch.stack(expected).mean() < 0.9
    for chunk in (1, 4, 6):
        assert torch.equal(rb.run(layer, xs, chunk=chunk), torch.stack(expected))
    with pytest.raises(TypeError, match="expects a neuron"):
        rb.Recurrent(nn.Linear(3, 4), nn.Linear(4, 4), nn.ReLU())  # type: ignore[arg-type]


def test_time_shared_dropout_has_one_mask_a_sequence_and_keeps_the_mean() -> None:
    net = nn.Sequential(rb.TimeSharedDropout(0.4), rb.LI(0.0))
    outputs = rb.run(net, torch.ones(3, 200, 100))
    assert torch.equal(outputs[0], outputs[2])
    assert abs(float(outputs.mean()) - 1) < 0.02
    assert torch.equal(outputs.unique(), torch.tensor([0, 1 / 0.6]))
    assert not torch.equal(rb.run(net, torch.ones(3, 200, 100)), outputs)
    assert torch.equal(rb.run(net.eval(), torch.ones(3, 2, 4)), torch.ones(3, 2, 4))


def test_losses_are_their_formulas() -> None:
    output, target = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    onehot = torch.eye(4)[target]
    ce = -(output.log_softmax(1) * onehot).sum(1).mean()
    torch.testing.assert_close(cross_entropy(output, target), ce)
    torch.testing.assert_close(mse(output, target), ((output - onehot) ** 2).mean())
    torch.testing.assert_close(mse(output, onehot), ((output - onehot) ** 2).mean())
    mixed = 0.95 * ce + 0.05 * ((output - onehot) ** 2).mean()
    torch.testing.assert_close(CrossEntropyMSE()(output, target), mixed)
    one = 0.9 * ce + 0.1 * ((output - 1) ** 2).mean()
    torch.testing.assert_close(CrossEntropyMSE(0.1, towards="one")(output, target), one)
    with pytest.raises(ValueError, match="shaped like the output"):
        mse(output, torch.rand(5, 3))
    with pytest.raises(ValueError, match=r"weight in \[0, 1\]"):
        CrossEntropyMSE(1.5)


def test_score_takes_the_largest_mean_output() -> None:
    outputs = torch.tensor([[[0.0, 1.0], [5.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    assert accuracy(outputs, torch.tensor([1, 0])) == 1.0
    assert accuracy(outputs, torch.tensor([1, 1])) == 0.5


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.BPTT()], ids=str)
def test_a_target_per_step_is_used_at_its_step(rule: rb.Rule) -> None:
    net = nn.Sequential(nn.Linear(4, 3), rb.LI(0.5))
    xs, targets = torch.rand(5, 2, 4), torch.randint(3, (5, 2))
    result = rule.backward(net, xs, rb.PerStep(targets), loss=cross_entropy)
    expected = sum(cross_entropy(o, y) for o, y in zip(rb.run(net, xs), targets, strict=True)) / 5
    torch.testing.assert_close(result.loss, expected)

import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import rheobase as rb
from rheobase.layers import standardised
from rheobase.models.recurrent import recurrent


def test_it_has_the_size_of_the_net_for_spoken_digits() -> None:
    plain = 700 * 450 + 450 + 450 * 450 + 450 * 20 + 20
    for standardise, extra in ((False, 0), (True, 450 + 450)):
        net = recurrent((700,), 20, hidden=450, standardised=standardise)
        assert sum(p.numel() for p in net.parameters()) == plain + extra
    assert round((plain + 900) / 1e6, 3) == 0.528


def test_without_standardisation_it_starts_as_pytorch_does_but_orthogonal_in_its_recurrence() -> None:
    torch.manual_seed(0)
    _, layer, readout, _ = recurrent((7,), 3, hidden=20)
    torch.manual_seed(0)
    synapse, own = nn.Linear(7, 20), nn.Linear(20, 20, bias=False)
    nn.init.orthogonal_(own.weight, gain=0.5)
    for found, expected in ((layer.synapse, synapse), (layer.recurrent, own), (readout, nn.Linear(20, 3))):
        assert type(found) is nn.Linear
        assert torch.equal(found.weight, expected.weight)
    torch.testing.assert_close(own.weight @ own.weight.T, 0.25 * torch.eye(20))


def test_standardised_weights_drive_it_step_by_step() -> None:
    torch.manual_seed(0)
    net = recurrent((7,), 3, hidden=20, neuron=lambda: rb.LIF(0.9, threshold=0.4), readout_decay=0.8, standardised=True)
    net.double()
    layer, readout = net[1], net[2]
    for gain in (layer.synapse.gain, layer.recurrent.gain):
        nn.init.uniform_(gain, 0.5, 2)
    weight, own = (standardised(part.weight, part.gain) for part in (layer.synapse, layer.recurrent))
    xs = torch.rand(6, 4, 7, dtype=torch.float64) * 3
    potential, spikes, out, expected = torch.zeros(4, 20), torch.zeros(4, 20).double(), torch.zeros(4, 3), []
    for x in xs:
        potential = 0.9 * potential + x @ weight.T + layer.synapse.bias + spikes @ own.T
        spikes = (potential >= 0.4).double()
        potential = potential - 0.4 * spikes
        out = 0.8 * out + readout(spikes)
        expected.append(out.detach())
    torch.testing.assert_close(rb.run(net, xs), torch.stack(expected), rtol=0, atol=1e-12)


def test_standardised_it_starts_kaiming_normal_without_biases() -> None:
    torch.manual_seed(0)
    net = recurrent((100,), 40, hidden=200, standardised=True)
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            assert abs(float(p.detach().std()) / math.sqrt(2 / p.shape[1]) - 1) < 0.05
        elif name.endswith("bias"):
            assert not p.any()


def test_it_trains_with_the_papers_settings_for_spoken_digits() -> None:
    """lambda 0.5 and 1, alpha 1 and 1, leaks sigmoid(5), Psi 1 / (1 + 100 |d|)^2, the last 90 % of the steps."""
    torch.manual_seed(0)
    decay = 1 / (1 + math.exp(-5))
    net = recurrent(
        (30,), 4, hidden=60, standardised=True, readout_decay=decay,
        neuron=lambda: rb.LIF(decay, threshold=0.6, surrogate=rb.FastSigmoid(100)),
    )  # fmt: skip
    target = torch.arange(32) % 4
    rates = torch.rand(4, 30)[target] * 0.5
    rule = rb.STLLR(decay_pre=1.0, decay_post=0.5, acausal=1.0, decay_readout=0.99, last=9)
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=2e-3), []
    for _ in range(25):
        optimizer.zero_grad()
        xs = (torch.rand(10, 32, 30) < rates).float()
        losses.append(float(rule.backward(net, xs, target, loss=cross_entropy).loss))
        optimizer.step()
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])

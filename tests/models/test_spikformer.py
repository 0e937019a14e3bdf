from itertools import pairwise

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.models.spikformer import Patches, spikformer, spikformer_attention_neuron, spikformer_neuron
from rheobase.models.spiking_attention import SpikingSelfAttention


def neuron() -> rb.LIF:
    return rb.LIF(0.5, threshold=0.3)


@pytest.mark.parametrize(("depth", "channels", "millions"), [(4, 384, 9.32), (2, 384, 5.76), (4, 256, 4.15)])
def test_it_has_the_papers_parameters(depth: int, channels: int, millions: float) -> None:
    with torch.device("meta"):
        net = spikformer((3, 32, 32), 10, depth=depth, channels=channels, heads=8)
    c = channels
    steps = [3, c // 8, c // 4, c // 2, c, c]
    patches = sum(9 * i * o + 2 * o for i, o in pairwise(steps))
    block = 4 * (c * c + 3 * c) + (4 * c * c + 3 * 4 * c) + (4 * c * c + 3 * c)
    expected = patches + depth * block + 10 * c + 10
    assert sum(p.numel() for p in net.parameters()) == expected
    assert millions <= expected / 1e6 < millions + 0.01  # as published, cut to two places


def attention(heads: int = 2) -> SpikingSelfAttention:
    return SpikingSelfAttention(8, heads, 0.25, nn.BatchNorm2d, neuron, lambda: rb.LIF(0.0, threshold=0.5))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_scale_times_q_k_v_without_softmax(heads: int) -> None:
    torch.manual_seed(0)
    layer, seen = attention(heads).eval(), {}
    for name, module in layer.named_modules():
        module.register_forward_hook(lambda _, given, out, name=name: seen.update({name: (given, out)}))
    rb.run(layer, torch.rand(1, 3, 8, 4, 5) * 3)
    q, k, v = (seen[name][1].flatten(2) for name in ("query", "key", "value"))
    expected = torch.zeros(3, 8, 20)
    size = 8 // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for sample in range(3):
            weights = q[sample, part].T @ k[sample, part]  # [L, L], whole numbers
            expected[sample, part] = (0.25 * weights @ v[sample, part].T).T
    assert torch.equal(seen["neuron"][0][0].flatten(2), expected)
    assert expected.unique().numel() > 3
    assert set(torch.stack([q, k, v]).unique().tolist()) == {0.0, 1.0}


def test_heads_change_what_is_heard_and_must_divide_the_channels() -> None:
    torch.manual_seed(0)
    one, four = attention(1), attention(4)
    four.load_state_dict(one.state_dict())
    xs = torch.rand(3, 2, 8, 4, 4) * 3
    assert not torch.equal(rb.run(one, xs), rb.run(four, xs))
    with pytest.raises(ValueError, match="8 channels and 3 heads"):
        attention(3)


def test_attention_mixes_places_but_no_samples_and_no_steps() -> None:
    torch.manual_seed(0)
    layer = attention().eval()
    xs = torch.rand(3, 4, 8, 4, 4) * 3
    other = xs.clone()
    other[:, 1:] = torch.rand(3, 3, 8, 4, 4) * 3
    assert torch.equal(rb.run(layer, xs)[:, 0], rb.run(layer, other)[:, 0])
    for chunk in (1, 3):
        assert torch.equal(rb.run(layer, xs, chunk=chunk), rb.run(layer, xs))
    moved = xs.clone()
    moved[:, :, :, 0] += 3 * torch.rand(8, 1)
    far = [rb.run(layer, given)[:, :, :, 3] for given in (xs, moved)]
    assert not torch.equal(*far)


def test_the_last_pools_of_the_splitting_halve_the_image() -> None:
    for pools, size in ((0, 16), (2, 4), (4, 1)):
        patches = Patches(2, 16, pools, nn.BatchNorm2d, neuron)
        outputs = rb.run(patches, torch.rand(2, 3, 2, 16, 16) * 3)
        assert outputs.shape == (2, 3, 16, size, size)
        assert set(outputs.unique().tolist()) <= {0.0, 1.0, 2.0}


def test_its_neurons_are_spikingjellys_default_and_one_of_half_the_threshold() -> None:
    """potential = state + (current - state) / 2, hard reset, no gradient through it."""
    for make, threshold in ((spikformer_neuron, 1.0), (spikformer_attention_neuron, 0.5)):
        current, state = torch.linspace(-1, 4, 11).requires_grad_(), torch.full((11,), 0.3)
        spikes, (left,) = make().dynamics(current, (state,))
        potential = state + (current.detach() - state) / 2
        assert torch.equal(spikes, (potential >= threshold).float())
        torch.testing.assert_close(left.detach(), potential * (1 - spikes.detach()))
        (through,) = torch.autograd.grad(left.sum(), current)
        torch.testing.assert_close(through, 0.5 * (1 - spikes.detach()))


def test_it_classifies_frames_and_says_what_sizes_it_needs() -> None:
    net = spikformer((2, 16, 16), 11, depth=1, channels=32, heads=4, neuron=neuron)
    assert rb.run(net, torch.rand(3, 4, 2, 16, 16)).shape == (3, 4, 11)
    for options, words in (
        ({"channels": 36, "heads": 4}, "multiple of 8"),
        ({"heads": 5}, "384 channels and 5 heads"),
        ({"depth": 0}, "depth >= 1"),
        ({"pools": 5}, "0 to 4 pools"),
    ):
        with pytest.raises(ValueError, match=words):
            spikformer((2, 16, 16), 11, **options)  # type: ignore[arg-type]


def test_linear_weights_start_small_and_their_biases_at_zero() -> None:
    torch.manual_seed(0)
    net = spikformer((2, 16, 16), 10, depth=1, channels=64, heads=4)
    small = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m.weight[0, 0].numel() == 1]
    assert len(small) == 4 + 2 + 1
    for module in small:
        assert abs(float(module.weight.detach().std()) - 0.02) < 2e-3
        assert not module.bias.any()

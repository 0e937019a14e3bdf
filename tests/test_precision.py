"""Half precision where it pays: synapses in bfloat16, state, traces and sums over time in float32."""

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.datasets import load
from rheobase.rules.rule import Rule


def accuracy(rule: Rule, half: bool) -> float:
    """Percent of the digits' test part that are named rightly after twelve epochs, in all else the same."""
    torch.manual_seed(0)
    data = load("digits", steps=8)
    net = rb.models.mlp((64,), 10, hidden=(128,))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        for xs, target in data.train.batches(64, generator=generator):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
            optimizer.step()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        right = sum(int((rb.run(net, xs).mean(0).argmax(1) == y).sum()) for xs, y in data.test.batches(256))
    return 100 * right / len(data.test)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR()], ids=repr)
def test_bfloat16_learns_the_digits_as_well_as_float32(rule: Rule) -> None:
    single, half = accuracy(rule, half=False), accuracy(rule, half=True)
    assert single >= 95
    assert abs(single - half) <= 1.5


def test_under_autocast_synapses_run_in_bfloat16() -> None:
    net, xs = nn.Sequential(nn.Linear(4, 5), rb.LIF(), nn.Linear(5, 2)), torch.rand(3, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert rb.run(net, xs).dtype == torch.bfloat16
    assert rb.run(net, xs).dtype == torch.float32

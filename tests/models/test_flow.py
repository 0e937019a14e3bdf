import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import mse
from rheobase.models.flow import flow


def heard(net: nn.Module, xs: Tensor) -> dict[str, Tensor]:
    """What enters each synapse over the sequence."""
    found: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: found.setdefault(name, []).append(given[0]))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    rb.run(net, xs)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(values) for name, values in found.items()}


def test_it_has_the_parameters_of_its_layers() -> None:
    with torch.device("meta"):
        net = flow((4, 256, 256))
    encoder = [(4, 32), (32, 64), (64, 128), (128, 256)]
    decoder = [(256 + 128, 128), (128 + 64, 64), (64 + 32, 32), (32, 32)]
    standardised = sum(9 * i * o + 2 * o for i, o in encoder + [(256, 256)] * 4 + decoder)
    assert sum(p.numel() for p in net.parameters()) == standardised + 32 * 2 + 2


@pytest.mark.parametrize("size", [(32, 32), (30, 23)])
@pytest.mark.parametrize("classes", [2, 1])
def test_the_flow_has_the_size_of_the_input(size: tuple[int, int], classes: int) -> None:
    net = flow((4, *size), classes, width=1 / 4)
    assert rb.run(net, torch.rand(2, 3, 4, *size)).shape == (2, 3, classes, *size)


def test_every_hidden_activation_is_a_spike() -> None:
    torch.manual_seed(0)
    net = flow((4, 32, 32), width=1 / 4)
    for name, p in net.named_parameters():
        if name.endswith("gain"):
            nn.init.constant_(p, 2.0)
    inputs = heard(net, torch.rand(6, 3, 4, 32, 32) * 2)
    assert len(inputs) == 4 + 4 + 4 + 1
    first = inputs.pop("encoder.0.0")
    assert len(first.unique()) > 2
    for values in inputs.values():
        assert set(values.unique().tolist()) == {0.0, 1.0}


def test_the_decoder_hears_the_encoder_at_each_size() -> None:
    net = flow((4, 32, 32), width=1 / 4)
    inputs = heard(net, torch.rand(2, 3, 4, 32, 32))
    shapes = [tuple(values.shape[1:]) for name, values in inputs.items() if name.startswith(("decoder", "finest"))]
    assert shapes == [(64 + 32, 4, 4), (32 + 16, 8, 8), (16 + 8, 16, 16), (8, 32, 32)]


def test_it_learns_a_flow_field() -> None:
    """A bright bar moves by one pixel a step to the right or left: the sign of the horizontal flow."""
    torch.manual_seed(0)
    net = flow((2, 8, 8), neuron=lambda: rb.LIF(0.88, threshold=0.6, surrogate="triangle"), width=1 / 4)
    frames, target = torch.zeros(6, 4, 2, 8, 8), torch.zeros(4, 2, 8, 8)
    for sample in range(4):
        direction = 1 if sample % 2 else -1
        target[sample, 0] = direction
        for t in range(6):
            frames[t, sample, :, :, (4 + sample + direction * t) % 8] = 3.0
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(float(rb.SLTT(chunk=6).backward(net, frames, target, loss=mse).loss))
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]

import torch

import rheobase as rb
from rheobase.models.stllr_resnet import SpikeSumBlock, stllr_resnet18


def test_it_has_the_parameters_of_its_layers() -> None:
    with torch.device("meta"):
        net = stllr_resnet18((2, 32, 32), 11)
    ends, convolutions = [(64, 64), (64, 128), (128, 256), (256, 512)], [(2, 64, 9)]
    for inputs, outputs in ends:
        convolutions += [(inputs, outputs, 9), *[(outputs, outputs, 9)] * 3]
        convolutions += [(inputs, outputs, 1)] if inputs != outputs else []
    expected = sum(k * i * o + 2 * o for i, o, k in convolutions) + 512 * 11 + 11
    assert sum(p.numel() for p in net.parameters()) == expected
    assert sum(isinstance(m, rb.LIF) for m in net.modules()) == 1 + 16 + 3


def test_a_block_adds_spikes_to_spikes() -> None:
    torch.manual_seed(0)
    block = SpikeSumBlock(8, 8, 1, lambda: rb.LIF(0.5, threshold=0.2))
    xs = (torch.rand(5, 4, 8, 6, 6) > 0.4).float()
    outputs = rb.run(block, xs)
    added = rb.run(block.branch, xs)
    assert torch.equal(outputs, xs + added)
    assert set(added.unique().tolist()) == {0.0, 1.0}
    assert outputs.max() == 2


def test_a_shortcut_that_resamples_ends_in_a_neuron() -> None:
    torch.manual_seed(0)
    block = SpikeSumBlock(8, 16, 2, lambda: rb.LIF(0.5, threshold=0.2))
    xs = (torch.rand(5, 4, 8, 6, 6) > 0.4).float()
    assert rb.run(block, xs).shape == (5, 4, 16, 3, 3)
    assert set(rb.run(block.shortcut, xs).unique().tolist()) == {0.0, 1.0}


def test_its_stages_halve_the_image_after_the_first() -> None:
    net = stllr_resnet18((2, 32, 32), 11, width=1 / 8)
    sizes = []
    for module in net.modules():
        if isinstance(module, SpikeSumBlock):
            module.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    assert rb.run(net, torch.rand(1, 2, 2, 32, 32)).shape == (1, 2, 11)
    assert sizes == [(8, 16, 16)] * 2 + [(16, 8, 8)] * 2 + [(32, 4, 4)] * 2 + [(64, 2, 2)] * 2

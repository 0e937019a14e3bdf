import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import rheobase as rb
from rheobase.layers import WSConv2d
from rheobase.models.nf_resnet import NFBlock, nf_resnet, nf_resnet34, nf_resnet50, nf_resnet101

# Of the residual nets with batch normalisation, whose gamma and beta count as gain and bias do here.
RESNETS = {nf_resnet34: 21_797_672, nf_resnet50: 25_557_032, nf_resnet101: 44_549_160}


def ready() -> rb.LIF:
    return rb.LIF(0.5, threshold=0.3)


def blocks(net: nn.Module) -> list[NFBlock]:
    return [m for m in net.modules() if isinstance(m, NFBlock)]


@pytest.mark.parametrize("make", RESNETS)
def test_it_has_the_parameters_of_the_resnet_and_one_scalar_a_block(make) -> None:
    with torch.device("meta"):
        net = make((3, 224, 224), 1000)
    count = {nf_resnet34: 16, nf_resnet50: 16, nf_resnet101: 33}[make]
    assert len(blocks(net)) == count
    assert sum(p.numel() for p in net.parameters()) == RESNETS[make] + count


def test_the_betas_of_nf_resnet34_are_those_of_the_paper() -> None:
    net = nf_resnet34((3, 32, 32), 10, width=1 / 8)
    expected = [1.0, 1.0198, 1.0392, 1.0583, 1.0198, 1.0392, 1.0583, 1.0770, 1.0198, 1.0392, 1.0583, 1.0770, 1.0954]
    expected += [1.1136, 1.0198, 1.0392]
    assert [round(block.beta, 4) for block in blocks(net)] == expected


def test_the_first_block_of_a_bottleneck_stage_resets_the_variance() -> None:
    net = nf_resnet50((3, 32, 32), 10, width=1 / 8, alpha=0.5)
    found = [round(block.beta**2, 4) for block in blocks(net)]
    assert found[:5] == [1.0, 1.25, 1.5, 1.75, 1.25]
    resampled = [i for i, block in enumerate(blocks(net)) if block.downsample is not None]
    assert resampled == [0, 3, 7, 13]


def test_at_the_start_a_block_passes_the_stream_on() -> None:
    torch.manual_seed(0)
    net = nf_resnet34((3, 32, 32), 10, width=1 / 8)
    xs = torch.randn(3, 2, 8, 6, 6)
    block = blocks(net)[1]
    assert torch.equal(rb.run(block, xs), xs)
    nn.init.ones_(block.skip)
    branch = (rb.run(block, xs) - xs) / block.alpha
    assert 0.5 < branch.std() < 1.5


def test_at_the_start_only_the_readout_learns_and_then_the_skips() -> None:
    torch.manual_seed(0)
    net = nf_resnet34((2, 32, 32), 10, neuron=ready, width=1 / 8)
    readout = net[-1]
    assert isinstance(readout, nn.Linear)
    xs = 3 * torch.randn(2, 3, 2, 32, 32)
    target = torch.randint(10, (3,))
    rb.SLTT().backward(net, xs, target, loss=cross_entropy)
    moving = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moving == {"3.weight", "3.bias"}
    torch.testing.assert_close(rb.run(net, xs), readout.bias.detach().expand(2, 3, 10))
    nn.init.normal_(readout.weight)
    net.zero_grad()
    rb.SLTT().backward(net, xs, target, loss=cross_entropy)
    assert all(block.skip.grad != 0 for block in blocks(net))
    assert all(block.branch[0].weight.grad.abs().sum() == 0 for block in blocks(net))


@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_skip_gets_the_gradient_of_its_block_at_each_step(bottleneck: bool) -> None:
    """d loss / d skip = alpha sum_t delta[t] . branch[t]; here by a finite difference of the last block's."""
    torch.manual_seed(0)
    net = nf_resnet((2, 16, 16), 4, (1, 2), bottleneck=bottleneck, neuron=ready, width=1 / 8).double()
    nn.init.normal_(net[-1].weight)
    xs = 3 * torch.randn(3, 2, 2, 16, 16, dtype=torch.float64)
    target = torch.randint(4, (2,))
    skip = blocks(net)[-1].skip
    for rule in (rb.SLTT(), rb.OTTT(), rb.BPTT()):
        net.zero_grad()
        rule.backward(net, xs, target, loss=cross_entropy)
        losses = []
        for value in (1e-5, -1e-5):
            nn.init.constant_(skip, value)
            outputs = rb.run(net, xs)
            losses.append(torch.stack([cross_entropy(output, target) for output in outputs]).mean())
        nn.init.zeros_(skip)
        torch.testing.assert_close(skip.grad, (losses[0] - losses[1]) / 2e-5, rtol=1e-6, atol=1e-9)
        assert skip.grad.abs() > 1e-6


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [nf_resnet34, nf_resnet50])
def test_outputs_have_one_row_a_sample_also_in_eval_mode(make, training: bool) -> None:
    net = make((2, 40, 36), 7, width=1 / 8).train(training)
    assert rb.run(net, torch.rand(3, 5, 2, 40, 36)).shape == (3, 5, 7)


def test_it_starts_with_kaiming_weights_and_no_bias() -> None:
    torch.manual_seed(0)
    net = nf_resnet34((3, 32, 32), 10, width=1 / 2)
    for conv in (m for m in net.modules() if isinstance(m, WSConv2d)):
        expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
        assert abs(float(conv.weight.detach().std()) / expected - 1) < 0.1
        assert not conv.bias.any()
        assert (conv.gain == 1).all()


def test_an_image_and_one_to_four_stages_are_expected() -> None:
    with pytest.raises(ValueError, match=r"steps of shape \(C, H, W\)"):
        nf_resnet34((700,), 20)
    for depths in ((), (1, 0), (1, 1, 1, 1, 1)):
        with pytest.raises(ValueError, match="one to four stages"):
            nf_resnet((2, 8, 8), 4, depths, bottleneck=False)

"""The sizes, first weights and connections of the nets with batch normalisation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.models import MODELS
from rheobase.models.membrane_resnet import MembraneBlock
from rheobase.models.mobilenet import InvertedBlock
from rheobase.models.preact_resnet import PreActBlock
from rheobase.models.resnet import Block
from rheobase.models.sew_resnet import SEWBlock
from rheobase.models.width import scaled
from rheobase.neurons import Neuron

CIFAR, EVENTS, IMAGENET = (3, 32, 32), (2, 48, 48), (3, 224, 224)
# As counted in the authors' nets. MobileNetV2 has the same layers and as many parameters.
PARAMETERS = [
    ("resnet18", CIFAR, 10, 11_173_962),
    ("resnet18", CIFAR, 100, 11_220_132),
    ("resnet19", CIFAR, 10, 12_697_994),
    ("resnet19", CIFAR, 100, 12_721_124),
    ("vgg11", CIFAR, 10, 11_001_354),
    ("vgg11", CIFAR, 100, 11_047_524),
    ("vgg13", CIFAR, 10, 9_416_010),
    ("vgg13", CIFAR, 100, 9_462_180),
    ("vggsnn", EVENTS, 10, 9_271_498),
    ("vggsnn-cifar", CIFAR, 100, 9_686_884),
    ("sew-resnet34", IMAGENET, 1000, 21_806_184),
    ("preact-resnet34", IMAGENET, 1000, 21_806_184),
    ("mobilenet", IMAGENET, 1000, 3_504_872),
]
MILLIONS = [
    ("preact-resnet18", CIFAR, 10, 11.18),
    ("preact-resnet18", CIFAR, 100, 11.22),
    ("vgg11-bn", EVENTS, 10, 9.48),
    ("vgg11-bn", EVENTS, 11, 9.50),
    ("ms-resnet18", IMAGENET, 1000, 11.69),
    ("mobilenet", CIFAR, 10, 2.24),
]
LAYERS = {
    "resnet18": 17, "resnet19": 18, "vgg11": 8, "vgg13": 10, "vggsnn": 8, "vggsnn-cifar": 8, "sew-resnet34": 36,
    "preact-resnet34": 32, "preact-resnet18": 17, "vgg11-bn": 8, "ms-resnet18": 17, "mobilenet": 52,
}  # fmt: skip


def of_size(name: str, shape: Any, classes: int, **options: Any) -> nn.Module:
    """The net without its weights."""
    with torch.device("meta"):
        return MODELS[name](shape, classes, **options)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def deviation(weight: Tensor) -> float:
    return float(weight.detach().std())


def all_of(net: nn.Module, kind: Any) -> list[Any]:
    return [m for m in net.modules() if isinstance(m, kind)]


@pytest.mark.parametrize(("name", "shape", "classes", "count"), PARAMETERS)
def test_a_net_has_as_many_parameters_as_the_papers(name: str, shape: Any, classes: int, count: int) -> None:
    assert parameters(of_size(name, shape, classes)) == count


@pytest.mark.parametrize(("name", "shape", "classes", "millions"), MILLIONS)
def test_a_net_has_the_stated_millions_of_parameters(name: str, shape: Any, classes: int, millions: float) -> None:
    assert round(parameters(of_size(name, shape, classes)) / 1e6, 2) == millions


@pytest.mark.parametrize("name", LAYERS)
def test_a_net_has_as_many_layers_of_neurons_as_the_papers(name: str) -> None:
    assert len(all_of(of_size(name, IMAGENET, 10), Neuron)) == LAYERS[name]


@pytest.mark.parametrize(
    ("name", "shape", "neurons"),
    [
        ("resnet18", CIFAR, 557_056),
        ("resnet19", CIFAR, 1_442_048),
        ("vgg11", CIFAR, 241_664),
        ("vggsnn", EVENTS, 921_600),
        ("preact-resnet18", CIFAR, 557_056),
    ],
)
def test_a_net_has_as_many_neurons_as_the_papers(name: str, shape: Any, neurons: int) -> None:
    net = MODELS[name](shape, 10).eval()
    output, state = rb.step(net, torch.rand(1, *shape))
    assert sum(potential.numel() for (potential,) in state.values()) == neurons
    assert output.shape == (1, 10)


@pytest.mark.parametrize("name", LAYERS)
def test_the_width_scales_every_channel_count_to_a_multiple_of_8(name: str) -> None:
    full, thin = of_size(name, (2, 64, 64), 5), of_size(name, (2, 64, 64), 5, width=0.3)
    pairs = list(zip(all_of(full, nn.Conv2d), all_of(thin, nn.Conv2d), strict=True))
    assert all(t.out_channels % 8 == 0 for _, t in pairs)
    inside = name == "mobilenet"  # six times a scaled count
    assert inside or all(t.out_channels == scaled(f.out_channels, 0.3) for f, t in pairs)
    assert parameters(thin) < 0.15 * parameters(full)
    with pytest.raises(ValueError, match="Expected width > 0"):
        of_size(name, (2, 64, 64), 5, width=0)


@pytest.mark.parametrize("name", LAYERS)
def test_neurons_and_norms_are_those_that_were_asked_for(name: str) -> None:
    net = of_size(name, IMAGENET, 5, neuron=rb.IF, norm=rb.SequenceBatchNorm2d)
    assert {type(m) for m in all_of(net, Neuron)} == {rb.IF}
    assert {type(m) for m in all_of(net, nn.BatchNorm2d)} == {rb.SequenceBatchNorm2d}
    own = all_of(of_size(name, IMAGENET, 5), Neuron)
    assert len({str(m) for m in own}) == 1
    with pytest.raises(ValueError, match=rf"Model '{name}' expects steps of shape \(C, H, W\)"):
        MODELS[name]((64,), 5)


def test_the_papers_neurons() -> None:
    rate, sltt = (all_of(of_size(name, CIFAR, 5), rb.LIF)[0] for name in ("resnet18", "preact-resnet18"))
    assert (rate.decay, rate.firing.threshold, rate.firing.detach_reset) == (0.2, 1.0, True)
    assert rate.firing.surrogate == rb.Sigmoid(4.0)
    assert (sltt.decay, sltt.firing.surrogate) == (1 - 1 / 1.1, rb.Triangle(1.0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("vgg11", (2, 15, 32)), ("vgg13", (2, 32, 15)), ("vggsnn", (2, 8, 8)), ("vggsnn-cifar", (2, 7, 7)),
     ("vgg11-bn", (2, 31, 31))],
)  # fmt: skip
def test_images_too_small_to_pool_are_refused(name: str, shape: Any) -> None:
    with pytest.raises(ValueError, match=rf"Model '{name}' expects images of at least \d+ x \d+ pixels"):
        of_size(name, shape, 5)


def test_wrong_strides_and_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected 5 strides"):
        of_size("ms-resnet18", CIFAR, 5, strides=(1, 2))
    with pytest.raises(ValueError, match="Expected 2 early strides"):
        of_size("mobilenet", CIFAR, 5, early_strides=(1, 2, 2))
    with pytest.raises(ValueError, match='head "paper" or "clean"'):
        of_size("vgg11-bn", CIFAR, 5, head="mine")


def test_the_weights_of_the_vggs_begin_with_deviation_one_half_and_their_loss_above_chance() -> None:
    net = MODELS["vgg11"](CIFAR, 100, width=0.5)
    for layer in all_of(net, (nn.Conv2d, nn.Linear)):
        assert abs(deviation(layer.weight) - 0.5) < 0.02
        assert layer.bias.abs().max() == 0
    outputs = rb.run(net, torch.rand(2, 24, *CIFAR))
    assert cross_entropy(outputs.mean(0), torch.arange(24)) > math.log(100) + 0.3


@pytest.mark.parametrize("name", ["sew-resnet34", "preact-resnet34", "preact-resnet18", "vgg11-bn"])
def test_convolutions_begin_with_the_variance_2_over_fan_out(name: str) -> None:
    for conv in all_of(MODELS[name]((2, 32, 32), 5, width=0.25), nn.Conv2d):
        expected = math.sqrt(2 / (conv.out_channels * math.prod(conv.kernel_size)))
        assert abs(deviation(conv.weight) / expected - 1) < 0.2
        assert conv.bias is None or (name == "vgg11-bn") == (conv.bias.abs().max() == 0)


def test_the_readouts_of_sltts_nets_begin_without_bias() -> None:
    residual, vgg = (MODELS[name]((2, 32, 32), 50)[-1] for name in ("preact-resnet18", "vgg11-bn"))
    assert residual.bias.abs().max() == 0
    assert vgg.bias.abs().max() == 0
    assert abs(deviation(residual.weight) - 1 / math.sqrt(3 * 512)) < 1e-3
    assert abs(deviation(vgg.weight) - 0.01) < 1e-4


def through(block: nn.Module) -> tuple[Tensor, Tensor]:
    """Spikes `[T, N, 8, H, W]` and what the block makes of them, its norms strong enough to fire."""
    for norm in all_of(block, nn.BatchNorm2d):
        nn.init.constant_(norm.weight, 2.0)
    spikes = torch.randint(2, (3, 4, 8, 6, 6)).float()
    return spikes, rb.run(block, spikes)


def test_where_the_neuron_stands_decides_what_leaves_a_block() -> None:
    _, fired = through(Block(8, 8, 1, rb.LIF, nn.BatchNorm2d))
    assert fired.unique().tolist() == [0, 1]
    spikes, added = through(SEWBlock(8, 8, 1, rb.LIF, nn.BatchNorm2d))
    assert added.unique().tolist() == [0, 1, 2]
    assert (added - spikes).unique().tolist() == [0, 1]
    spikes, stream = through(MembraneBlock(8, 8, 1, rb.LIF, nn.BatchNorm2d, bias=True))
    assert (stream - spikes).unique().numel() > 100


def test_a_preactivated_block_passes_its_spikes_on_and_not_its_input() -> None:
    block = PreActBlock(8, 8, 1, rb.LIF, nn.BatchNorm2d, dropout=0.0)
    nn.init.zeros_(block.residual[-1].weight)
    nn.init.zeros_(block.residual[-1].bias)
    xs = 2 * torch.randn(3, 4, 8, 6, 6)
    spikes = rb.run(block, xs)
    assert spikes.unique().tolist() == [0, 1]
    assert torch.equal(spikes, rb.run(block.first, xs))


def test_ms_resnet_begins_as_its_shortcuts() -> None:
    net = MODELS["ms-resnet18"]((2, 16, 16), 5, width=1 / 8)
    kept = [block for block in all_of(net, MembraneBlock) if isinstance(block.shortcut, nn.Identity)]
    assert len(kept) == 4
    for block in kept:
        xs = torch.randn(2, 3, block.residual[1].in_channels, 4, 4)
        assert torch.equal(rb.run(block, xs), xs)
    small = of_size("ms-resnet18", CIFAR, 5, strides=(1, 1, 2, 2, 2))
    assert sum(isinstance(block.shortcut, nn.Identity) for block in all_of(small, MembraneBlock)) == 5


def test_every_convolution_of_the_mobilenet_but_the_first_hears_spikes() -> None:
    net = MODELS["mobilenet"]((2, 16, 16), 5, width=1 / 8)
    heard: list[Tensor] = []
    others = all_of(net, nn.Conv2d)[1:]
    for conv in others:
        conv.register_forward_hook(lambda module, given, out: heard.append(given[0]))
    rb.run(net, torch.rand(3, 4, 2, 16, 16), chunk=3)
    assert len(heard) == len(others) == 51
    assert torch.cat([x.unique() for x in heard]).unique().tolist() == [0, 1]
    assert sum(block.adds for block in all_of(of_size("mobilenet", CIFAR, 5), InvertedBlock)) == 10


def test_the_mobilenet_shrinks_by_its_strides() -> None:
    small, large = (MODELS["mobilenet"]((2, 64, 64), 5, early_strides=s, width=1 / 8) for s in ((1, 1), (2, 2)))
    for net, side in ((small, 8), (large, 2)):
        _, state = rb.step(net.eval(), torch.rand(1, 2, 64, 64))
        assert list(state.values())[-1][0].shape[-1] == side


def test_the_papers_head_copies_one_pixel_49_times() -> None:
    """At 48 x 48 it is the clean head on the sum of each channel's 49 weights."""
    paper = MODELS["vgg11-bn"](EVENTS, 5, dropout=0.0, width=1 / 8)
    clean = MODELS["vgg11-bn"](EVENTS, 5, dropout=0.0, width=1 / 8, head="clean")
    weights = paper.state_dict()
    (name,) = [name for name, value in weights.items() if value.shape == (5, 49 * 64)]
    weights[name] = weights[name].view(5, 64, 49).sum(2)
    clean.load_state_dict(weights)
    xs = torch.rand(3, 4, *EVENTS)
    outputs = rb.run(paper, xs)
    assert outputs.abs().max() > 1e-2
    torch.testing.assert_close(rb.run(clean, xs), outputs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "count"), [("vgg11-bn", 8), ("preact-resnet18", 9)])
def test_dropout_has_one_mask_a_sequence_and_is_absent_at_0(name: str, count: int) -> None:
    dropouts = all_of(of_size(name, CIFAR, 5, dropout=0.4), rb.TimeSharedDropout)
    assert [d.p for d in dropouts] == count * [0.4]
    assert not all_of(of_size(name, CIFAR, 5, dropout=0.0), rb.TimeSharedDropout)

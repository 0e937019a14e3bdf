"""A profile counts what a net computes: by hand, as torch counts, as NeuroBench defines it, and as the papers do."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure.profile import Energy, Profile, profile
from rheobase.measure.profile_files import results, write_profile
from rheobase.measure.profile_formulas import paper_formula
from rheobase.measure.profile_table import in_order
from rheobase.training import Experiment


def two_layers() -> tuple[nn.Module, Tensor]:
    """3 analogue inputs, 2 neurons, 2 outputs; over the 2 steps the first neuron fires twice, the other never."""
    net = nn.Sequential(nn.Linear(3, 2, bias=False), rb.LIF(0.0), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0, 2.0, 2.0], [0.0, 0.1, 0.1]]))  # type: ignore[operator]
        net[2].weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))  # type: ignore[operator]
    return net, torch.tensor([[[0.5, 0.25, 0.0]], [[0.5, 0.25, 0.125]]])


def test_a_net_of_two_layers_is_counted_as_by_hand() -> None:
    net, xs = two_layers()
    found = profile(net, xs)
    first, neurons, second = found.layers
    assert (first.dense_macs, first.macs, first.acs, first.spike_driven) == (2 * 6, 2 * 6, 0, False)
    assert first.rate_in == 5 / 6
    assert (neurons.rate_out, neurons.updates, neurons.state_bytes) == (0.5, 2 * 2, 2 * 4)
    # Two spikes of the first neuron, each with one weight other than zero.
    assert (second.dense_macs, second.macs, second.acs, second.spike_driven) == (2 * 4, 0, 2, True)
    assert [layer.parameters for layer in found.layers] == [6, 0, 6]
    assert found.total("picojoules") == pytest.approx(4.6 * 12 + 4.6 * 4 + 0.9 * 2)
    assert found.dense_picojoules == pytest.approx(4.6 * 20)


def test_neurobenchs_metrics_are_as_it_defines_them() -> None:
    net, xs = two_layers()
    assert profile(net, xs).neurobench == {
        "footprint": 4.0 * (6 + 4 + 2),
        "connection_sparsity": 0.2,
        "activation_sparsity": 0.5,
        # Of the first layer: inputs other than zero at weights other than zero, 2 + 1 and then 2 + 2 + 1.
        "synaptic_operations": {"Effective_MACs": 3.0 + 5.0, "Effective_ACs": 2.0, "Dense": 2 * 6.0 + 2 * 4.0},
    }


def test_at_the_border_a_spike_meets_fewer_weights_and_padding_is_dense_for_torch_alone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), rb.LIF(), nn.Flatten(), nn.Linear(9, 2))
    xs = torch.zeros(1, 1, 1, 3, 3)
    xs[0, 0, 0, 0, 0] = xs[0, 0, 0, 1, 1] = 1.0
    found = profile(net, xs)
    assert (found.layers[0].acs, found.layers[0].dense_macs) == (4 + 9, 81)
    operations = found.neurobench["synaptic_operations"]
    assert isinstance(operations, dict)
    assert operations["Dense"] == 49 + 18  # 4 corners meet 4, 4 edges 6, the middle 9


def test_spikes_of_another_size_are_added_as_their_weights_would_be_and_sums_of_spikes_are_multiplied() -> None:
    def driven(xs: Tensor) -> bool:
        return profile(nn.Sequential(nn.Linear(2, 2), rb.LIF()), xs).layers[0].spike_driven

    spikes = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    assert driven(spikes)
    assert driven(2.7 * spikes)
    assert not driven(spikes + spikes[:1])


NETS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "resnet18": ({"width": 0.0625}, (3, 8, 8)),
    "vgg11": ({"width": 0.0625}, (3, 32, 32)),
    "mobilenet": ({"width": 0.125}, (3, 32, 32)),
    "spikformer": ({"channels": 32, "depth": 1, "heads": 2}, (3, 32, 32)),
    "recurrent": ({"hidden": 9}, (20,)),
    "ws-convnet": ({}, (2, 8, 8)),
}


def model(name: str) -> tuple[nn.Module, Tensor]:
    options, shape = NETS[name]
    return rb.models.MODELS[name](shape, 5, **options), torch.rand(2, 2, *shape)


@pytest.mark.parametrize("name", NETS)
def test_dense_operations_are_those_that_torch_counts(name: str) -> None:
    net, xs = model(name)
    with FlopCounterMode(display=False) as torchs:
        rb.run(net, xs)
    assert 2 * 2 * profile(net, xs).total("dense_macs") == torchs.get_total_flops() > 0  # 2 samples, 2 flops a MAC


def test_grouped_and_transposed_convolutions_are_counted_as_torch_does() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, groups=2), rb.LIF(), nn.ConvTranspose2d(8, 6, 3, groups=2), nn.Flatten(),
        nn.Linear(6 * 25, 2),
    )  # fmt: skip
    xs = torch.rand(2, 3, 4, 8, 8)
    with FlopCounterMode(display=False) as torchs:
        rb.run(net, xs)
    assert 2 * 3 * profile(net, xs).total("dense_macs") == torchs.get_total_flops()


def test_a_parametrised_synapse_is_one_layer_with_the_weights_it_multiplies_by() -> None:
    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * torch.tensor([[1.0], [0.0]])

    net = nn.Sequential(nn.Linear(3, 2), rb.LIF())
    nn.utils.parametrize.register_parametrization(net[0], "weight", Halved())
    first = profile(net, torch.ones(1, 1, 3)).layers[0]
    assert (first.parameters, first.dense_macs, first.acs) == (8, 6, 3)


def test_products_of_spikes_in_attention_count_where_both_fire() -> None:
    net, xs = model("spikformer")
    found = {layer.name: layer for layer in profile(net, xs).layers}
    (attention,) = (layer for layer in found.values() if layer.kind == "SpikingSelfAttention")
    assert attention.spike_driven
    assert 0 < attention.acs < 0.2 * attention.dense_macs


def test_what_never_changes_counts_at_each_step() -> None:
    net, xs = model("resnet18")
    steady = rb.constant(xs[0], 3)
    assert steady.stride(0) == 0
    found, other = (profile(net, x).layers for x in (steady, steady.clone()))
    assert [layer.dense_macs for layer in found] == [layer.dense_macs for layer in other]
    one_step = profile(net, xs[:1]).layers[0].dense_macs
    assert found[0].dense_macs == 3 * one_step > 0


def test_a_layer_that_hears_silence_adds_nothing_instead_of_multiplying() -> None:
    net = nn.Sequential(nn.Linear(3, 2), rb.LIF(threshold=1e6), nn.Linear(2, 2))
    last = profile(net, torch.rand(3, 2, 3)).layers[2]
    assert (last.spike_driven, last.dense_macs, last.macs, last.acs, last.picojoules) == (True, 3 * 4, 0, 0, 0)


class Twice(nn.Module):
    """One convolution at two sizes, called by name."""

    def __init__(self, small: int) -> None:
        super().__init__()
        self.small = small
        self.conv, self.neuron, self.readout = nn.Conv2d(1, 1, 3, padding=1), rb.LIF(), nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        small = self.conv(input=nn.functional.adaptive_avg_pool2d(x, self.small)).mean((2, 3), keepdim=True)
        return self.readout(self.neuron(self.conv(input=x) + small).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("small", [1, 2])
def test_a_layer_used_at_two_sizes_is_counted_at_both(small: int) -> None:
    found = profile(Twice(small), torch.rand(1, 1, 1, 4, 4).clamp(min=0.1))
    conv = next(layer for layer in found.layers if layer.name == "conv")
    assert conv.dense_macs == 9 * (16 + small**2)
    operations = found.neurobench["synaptic_operations"]
    assert isinstance(operations, dict)
    # Along a side of n pixels, kernels of 3 meet 3 n - 2 pairs; then the readout's two weights.
    assert operations["Dense"] == (3 * 4 - 2) ** 2 + (3 * small - 2) ** 2 + 2


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neuron, self.attention = rb.LIF(threshold=0.1), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        return self.attention(spikes, spikes, spikes, need_weights=False)[0].mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("training", [True, False])
def test_torchs_own_attention_is_counted_with_its_products_and_all_its_parameters(training: bool) -> None:
    net = Attentive().train(training)
    found = profile(net, torch.rand(3, 2, 5, 8))
    # Queries, keys and values of 5 tokens, their products of 2 heads with 4 channels, and the projection.
    assert found.total("dense_macs") == 3 * (5 * 8 * 24 + 2 * 2 * 5 * 5 * 4 + 5 * 8 * 8)
    assert found.total("parameters") == 4 * (8 * 8 + 8)
    assert torch.backends.mha.get_fastpath_enabled()


def test_operations_are_counted_alike_in_every_precision() -> None:
    net = nn.Sequential(nn.Conv2d(2, 301, 3, padding=1), rb.LIF(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(301, 3))
    xs = (torch.rand(3, 2, 2, 4, 4) > 0.5).float()
    conv = profile(net, xs).layers[0]
    assert conv.acs > 256
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert profile(net, xs).layers[0].acs == conv.acs
    assert profile(net.bfloat16(), xs.bfloat16()).layers[0].acs == conv.acs
    assert profile(net.double(), xs.double()).layers[0].acs == conv.acs


def test_parameters_that_are_shared_or_in_no_layer_count_once() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.zeros(4))
            self.first, self.neuron, self.last = nn.Linear(4, 4), rb.LIF(), nn.Linear(4, 4)
            self.last.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.neuron(self.first(x + self.place)))  # type: ignore[no-any-return]

    net = Embedded()
    found = profile(net, torch.rand(2, 2, 4))
    assert found.total("parameters") == sum(p.numel() for p in net.parameters()) == 4 + 16 + 4 + 4
    assert {layer.name: layer.parameters for layer in found.layers if layer.parameters} == {
        "": 4, "first": 20, "last": 4
    }  # fmt: skip


def test_a_rule_without_a_name_has_no_formula() -> None:
    class Own:
        exact = rb.BPTT()
        backward = rb.SLTT().backward

    assert paper_formula(Own(), 4, 10.0, 3) is None


def learned(*rules: str) -> Profile:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 64), rb.LIF(), nn.Linear(64, 64), rb.LIF(), nn.Linear(64, 3))
    return profile(net, torch.rand(8, 16, 20), torch.randint(3, (16,)), loss=cross_entropy, rules=rules)


def test_each_layers_share_of_what_is_kept_adds_up_where_all_is_kept_to_the_end() -> None:
    bptt, sltt = learned("bptt", "sltt").rules
    assert sum(bptt.kept_by_layer.values()) == bptt.kept
    assert bptt.kept > 3 * sltt.kept > 0
    assert bptt.peak >= bptt.kept


def test_every_layer_that_learns_takes_time_both_ways() -> None:
    (bptt,) = learned("bptt").rules
    assert all(min(bptt.seconds_by_layer[name]) > 0 for name in "01234")


def test_the_papers_formulas_stand_beside() -> None:
    def counted(rule: Any) -> tuple[float, float]:
        found = paper_formula(rule, 20, 1000.0, 30)
        assert found is not None
        return found.macs, found.values

    assert counted(rb.BPTT()) == (40_000, 600)
    assert counted(rb.STLLR(last=5)) == (15_000, 60)
    assert counted(rb.STLLR(acausal=0.0)) == (40_000, 60)
    assert counted(rb.SLTT(steps=4)) == counted(rb.SLTT(at=(0, 1, 2, 3))) == (8_120, 30)
    assert counted(rb.OTTT()) == (41_200, 60)
    assert paper_formula(rb.RateBP(), 20, 1000.0, 30) is None
    assert counted(rb.BPTT())[1] / counted(rb.STLLR())[1] == 20 / 2  # the paper's ratio of memory, T / 2
    assert learned("bptt").rules[0].formula == paper_formula(rb.BPTT(), 8, 20 * 64 + 64 * 64 + 64 * 3, 128)


def test_a_rule_that_refuses_says_so_and_others_are_measured() -> None:
    net = nn.Sequential(nn.Linear(4, 4), rb.SequenceBatchNorm1d(4), rb.LIF(), nn.Linear(4, 3))
    args = torch.rand(3, 2, 4), torch.tensor([0, 1])
    refused, bptt = profile(net, *args, loss=cross_entropy, rules=["sltt", "bptt"]).rules
    assert "normalises over the whole sequence" in str(refused.refusal)
    assert bptt.peak > 0


def test_looking_leaves_no_trace() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), rb.TimeSharedDropout(0.5), rb.LIF(), nn.Linear(4, 3))
    kept, random = {n: v.clone() for n, v in net.state_dict().items()}, torch.get_rng_state()
    profile(net, torch.ones(3, 6, 4), torch.zeros(6).long(), loss=cross_entropy, rules=["bptt"])
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(dict(net.state_dict()), kept, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_the_prices_of_operations_can_be_changed() -> None:
    net, xs = two_layers()
    assert profile(net, xs, energy=Energy(mac=1.0, ac=10.0, update=0.0)).total("picojoules") == 12 + 10 * 2


def test_json_and_csv_hold_every_layer_and_rule(tmp_path: Path) -> None:
    found = learned("sltt")
    write_profile(tmp_path, results(Experiment(), found), found)
    known = json.loads((tmp_path / "profile.json").read_text())
    rows = list(csv.DictReader((tmp_path / "profile.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [layer["name"] for layer in known["layers"]] == list("01234")
    assert known["rules"][0]["kept"] == found.rules[0].kept
    assert int(rows[3]["kept_bytes: sltt"]) == found.rules[0].kept_by_layer["3"]
    assert set(known["neurobench"]) == {
        "footprint", "connection_sparsity", "activation_sparsity", "synaptic_operations",
    }  # fmt: skip


def test_by_cost_the_dearest_layer_comes_first() -> None:
    layers = in_order(learned().layers, "cost")
    assert [layer.picojoules for layer in layers] == sorted((layer.picojoules for layer in layers), reverse=True)
    assert layers[0].name == "0"

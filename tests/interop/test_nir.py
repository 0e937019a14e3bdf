"""Models as graphs of NIR, and back."""

import warnings

import pytest
import torch
from exported import exported, require_same, sequence
from exported_zoo import small, spikes_of
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop.nir_export import to_nir
from rheobase.interop.nir_import import from_nir
from rheobase.interop.nir_neurons import SoftResetWarning
from rheobase.models import MODELS

nir = pytest.importorskip("nir")

# What the format cannot say, and what the refusal names.
REFUSED = {
    "flow": r"interpolate\(\) in the forward.*smaller",
    "preact-resnet34": r"'2' \(MaxPool2d\) pools real numbers",
    "spikformer": r"in the forward of '1.attention' is not in NIR",
    "vgg-f": r"'0.recurrent.0' \(Upsample\) is not in NIR",
}
HARD = {"reset": "zero"}


LARGE = ("mobilenet", "nf-resnet50", "nf-resnet101")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in MODELS if name not in REFUSED],
)
def test_a_zoo_model_comes_back_with_the_same_spikes(name: str) -> None:
    model, xs = small(name, torch.float64)
    back = from_nir(exported(model, xs[0]))
    before, after = spikes_of(model, xs), spikes_of(back, xs)
    assert before.keys() <= after.keys()
    assert all(torch.equal(spikes, after[layer]) for layer, spikes in before.items())
    assert sum(bool(spikes.any()) for spikes in before.values()) > 0.8 * len(before)
    require_same(model, back, xs)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_zoo_model_that_the_format_cannot_hold_is_refused_by_name(name: str, reason: str) -> None:
    model, xs = small(name, torch.float64)
    with pytest.raises(ValueError, match=reason):
        exported(model, xs[0])


NEURONS = [
    rb.LIF(0.7),
    rb.LIF(tau=1.1, threshold=0.3, detach_reset=True, surrogate="triangle(width=0.5)"),
    rb.LIF(0.9, decay_input=True, threshold=0.2, **HARD),
    rb.LIF(0.6, reset="zero", reset_value=-0.4),
    rb.LIF(0.0, **HARD),
    rb.IF(threshold=1.7),
    rb.IF(reset="zero", reset_value=-0.2),
    rb.PLIF(0.8),
    rb.PLIF(0.4, shape=(4,), decay_input=True, threshold=0.2, **HARD),
    rb.LI(0.9),
    rb.LI(0.9, decay_input=True),
    rb.CubaLIF(0.8, synaptic_decay=0.3),
    rb.CubaLIF(0.7, synaptic_decay=0.9, reset="zero", reset_value=-0.1, surrogate="atan"),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=repr)
def test_a_neuron_comes_back_as_it_was(neuron: rb.Neuron) -> None:
    torch.manual_seed(0)
    if isinstance(neuron, rb.PLIF):
        nn.init.normal_(neuron.leak)
    model, xs = nn.Sequential(nn.Linear(5, 4), neuron).double(), sequence(5)
    back = from_nir(exported(model, xs[0]))
    assert torch.equal(rb.run(model, xs), rb.run(back, xs))
    assert len(rb.run(model, xs).unique()) > 1
    assert repr(back[-1]) == repr(neuron)


@pytest.mark.parametrize("dt", [1e-4, 1e-3])
def test_time_constants_are_in_seconds_and_one_euler_step_is_one_step_of_the_model(dt: float) -> None:
    neuron = rb.LIF(0.75, reset="zero", reset_value=-0.5)
    node = exported(nn.Sequential(neuron), torch.zeros(1, 3), dt).nodes["0"]
    potential, current = 0.3, 0.2
    euler = potential + dt / node.tau * (node.v_leak - potential + node.r * current)
    assert node.tau == pytest.approx([4 * dt] * 3)
    assert euler == pytest.approx([0.75 * (potential + 0.5) - 0.5 + current] * 3)


def test_a_soft_reset_is_warned_about_and_kept_in_the_metadata() -> None:
    model, x = nn.Sequential(nn.Linear(3, 2), rb.LIF()), torch.zeros(1, 3)
    with pytest.warns(SoftResetWarning, match=r"1 of this model subtract the threshold \('1'\)"):
        graph = to_nir(model, x)
    assert graph.nodes["1"].metadata["reset"] == "subtract"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_nir(nn.Sequential(nn.Linear(3, 2), rb.LIF(**HARD)), x)


def test_a_file_holds_all_that_the_graph_does(tmp_path) -> None:
    model, xs = small("recurrent", torch.float32)
    graph = exported(model, xs[0])
    nir.write(tmp_path / "net.nir", graph)
    assert torch.equal(rb.run(from_nir(tmp_path / "net.nir"), xs), rb.run(from_nir(graph), xs))
    assert nir.read(tmp_path / "net.nir").metadata["dt"] == 1e-3


class Sum(nn.Module):
    """conv(x) + other convs of the same input, in ways that users write."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron = nn.Conv2d(2, 3, 3, padding=1), rb.LIF(0.8, threshold=0.3)
        self.branches = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))
        self.last = rb.LIF(0.6, threshold=0.4)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.first(x))
        current = sum(branch(spikes) for branch in self.branches) / 2 - 0.5 * spikes
        current += spikes + spikes
        pooled = nn.functional.avg_pool2d(self.last(current), 2)
        return pooled.flatten(1)


def test_sums_factors_and_functional_pools_in_a_forward_are_exact() -> None:
    torch.manual_seed(0)
    model, xs = Sum().double(), sequence(2, 6, 6)
    require_same(model, from_nir(exported(model, xs[0])), xs)
    assert rb.run(model, xs).any()


def test_factors_go_into_weights_where_they_can() -> None:
    model = nn.Sequential(nn.Linear(3, 3), rb.LIF(**HARD), rb.Scale(2.5), nn.Flatten(), nn.Linear(3, 2))
    graph = exported(model, torch.zeros(1, 3))
    assert "Scale" not in {type(node).__name__ for node in graph.nodes.values()}
    torch.testing.assert_close(torch.tensor(graph.nodes["4"].weight), 2.5 * model[4].weight.detach())


def test_the_largest_of_spikes_is_a_sum_and_a_threshold() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), rb.LIF(threshold=0.8), rb.Scale(2.0), nn.MaxPool2d(3, 2, 1)).double()
    xs = sequence(2, 8, 8)
    require_same(model, from_nir(exported(model, xs[0])), xs)
    assert len(rb.run(model, xs).unique()) == 2


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 4, 4), (3, 2, 1), (2, 1, 1)])
def test_an_adaptive_pool_becomes_that_of_the_samples_size(size: int, kernel: int, stride: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), rb.LIF(threshold=0.1), nn.AdaptiveAvgPool2d(2)).double()
    xs = sequence(1, size, size)
    graph = exported(model, xs[0])
    assert (list(graph.nodes["2"].kernel_size), list(graph.nodes["2"].stride)) == ([kernel] * 2, [stride] * 2)
    require_same(model, from_nir(graph), xs)


def test_an_adaptive_pool_that_copies_one_pixel_is_exact() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 4), rb.LIF(threshold=0.1), nn.AdaptiveAvgPool2d(3)).double()
    xs = sequence(1, 4, 4)
    require_same(model, from_nir(exported(model, xs[0])), xs)
    assert rb.run(model, xs).shape[-2:] == (3, 3)


def test_a_feedback_over_several_layers_comes_back() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(rb.LIF(0.8), nn.Conv2d(3, 4, 3, padding=1), rb.LIF(0.6, threshold=0.5))
    loop = rb.Feedback(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(4, 3, 1), layers, (4, 5, 5))
    model, xs = nn.Sequential(loop, nn.Flatten(), nn.Linear(100, 3)).double(), sequence(2, 5, 5)
    back = from_nir(exported(model, xs[0]))
    assert any(isinstance(module, rb.Feedback) for module in back.modules())
    require_same(model, back, xs)
    open_loop = nn.Sequential(loop.synapse, loop.layers, *model[1:])
    assert not torch.allclose(rb.run(open_loop, xs), rb.run(model, xs))


def test_what_comes_back_has_no_bias_of_its_own_since_other_simulators_leave_it_out_at_first() -> None:
    loop = rb.Recurrent(nn.Linear(3, 4), nn.Linear(4, 4), rb.LIF(**HARD))
    graph = exported(nn.Sequential(loop), torch.zeros(1, 3))
    assert type(graph.nodes["0.recurrent"]).__name__ == "Linear"
    total = (loop.synapse.bias + loop.recurrent.bias).detach()
    torch.testing.assert_close(torch.tensor(graph.nodes["0.synapse"].bias), total)


class Unsayable(nn.Module):
    def __init__(self, last) -> None:
        super().__init__()
        self.conv, self.neuron, self.last = nn.Conv2d(2, 2, 1), rb.LIF(), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.neuron(self.conv(x)))


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (nn.ReLU(), r"'last' \(ReLU\) is not in NIR"),
        (nn.LayerNorm(5), r"'last' \(LayerNorm\).*nn.BatchNorm"),
        (nn.AvgPool2d(3, ceil_mode=True), "ceil_mode"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), "count_include_pad"),
        (nn.AvgPool2d(2, divisor_override=3), "divides by 3"),
        (nn.AdaptiveAvgPool2d(3), "windows of several sizes"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "circular"),
        (nn.Conv2d(2, 2, 2, padding="same"), "even kernel"),
        (nn.ConvTranspose2d(2, 2, 2), "ConvTranspose2d.*not in NIR"),
        (nn.Linear(5, 2), r"maps vectors: put nn.Flatten\(\)"),
        (rb.ALIF(), r"no neuron for 'last' \(ALIF\)"),
        (rb.CubaLIF(1.0), "'last' has a decay of 1"),
        (lambda x: torch.cat([x, x], 1), r"cat\(\) in the forward.*Add what is concatenated"),
        (lambda x: x.mean((2, 3)), r"mean\(\) in the forward.*AdaptiveAvgPool2d"),
        (lambda x: x * x, r"mul\(\) in the forward"),
        (lambda x: x + 1, r"add\(\) in the forward"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_what_nir_cannot_say_is_refused_by_name(last, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        exported(Unsayable(last), torch.zeros(1, 2, 5, 5))


def test_a_step_is_a_positive_time_and_a_model_has_neurons() -> None:
    with pytest.raises(ValueError, match="dt > 0"):
        exported(nn.Sequential(rb.LIF()), torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match="at least one neuron"):
        exported(nn.Linear(2, 2), torch.zeros(1, 2))


def test_the_model_that_is_exported_stays_as_it_was() -> None:
    model, xs = small("recurrent", torch.float32)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    text = repr(model)
    exported(model, xs[0])
    assert repr(model) == text
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())

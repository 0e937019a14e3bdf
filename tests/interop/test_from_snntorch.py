"""Nets of snnTorch, converted: the same spikes, the same gradients, or a reason."""

import pickle
from collections.abc import Iterator
from typing import Any

import originals
import pytest
import torch
from originals import inputs, refused, require_same
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop import from_norse, from_snntorch
from rheobase.interop.snntorch_neuron import SnnTorchLeaky
from rheobase.interop.surrogates import Above

snn = pytest.importorskip("snntorch")
surrogate = snn.surrogate


@pytest.fixture(autouse=True)
def _spikes_in_the_precision_of_the_net(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """snnTorch makes its spikes with `.float()`, whatever the net: in a net in float64 they would not go on."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    yield
    snn.SpikingNeuron.instances.clear()


def run(net: nn.Module, xs: Tensor) -> Tensor:
    for module in net.modules():
        if isinstance(module, snn.SpikingNeuron):
            module.reset_mem()
    outputs = [net(x) for x in xs]
    return torch.stack([output[0] if isinstance(output, tuple) else output for output in outputs])


def two_layers(make: Any) -> nn.Sequential:
    """Two linear layers with such neurons, and a readout; 10 -> 3."""
    net = nn.Sequential(nn.Linear(10, 20), make(), nn.Linear(20, 20), make(), nn.Linear(20, 3)).double()
    nn.init.normal_(net[2].weight)
    return net


MECHANISMS = ["subtract", "zero", "none"]
LEARNED = [{}, {"learn_beta": True, "learn_threshold": True}]


@pytest.mark.parametrize("learned", LEARNED, ids=str)
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_spikes_and_gradients_of_leaky_are_the_originals(mechanism: str, delay: bool, learned: Any) -> None:
    options = {"reset_mechanism": mechanism, "reset_delay": delay, "threshold": 0.5, "init_hidden": True, **learned}
    net = two_layers(lambda: snn.Leaky(0.8, **options))
    require_same(net, from_snntorch(net), inputs(10), run)


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_so_are_those_of_synaptic(mechanism: str, delay: bool) -> None:
    options = {"reset_mechanism": mechanism, "reset_delay": delay, "threshold": 1.0, "init_hidden": True}
    net = two_layers(lambda: snn.Synaptic(0.6, 0.7, learn_alpha=True, **options))
    require_same(net, from_snntorch(net), inputs(10), run)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    "constants", [{"beta": 0.6}, {"beta": 0.2}, {"R": 2.0, "C": 1.5}, {"beta": 0.7, "R": 2.0}], ids=str
)  # of beta = 0.2 snnTorch makes 1 - 1 / RC = -0.6
def test_so_are_those_of_lapicque(mechanism: str, constants: Any) -> None:
    net = two_layers(lambda: snn.Lapicque(**constants, reset_mechanism=mechanism, threshold=0.3, init_hidden=True))
    require_same(net, from_snntorch(net), inputs(10), run)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: snn.RLeaky(0.7, linear_features=20, **o),
        lambda **o: snn.RLeaky(0.7, linear_features=20, reset_delay=False, learn_threshold=True, **o),
        lambda **o: snn.RSynaptic(0.4, 0.7, linear_features=20, **o),
    ],
)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_so_are_those_of_recurrent_neurons(make: Any, mechanism: str) -> None:
    net = two_layers(lambda: make(init_hidden=True, threshold=0.8, reset_mechanism=mechanism))
    made = from_snntorch(net)
    assert made[1].recurrent.weight is net[1].recurrent.weight
    require_same(net, made, inputs(10), run)


def test_recurrent_convolutions_are_the_originals() -> None:
    neuron = snn.RLeaky(0.7, conv2d_channels=4, kernel_size=3, init_hidden=True, threshold=0.5)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), neuron, nn.Flatten(), nn.Linear(144, 3)).double()
    require_same(net, from_snntorch(net), inputs(2, 6, 6), run)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": torch.linspace(0.1, 1.2, 20), "threshold": torch.linspace(0.2, 1, 20)},
        {"beta": torch.linspace(-0.2, 0.9, 20), "learn_beta": True, "reset_mechanism": "zero"},
        {"beta": 0.5, "graded_spikes_factor": 1.5, "reset_delay": False},
        {"beta": 0.5, "graded_spikes_factor": torch.tensor(0.7), "learn_graded_spikes_factor": True},
        {"beta": 0.5, "learn_graded_spikes_factor": True, "reset_mechanism": "zero"},
    ],
    ids=str,
)
def test_so_are_those_of_neurons_that_differ_from_each_other(options: Any) -> None:
    net = two_layers(lambda: snn.Leaky(**{"threshold": 0.4, "init_hidden": True, **options}))
    outputs = run(net, inputs(10))
    made = from_snntorch(net)
    torch.testing.assert_close(rb.run(made, inputs(10)), outputs.detach(), **originals.EXACT)
    originals.require_equal_gradients(net, made, inputs(10), run, originals.targets())


def graded(make: Any) -> Any:
    def graded_neuron() -> nn.Module:
        neuron = make(init_hidden=True, threshold=0.8)
        neuron.graded_spikes_factor = torch.tensor(1.5)
        return neuron

    return graded_neuron


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: snn.Synaptic(0.4, 0.7, reset_delay=False, **o),
        lambda **o: snn.Lapicque(0.7, **o),
        lambda **o: snn.RLeaky(0.7, linear_features=20, **o),
    ],
)
def test_so_are_graded_spikes_of_neurons_that_have_them_only_as_an_attribute(make: Any) -> None:
    net = two_layers(graded(make))
    outputs = run(net, inputs(10))
    made = from_snntorch(net)
    torch.testing.assert_close(rb.run(made, inputs(10)), outputs.detach(), **originals.EXACT)
    originals.require_equal_gradients(net, made, inputs(10), run, originals.targets())


SURROGATES = [
    surrogate.atan(1.5), surrogate.fast_sigmoid(20), surrogate.sigmoid(5), surrogate.straight_through_estimator(),
    surrogate.triangular(0.7), surrogate.heaviside(), surrogate.spike_rate_escape(1.5, 20), surrogate.SFS(20, -0.2),
]  # fmt: skip


@pytest.mark.parametrize("function", SURROGATES, ids=lambda f: f.__qualname__.split(".")[0])
def test_each_surrogate_has_the_originals_slope(function: Any) -> None:
    distance = torch.linspace(-3, 3, 241, dtype=torch.float64, requires_grad=True)  # 0 is among them
    function(distance).sum().backward()
    neuron = from_snntorch(snn.Leaky(0.5, spike_grad=function, init_hidden=True))
    torch.testing.assert_close(neuron.surrogate(distance.detach()), distance.grad, rtol=0, atol=1e-12)
    assert torch.equal(neuron.surrogate.spikes(distance), (distance > 0).double())
    assert pickle.loads(pickle.dumps(neuron.surrogate)) == neuron.surrogate


def test_a_disabled_surrogate_has_no_slope() -> None:
    neuron = from_snntorch(snn.Leaky(0.5, surrogate_disable=True, init_hidden=True))
    assert not neuron.surrogate(torch.linspace(-3, 3, 11)).any()


def test_snntorch_spikes_above_the_threshold_and_so_does_what_it_becomes() -> None:
    xs = torch.full((8, 1, 3), 0.25, dtype=torch.float64)
    for mechanism in MECHANISMS:
        net = nn.Sequential(nn.Identity(), snn.Leaky(1.0, reset_mechanism=mechanism, init_hidden=True)).double()
        spikes = rb.run(from_snntorch(net), xs)
        assert spikes[:5, 0, 0].tolist() == [0, 0, 0, 0, 1]  # 1.0 exactly, at the fourth step, is not above 1
        assert torch.equal(spikes, run(net, xs))
    assert rb.run(nn.Sequential(rb.LIF(1.0)), xs)[:5, 0, 0].tolist() == [0, 0, 0, 1, 0]


def test_the_late_reset_is_none_that_our_own_neurons_have() -> None:
    xs = inputs(10)
    net = nn.Sequential(nn.Identity(), snn.Leaky(0.8, threshold=0.5, init_hidden=True)).double()
    made, ours = from_snntorch(net), nn.Sequential(rb.LIF(0.8, threshold=0.5))
    assert isinstance(made[1], SnnTorchLeaky)
    assert torch.equal(rb.run(made, xs), run(net, xs))
    assert not torch.equal(rb.run(ours, xs), run(net, xs))


def test_where_a_lif_says_the_same_it_is_one() -> None:
    for delay in (True, False):
        (made,) = from_snntorch(
            nn.Sequential(snn.Leaky(0.8, reset_mechanism="zero", reset_delay=delay, init_hidden=True))
        )
        assert type(made) is rb.LIF
        assert made.firing.detach_reset == delay
        assert made.firing.surrogate == Above(rb.ATan(2.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: snn.Leaky(0.83, threshold=0.7, init_hidden=True),
        lambda: snn.Leaky(0.83, threshold=0.7, init_hidden=True, reset_mechanism="zero"),
        lambda: snn.Leaky(0.83, threshold=0.7, init_hidden=True, reset_delay=False),
        lambda: snn.Synaptic(0.37, 0.83, threshold=0.7, init_hidden=True),
    ],
)
def test_rounding_is_the_originals(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, on a million potentials."""
    monkeypatch.undo()
    net, xs = nn.Sequential(nn.Identity(), make()), torch.randn(50, 1, 20_000) + 0.3
    with torch.no_grad():
        assert torch.equal(rb.run(from_snntorch(net), xs), run(net, xs))


def conv_net(**options: Any) -> nn.Sequential:
    def leaky(**more: Any) -> nn.Module:
        return snn.Leaky(0.7, threshold=0.4, init_hidden=True, **options, **more)

    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), leaky(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), leaky(), nn.Flatten(),
        nn.Sequential(nn.Linear(54, 3), leaky(output=True)),
    ).double()  # fmt: skip


def test_a_conv_net_that_ends_in_its_spikes_is_the_original() -> None:
    net = conv_net()
    require_same(net, from_snntorch(net), inputs(2, 6, 6), run)


def test_every_rule_trains_a_converted_net() -> None:
    net = conv_net()
    net[8] = nn.Linear(54, 3).double()
    originals.every_rule_trains(net, from_snntorch(net), inputs(2, 6, 6))


def test_every_rule_trains_a_converted_recurrent_net() -> None:
    net = two_layers(lambda: snn.RLeaky(0.7, linear_features=20, threshold=0.8, init_hidden=True))
    originals.every_rule_trains(net, from_snntorch(net), inputs(10))


def test_modules_that_a_list_names_too_are_converted_once() -> None:
    net = InList()
    net.neurons = {}
    made = from_snntorch(net)
    assert type(made.layer) is SnnTorchLeaky
    assert made.order[0] is made.layer


class OneStep(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(10, 20), nn.Linear(20, 3)
        self.neuron = snn.Leaky(0.7, threshold=0.3, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.neuron(self.first(x)))


def test_modules_of_the_users_own_keep_their_forward_and_the_net_is_not_changed() -> None:
    net = OneStep(init_hidden=True).double()
    run(net, inputs(10))
    state, before = net.neuron.mem, repr(net)
    made = from_snntorch(net, check=inputs(10))
    assert net.neuron.mem is state
    assert state.grad_fn is not None
    assert repr(net) == before
    assert type(made) is OneStep
    assert made.first.weight is net.first.weight
    require_same(net, made, inputs(10), run)


def test_a_net_in_float32_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    net = conv_net().float()
    made = from_snntorch(net, check=inputs(2, 6, 6).float())
    assert made[0].weight.dtype == torch.float32
    with pytest.raises(ValueError, match="shows nothing"):
        from_snntorch(net, check=torch.zeros(3, 2, 2, 6, 6))


def test_learned_constants_are_shared_or_copied() -> None:
    net = nn.Sequential(snn.Leaky(0.7, learn_beta=True, init_hidden=True))
    (shared,), (own,) = from_snntorch(net), from_snntorch(net, copy=True)
    assert shared.beta is net[0].beta
    assert own.beta is not net[0].beta
    assert torch.equal(own.beta, net[0].beta)
    assert dict(own.named_parameters()).keys() == {"beta"}
    again = pickle.loads(pickle.dumps(shared))
    assert torch.equal(again.beta, shared.beta)


def reset_changed() -> nn.Module:
    neuron = snn.Leaky(0.5, init_hidden=True)
    neuron.reset_mechanism = "zero"
    return neuron


def reset_loaded() -> nn.Module:
    neuron = snn.Leaky(0.5, init_hidden=True, reset_delay=False)
    neuron.load_state_dict(snn.Leaky(0.5, reset_mechanism="zero").state_dict())
    return neuron


def hooked() -> nn.Module:
    neuron = snn.Leaky(0.5, init_hidden=True)
    neuron.register_forward_hook(lambda module, inputs, output: 2 * output)
    return neuron


class InList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = snn.Leaky(0.5, init_hidden=True)
        self.order = [self.layer]
        self.neurons = {"first": [snn.Leaky(0.5, init_hidden=True)]}

    def forward(self, x: Tensor) -> Tensor:
        return self.neurons["first"][0](self.order[0](x))


class Mine(snn.Leaky):
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: snn.Leaky(0.5), "1 (Leaky): it is called as `spk, mem = lif(cur, mem)`"),
        (lambda: snn.Alpha(0.5, 0.4), "1 (Alpha): no counterpart"),
        (lambda: snn.SLSTM(3, 3), "1 (SLSTM)"),
        (lambda: Mine(0.5, init_hidden=True), "1 (Mine): a subclass"),
        (lambda: snn.Leaky(0.5, init_hidden=True, state_quant=lambda x: x), "state_quant"),
        (lambda: snn.Leaky(0.5, init_hidden=True, spike_grad=torch.sigmoid), "sigmoid has no counterpart"),
        (lambda: snn.Leaky(0.5, init_hidden=True, spike_grad=surrogate.SSO()), "SSO.<locals>.inner has"),
        (lambda: snn.Lapicque(0.5, init_hidden=True, learn_beta=True), "learn_beta has no effect"),
        (lambda: snn.RLeaky(0.5, init_hidden=True, all_to_all=False), "all_to_all"),
        (lambda: snn.RSynaptic(0.5, 0.5, linear_features=3, init_hidden=True, reset_delay=False), "reset_delay=False"),
        (reset_changed, "reset_mechanism"),
        (reset_loaded, "reset_mechanism"),
        (hooked, "1 (Leaky): it has forward hooks"),
        (InList, "1 (InList): it keeps modules in a plain list"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_path(make: Any, words: str) -> None:
    refused(from_snntorch, nn.Sequential(nn.Linear(3, 3), make()), "cannot convert", words)


@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_inhibition_is_refused() -> None:
    refused(from_snntorch, nn.Sequential(snn.Leaky(0.5, init_hidden=True, inhibition=True)), "inhibition")


class Looping(OneStep):
    def forward(self, xs: Tensor) -> Tensor:
        outputs = []
        for x in xs:
            hidden = self.neuron(self.first(x))
            outputs.append(self.second(hidden))
        return torch.stack(outputs)


def test_a_forward_that_loops_over_time_is_refused() -> None:
    refused(from_snntorch, Looping(init_hidden=True), "the net (Looping): its forward calls neuron within a loop")
    refused(from_snntorch, Looping(), "neuron (Leaky)", "write forward for one step")


def test_outputs_with_potentials_are_refused_where_they_would_be_taken_apart() -> None:
    refused(from_snntorch, OneStep(init_hidden=True, output=True), "neuron (Leaky)", "Leave output out")
    middle = nn.Sequential(snn.Leaky(0.5, init_hidden=True, output=True), nn.Identity())
    refused(from_snntorch, middle, "0 (Leaky)")


def test_other_libraries_are_refused_and_nets_of_ours_pass_through() -> None:
    with pytest.raises(ValueError, match=r"module of snntorch: use rheobase.from_snntorch"):
        from_norse(nn.Sequential(snn.Leaky(0.5)))
    net = nn.Sequential(nn.Linear(4, 3), rb.LIF())
    assert from_snntorch(net) is net

"""Nets of SpikingJelly, converted: the same spikes, the same gradients, or a reason."""

import copy
import math
import pickle
from typing import Any

import originals
import pytest
import torch
from originals import inputs, refused, require_equal_spikes, require_same, targets
from torch import Tensor, nn

import rheobase as rb
import rheobase.interop.surrogates as theirs
import rheobase.surrogates as ours
from rheobase.interop import from_snntorch, from_spikingjelly
from rheobase.interop.checking import require_equal

pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import functional, layer, neuron, surrogate


def run(net: nn.Module, xs: Tensor) -> Tensor:
    functional.reset_net(net)
    if getattr(net[0], "step_mode", "s") == "m":
        return net(xs)
    return torch.stack([net(x) for x in xs])


def two_layers(make: Any) -> nn.Sequential:
    """Two linear layers with such neurons, and a readout; 10 -> 3."""
    net = nn.Sequential(nn.Linear(10, 30), make(), nn.Linear(30, 20), make(), nn.Linear(20, 3)).double()
    nn.init.normal_(net[2].weight)
    return net


RESETS = [{"v_reset": None}, {"v_reset": 0.0}, {"v_reset": -0.2}]
DETACHED = [{"detach_reset": False}, {"detach_reset": True}]


@pytest.mark.parametrize("detach", DETACHED, ids=str)
@pytest.mark.parametrize("reset", RESETS, ids=str)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (neuron.IFNode, {}),
        (neuron.LIFNode, {"tau": 2.0, "decay_input": True}),
        (neuron.LIFNode, {"tau": 1.3, "decay_input": False}),
        (neuron.ParametricLIFNode, {"init_tau": 3.0, "decay_input": True}),
        (neuron.ParametricLIFNode, {"init_tau": 1.6, "decay_input": False}),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_spikes_and_gradients_are_the_originals(kind: Any, options: Any, reset: Any, detach: Any) -> None:
    net = two_layers(lambda: kind(v_threshold=0.25, **options, **reset, **detach))
    require_same(net, from_spikingjelly(net), inputs(10), run)


@pytest.mark.parametrize(
    "make",
    [
        lambda: neuron.SimpleIFNode(v_threshold=0.3, v_reset=None),
        lambda: neuron.SimpleIFNode(v_threshold=0.3),
        lambda: neuron.SimpleLIFNode(2.0, True, v_threshold=0.3),
        lambda: neuron.CUBALIFNode(v_threshold=0.8, surrogate_function=surrogate.ATan()),
        lambda: neuron.CUBALIFNode(0.3, 0.6, v_threshold=0.8, v_reset=None, surrogate_function=surrogate.ATan()),
    ],
)
def test_so_are_those_of_the_other_neurons(make: Any) -> None:
    net = two_layers(make)
    require_same(net, from_spikingjelly(net), inputs(10), run)


SURROGATES = [
    surrogate.Sigmoid(3.0), surrogate.ATan(1.5), surrogate.PiecewiseQuadratic(1.5), surrogate.Rect(0.7),
    surrogate.SoftSign(3.0), surrogate.SuperSpike(1.5), surrogate.PiecewiseExp(1.5), surrogate.Erf(1.5),
    surrogate.NonzeroSignLogAbs(1.5), surrogate.QPseudoSpike(1.7), surrogate.PiecewiseLeakyReLU(0.4, 0.05),
    surrogate.LeakyKReLU(0.2, 0.7), surrogate.DeterministicPass(), surrogate.LogTailedReLU(0.1),
    surrogate.S2NN(3.0, 0.5), surrogate.FakeNumericalGradient(0.4), surrogate.SquarewaveFourierSeries(3, 6.0),
]  # fmt: skip


@pytest.mark.parametrize("function", SURROGATES, ids=lambda s: type(s).__name__)
def test_each_surrogate_has_the_originals_slope(function: Any) -> None:
    distance = torch.linspace(-3, 3, 241, dtype=torch.float64, requires_grad=True)  # 0 and the corners among them
    function(distance).sum().backward()
    (node,) = from_spikingjelly(nn.Sequential(neuron.LIFNode(surrogate_function=function)))
    slope = node.firing.surrogate
    torch.testing.assert_close(slope(distance.detach()), distance.grad, rtol=0, atol=1e-12)
    assert torch.equal(slope.spikes(distance), (distance >= 0).double())
    assert eval(repr(slope), vars(ours) | vars(theirs)) == pickle.loads(pickle.dumps(slope)) == slope


def test_spikingjelly_spikes_at_the_threshold_and_so_does_what_it_becomes() -> None:
    net = nn.Sequential(nn.Identity(), neuron.IFNode(v_threshold=1.0, v_reset=None))
    xs = torch.full((8, 1, 3), 0.25)  # reaches 1.0 exactly, at the fourth step
    spikes = rb.run(from_spikingjelly(net), xs)
    assert spikes[:, 0, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    assert torch.equal(spikes, run(net, xs))


@pytest.mark.parametrize(
    "node",
    [
        neuron.IFNode(v_reset=None),
        neuron.IFNode(v_reset=-0.1),
        neuron.ParametricLIFNode(decay_input=False),
        neuron.ParametricLIFNode(v_reset=0.1),
    ],
)
def test_rounding_is_the_originals_where_the_order_is(node: Any) -> None:
    """In float32; a LIF is computed as decay * potential + current here, which rounds otherwise."""
    net, xs = nn.Sequential(nn.Identity(), node), torch.randn(50, 1, 20_000) + 0.3
    with torch.no_grad():
        assert torch.equal(rb.run(from_spikingjelly(net), xs), run(net, xs))


def conv_net(mode: str = "s", norm: Any = layer.BatchNorm2d) -> nn.Sequential:
    net = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, bias=False), norm(6), neuron.LIFNode(v_threshold=0.5, decay_input=False),
        layer.MaxPool2d(2),
        layer.Conv2d(6, 6, 3, padding=1, bias=False), layer.BatchNorm2d(6), neuron.IFNode(v_threshold=0.5),
        layer.AvgPool2d(3), layer.Flatten(), layer.Linear(6, 30), neuron.LIFNode(v_threshold=0.1, v_reset=None),
        layer.VotingLayer(10),
    ).double()  # fmt: skip
    functional.set_step_mode(net, mode)
    return net


def test_layers_become_pytorchs_own_so_that_every_rule_knows_them() -> None:
    made = from_spikingjelly(conv_net())
    kinds = [type(module).__module__.partition(".")[0] for module in made.modules()]
    assert set(kinds) == {"torch", "rheobase"}
    require_same(net := conv_net(), from_spikingjelly(net), inputs(2, 6, 6), run)


def test_every_rule_trains_a_converted_net() -> None:
    net = conv_net()
    net[11] = nn.Linear(30, 3).double()
    originals.every_rule_trains(net, from_spikingjelly(net), inputs(2, 6, 6))


def test_in_step_mode_m_batch_norm_is_over_the_sequence() -> None:
    net = conv_net("m")
    made = from_spikingjelly(net)
    assert isinstance(made[1], rb.SequenceBatchNorm2d)
    require_same(net, made, inputs(2, 6, 6), run)
    functional.reset_net(net)
    alone = copy.deepcopy(net)
    with torch.no_grad():
        run(alone, inputs(2, 6, 6))
        rb.run(made, inputs(2, 6, 6))
    for buffer, expected in zip(net.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=0, atol=1e-12)


def test_threshold_dependent_norms_are_norms_over_the_sequence() -> None:
    net = conv_net("m", norm=lambda channels: layer.ThresholdDependentBatchNorm2d(1.0, 0.5, channels).double())
    require_same(net, from_spikingjelly(net), inputs(2, 6, 6), run)


def test_containers_of_sequences_become_sequential() -> None:
    net = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6)),
        neuron.LIFNode(v_threshold=0.4, step_mode="m"),
        layer.MultiStepContainer(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), neuron.IFNode(v_threshold=0.4)),
        nn.Flatten(2), nn.Linear(24, 3), nn.Identity(),
    ).double()  # fmt: skip
    made = from_spikingjelly(net)
    assert isinstance(made[0][1], rb.SequenceBatchNorm2d)  # sees all steps at once
    assert type(made[2][1]) is nn.BatchNorm2d  # sees step after step
    assert made[3].start_dim == 1
    functional.reset_net(net)
    paths = ["1", "2.2"]
    expected = originals.fired(net, lambda: net(inputs(2, 6, 6)), paths)
    found = originals.fired(made, lambda: rb.run(made, inputs(2, 6, 6), chunk=originals.T), paths)
    assert all(torch.equal(expected[path], found[path]) for path in paths)
    torch.testing.assert_close(found[""], expected[""], **originals.EXACT)


def test_a_layer_that_stands_in_two_places_of_a_container_does_so_afterwards() -> None:
    shared = nn.Linear(10, 10)
    layers = [shared, neuron.IFNode(v_threshold=0.3), shared, neuron.IFNode(v_threshold=0.2), nn.Linear(10, 3)]
    net = nn.Sequential(layer.MultiStepContainer(*layers)).double()
    made = from_spikingjelly(net)
    assert made[0][0] is made[0][2]
    functional.reset_net(net)
    torch.testing.assert_close(rb.run(made, inputs(10)), net(inputs(10)).detach(), **originals.EXACT)


def test_dropout_keeps_its_mask_over_time() -> None:
    net = nn.Sequential(nn.Linear(10, 40), neuron.IFNode(), layer.Dropout(0.4))
    made = from_spikingjelly(net)
    assert isinstance(made[2], rb.TimeSharedDropout)
    assert made[2].p == 0.4
    assert made[2].training
    assert not from_spikingjelly(net.eval())[2].training


class Residual(nn.Module):
    """A block as users write them, which asks a layer for its step mode."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.conv, self.norm, self.node = layer.Conv2d(4, 4, 3, padding=1, bias=False), layer.BatchNorm2d(4), node
        self.extras = [self.node, {"norm": self.norm}]
        self.scale = 0.5

    def forward(self, x: Tensor) -> Tensor:
        assert self.conv.step_mode == "s"
        return x + self.scale * self.extras[0](self.extras[1]["norm"](self.conv(x)))


def test_modules_of_the_users_own_keep_their_forward() -> None:
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3), Residual(neuron.LIFNode(v_threshold=0.3)),
        Residual(neuron.LIFNode(v_threshold=0.3, v_reset=None)), nn.Flatten(), nn.Linear(64, 3),
    ).double()  # fmt: skip
    made = from_spikingjelly(net)
    assert type(made[1]) is Residual
    assert made[1].extras[0] is made[1].node
    require_same(net, made, inputs(2, 6, 6), run)


def test_what_is_shared_stays_shared_and_the_net_is_not_changed() -> None:
    head = nn.Linear(10, 10)
    net = nn.Sequential(head, neuron.LIFNode(v_threshold=0.2), head, neuron.ParametricLIFNode(v_threshold=0.2)).double()
    net[0].bias.requires_grad_(False)
    net[1].eval()
    run(net, inputs(10))
    state, before = net[1].v, repr(net)
    made = from_spikingjelly(net, check=inputs(10))
    assert net[1].v is state
    assert state.grad_fn is not None
    assert repr(net) == before
    assert made[0] is made[2]
    assert made[0] is not head
    assert made[0].weight is head.weight
    assert not made[0].bias.requires_grad
    assert made[3].w is net[3].w
    assert [module.training for module in made] == [True, False, True, True]


def test_buffers_are_shared_so_that_both_nets_stay_one() -> None:
    net = conv_net()
    made = from_spikingjelly(net)
    mean = net[1].running_mean.clone()
    rb.SLTT().backward(made, inputs(2, 6, 6), targets() * 0, loss=rb.losses.cross_entropy)
    assert not torch.equal(net[1].running_mean, mean)
    made.eval()
    net.eval()
    require_equal_spikes(net, made, inputs(2, 6, 6), run)


def test_a_copy_has_parameters_of_its_own() -> None:
    net = conv_net()
    net[0].weight.requires_grad_(False)
    made = from_spikingjelly(net, copy=True)
    require_equal_spikes(net, made, inputs(2, 6, 6), run)
    assert not {id(p) for p in (*net.parameters(), *net.buffers())} & {
        id(p) for p in (*made.parameters(), *made.buffers())
    }
    assert [p.requires_grad for p in made.parameters()] == [p.requires_grad for p in net.parameters()]
    with torch.no_grad():
        made[0].weight.zero_()
    assert net[0].weight.any()


def test_parametrised_weights_stay_parametrised() -> None:
    linear = nn.utils.parametrizations.weight_norm(nn.Linear(10, 30))
    net = nn.Sequential(linear, neuron.IFNode(v_threshold=0.3), nn.Linear(30, 3)).double()
    require_same(net, from_spikingjelly(net), inputs(10), run)


class Keeping(nn.Linear):
    """Keeps what it gave out, as users do to look at it."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = {"last": [super().forward(x)]}
        return self.kept["last"][0]


def test_what_modules_keep_of_earlier_runs_is_no_hindrance() -> None:
    net = nn.Sequential(Keeping(10, 30), neuron.IFNode(v_threshold=0.3), nn.Linear(30, 3)).double()
    run(net, inputs(10))
    kept = net[0].kept["last"][0]
    require_same(net, from_spikingjelly(net, check=inputs(10)), inputs(10), run)
    assert kept.grad_fn is not None


def test_a_net_of_ours_passes_through() -> None:
    net = nn.Sequential(nn.Linear(4, 3), rb.LIF())
    assert from_spikingjelly(net) is net
    assert from_spikingjelly(net, copy=True)[0].weight is not net[0].weight
    mixed = nn.Sequential(nn.Linear(4, 3), rb.LIF(), nn.Linear(3, 3), neuron.IFNode())
    assert isinstance(from_spikingjelly(mixed)[1], rb.LIF)
    assert isinstance(from_spikingjelly(neuron.IFNode()), rb.IF)


def test_a_converted_net_can_be_pickled() -> None:
    net = two_layers(lambda: neuron.ParametricLIFNode(v_threshold=0.2, surrogate_function=surrogate.Erf()))
    made = from_spikingjelly(net)
    again = pickle.loads(pickle.dumps(made))
    assert torch.equal(rb.run(again, inputs(10)), rb.run(made, inputs(10)))
    again.load_state_dict(net.state_dict())  # the names are the original's


class Mine(neuron.LIFNode):
    pass


class Looping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer.Linear(10, 3, step_mode="m"), neuron.IFNode(step_mode="m"))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.unsqueeze(0).repeat(4, 1, 1)).mean(0)


def starts_elsewhere() -> nn.Module:
    node = neuron.IFNode()
    node.set_reset_value("v", 0.5)
    return node


def analogue() -> nn.Module:
    node = neuron.IFNode(surrogate_function=surrogate.ATan())  # the default is one object for all nodes
    node.surrogate_function.set_spiking_mode(False)
    return node


def own_threshold() -> nn.Module:
    node = neuron.IFNode()
    node.v_threshold = nn.Parameter(torch.ones(3))
    return node


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: neuron.KLIFNode(), "1 (KLIFNode): no counterpart"),
        (lambda: nn.Sequential(neuron.QIFNode()), "1.0 (QIFNode)"),
        (lambda: Mine(), "1 (Mine): a subclass"),
        (lambda: neuron.SLTTLIFNode(), "rheobase.SLTT()"),
        (lambda: neuron.NonSpikingLIFNode(), "rheobase.LI("),
        (lambda: neuron.CUBALIFNode(v_reset=-0.5), "leaks towards 0"),
        (lambda: neuron.IFNode(surrogate_function=surrogate.PoissonPass()), "surrogate PoissonPass has no counterpart"),
        (starts_elsewhere, "starts at v = 0.5"),
        (analogue, "analogue"),
        (own_threshold, "v_threshold is learned"),
        (lambda: neuron.SimpleLIFNode(2.0, True, v_reset=-0.5), "starts at v = 0.0"),
        (lambda: neuron.IFNode(v_threshold=-1.0, v_reset=None), "threshold > 0"),
        (lambda: layer.SynapseFilter(), "1 (SynapseFilter)"),
        (lambda: layer.WSLinear(3, 3), "rheobase.WSLinear"),
        (lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 3, 3), "rheobase.Recurrent"),
        (lambda: surrogate.ATan(), "1 (ATan)"),
        (lambda: layer.TemporalEffectiveBatchNorm2d(4, 3), "1 (TemporalEffectiveBatchNorm2d)"),
        (lambda: layer.SeqToANNContainer(neuron.IFNode()), "mixes between steps"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_path(make: Any, words: str) -> None:
    refused(from_spikingjelly, nn.Sequential(nn.Linear(3, 3), make()), "cannot convert", words)


def test_all_that_is_refused_is_named_at_once() -> None:
    net = nn.Sequential(neuron.KLIFNode(), neuron.IFNode(), neuron.QIFNode())
    refused(from_spikingjelly, net, "0 (KLIFNode)", "2 (QIFNode)")
    with pytest.raises(ValueError, match="cannot convert") as caught:
        from_spikingjelly(net)
    assert "1 (IFNode)" not in str(caught.value)


def test_a_forward_that_sees_whole_sequences_is_refused_with_the_way_out() -> None:
    refused(
        from_spikingjelly, Looping(), "the net (Looping)", 'set_step_mode(net, "s")', "convert the nn.Sequential inside"
    )
    made = from_spikingjelly(Looping().layers)
    assert rb.run(made, torch.rand(4, 2, 10)).shape == (4, 2, 3)
    mixed = nn.Sequential(layer.Linear(3, 3, step_mode="m"), neuron.IFNode())
    refused(from_spikingjelly, mixed, "1 (IFNode)", 'step mode "s" among others in "m"')
    folded = nn.Sequential(layer.Conv2d(2, 2, 3, step_mode="m"), nn.MaxPool2d(2), neuron.IFNode(step_mode="m"))
    refused(from_spikingjelly, folded, "1 (MaxPool2d)", "SeqToANNContainer")


class Repeating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.node = nn.ModuleList([nn.Linear(3, 3), neuron.IFNode()]), neuron.IFNode()

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.node(x) for _ in range(4)) / 4


class Stacked(Repeating):
    def forward(self, x: Tensor) -> Tensor:
        for part in self.layers:
            x = part(x)
        return self.node(x)


def test_a_forward_that_loops_over_time_is_refused_and_one_that_loops_over_layers_is_not() -> None:
    refused(from_spikingjelly, nn.Sequential(Repeating()), "0 (Repeating): its forward calls node within a loop")
    made = from_spikingjelly(Stacked(), check=inputs(3))
    assert isinstance(made.layers[1], rb.IF)


def test_other_libraries_and_no_modules_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Expected a torch.nn.Module, got list"):
        from_spikingjelly([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"rheobase.from_spikingjelly"):
        from_snntorch(nn.Sequential(neuron.IFNode()))


def test_check_names_the_first_step_and_layer_that_differ() -> None:
    net = two_layers(lambda: neuron.IFNode(v_threshold=0.4)).float()
    xs = inputs(10).float()
    made = from_spikingjelly(net, check=xs)
    made[3] = rb.LIF(0.9, threshold=0.4, reset="zero")  # the same at the first step
    expected, found = run(net[:4], xs), rb.run(made[:4], xs)
    step = int((expected != found).flatten(1).any(1).nonzero()[0])
    assert step > 0
    with pytest.raises(ValueError, match=rf"differs first at step {step} in 3 \(LIF\)"):
        require_equal(net, made, xs, run)


class Infinite(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + math.nan


def test_a_check_finds_numbers_that_are_none() -> None:
    net = two_layers(lambda: neuron.IFNode(v_threshold=0.4))
    made = from_spikingjelly(net)
    made[4] = Infinite(20, 3).double()
    with pytest.raises(ValueError, match=r"differs first at step 0 in 4 \(Infinite\)"):
        require_equal(net, made, inputs(10), run)


def test_a_check_that_shows_nothing_is_refused() -> None:
    net = two_layers(lambda: neuron.IFNode(v_threshold=1e3))
    refused(from_spikingjelly, net, "shows nothing", check=inputs(10))

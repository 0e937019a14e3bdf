"""Nets of Norse, converted: the same spikes, the same gradients, or a reason."""

import pickle
import warnings
from typing import Any

import originals
import pytest
import torch
from originals import inputs, refused, require_same
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop import from_norse

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it compiles with torch.jit
    norse = pytest.importorskip("norse.torch")


def run(net: nn.Module, xs: Tensor) -> Tensor:
    if any(type(module).__name__ in ("LIF", "LI", "IAF", "LIFRecurrent", "Lift") for module in net.modules()):
        return net(xs)[0]
    state, outputs = None, []
    for x in xs:
        output, state = net(x, state)
        outputs.append(output)
    return torch.stack(outputs)


def two_layers(make: Any, readout: nn.Module | None = None) -> nn.Module:
    """Two linear layers with such neurons, and a readout; 10 -> 3."""
    layers = [nn.Linear(10, 20), make(), nn.Linear(20, 20), make(), nn.Linear(20, 3)]
    net = norse.SequentialState(*layers, *([] if readout is None else [readout])).double()
    with torch.no_grad():
        for layer in layers[:3:2]:
            layer.weight.mul_(8)
    return net


def lif(**options: Any) -> Any:
    named = {"v_th": 0.3, **options}
    return norse.LIFParameters(**{k: v if isinstance(v, str) else torch.tensor(v) for k, v in named.items()})


def box(**options: Any) -> Any:
    named = {"v_th": 0.3, **options}
    plain = (str, type(norse.reset_value))
    return norse.LIFBoxParameters(**{k: v if isinstance(v, plain) else torch.tensor(v) for k, v in named.items()})


METHODS = ["super", "triangle", "tanh", "circ", "heavi_erfc"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [norse.LIFCell, norse.LIF], ids=lambda kind: kind.__name__)
def test_spikes_and_gradients_of_a_lif_are_the_originals(kind: Any, method: str) -> None:
    net = two_layers(lambda: kind(p=lif(method=method, alpha=1.5)))
    require_same(net, from_norse(net), inputs(10, strength=4), run)


@pytest.mark.parametrize(
    "options",
    [
        {"v_leak": -0.2, "v_reset": -0.4},
        {"v_leak": 0.1, "v_reset": 0.2, "tau_mem_inv": 300.0, "tau_syn_inv": 700.0},
        {"v_leak": -65.0, "v_reset": -65.0, "v_th": -64.8},
    ],
    ids=str,
)
def test_so_are_those_with_other_constants(options: Any) -> None:
    net = two_layers(lambda: norse.LIFCell(p=lif(**options), dt=0.0012))
    require_same(net, from_norse(net), inputs(10, strength=4), run)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: norse.LIFBoxCell(p=box()), rb.LIF),
        (lambda: norse.LIFBoxCell(p=box(v_leak=-0.2, v_reset=-0.2), dt=0.002), rb.LIF),
        (lambda: norse.LIFBoxCell(p=box(reset_method=norse.reset_subtract)), rb.LIF),
        (lambda: norse.IAFCell(p=norse.IAFParameters(v_th=torch.tensor(1.5), v_reset=torch.tensor(-0.5))), rb.IF),
    ],
)
def test_where_a_neuron_of_ours_says_the_same_it_is_one(make: Any, kind: Any) -> None:
    net = two_layers(make)
    made = from_norse(net)
    assert type(made[1]) is kind
    require_same(net, made, inputs(10, strength=6), run)


@pytest.mark.parametrize(
    ("neuron", "readout"),
    [
        (norse.LIFCell, norse.LICell(p=norse.LIParameters(v_leak=torch.tensor(0.3)))),
        (norse.LIFCell, norse.LIBoxCell()),
        (norse.LIF, norse.LI()),
    ],
)
def test_readouts_are_the_originals(neuron: Any, readout: nn.Module) -> None:
    net = two_layers(lambda: neuron(p=lif()), readout)
    made = from_norse(net)
    assert not made[5].spiking
    require_same(net, made, inputs(10, strength=4), run)


@pytest.mark.parametrize("kind", [norse.LIFRecurrentCell, norse.LIFRecurrent], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("autapses", [False, True])
def test_recurrent_layers_are_the_originals(kind: Any, autapses: bool) -> None:
    net = two_layers(lambda: kind(20, 20, p=lif(), autapses=autapses))
    made = from_norse(net)
    assert made[1].synapse.weight is net[1].input_weights
    require_same(net, made, inputs(10, strength=4), run)


@pytest.mark.parametrize("copy", [False, True])
def test_no_rule_teaches_a_neuron_to_hear_itself_where_norse_does_not(copy: bool) -> None:
    net = two_layers(lambda: norse.LIFRecurrentCell(20, 20, p=lif()))
    made = from_norse(net, copy=copy)
    for rule in (rb.BPTT(), rb.OTTT(trace_decay=0.5), rb.RateBP()):
        made.zero_grad()
        rule.backward(made, inputs(10, strength=4), originals.targets(), loss=rb.losses.cross_entropy)
        gradient = made[1].recurrent.weight.grad
        assert gradient.any()
        assert not gradient.diagonal().any()


def conv_net(lift: Any, lif_kind: Any, first: int) -> nn.Module:
    return norse.SequentialState(
        lift(nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))), lif_kind(p=lif()),
        lift(nn.AvgPool2d(2)), lift(nn.Conv2d(6, 6, 3)), lif_kind(p=lif(v_th=0.1)), nn.Flatten(first),
        nn.Linear(6, 3),
    ).double()  # fmt: skip


def test_a_net_of_steps_and_one_of_sequences_are_the_originals() -> None:
    for net in (conv_net(lambda x: x, norse.LIFCell, 1), conv_net(norse.Lift, norse.LIF, 2)):
        made = from_norse(net, check=inputs(2, 6, 6, strength=4))
        assert [type(module).__module__.partition(".")[0] for module in made.modules()].count("norse") == 0
        assert (made[5].start_dim, made[5].end_dim) == (1, -1)
        require_same(net, made, inputs(2, 6, 6, strength=4), run)


def test_a_layer_that_stands_in_two_places_does_so_afterwards() -> None:
    shared = nn.Linear(10, 10)
    cells = [norse.LIFCell(p=lif()) for _ in range(2)]
    net = norse.SequentialState(shared, cells[0], shared, cells[1], nn.Linear(10, 3)).double()
    with torch.no_grad():
        shared.weight.mul_(8)
    require_same(net, from_norse(net), inputs(10, strength=4), run)


def test_every_rule_trains_a_converted_net() -> None:
    net = conv_net(norse.Lift, norse.LIF, 2)
    originals.every_rule_trains(net, from_norse(net), inputs(2, 6, 6, strength=4))


def test_norse_spikes_above_the_threshold_and_so_does_what_it_becomes() -> None:
    xs = torch.full((6, 1, 3), 0.25, dtype=torch.float64)
    net = norse.SequentialState(nn.Identity(), norse.IAFCell())
    assert rb.run(from_norse(net), xs)[:, 0, 0].tolist() == [0, 0, 0, 0, 1, 0]
    assert torch.equal(rb.run(from_norse(net), xs), run(net, xs))


@pytest.mark.parametrize("net", [norse.LIFCell(p=lif(v_leak=0.1)), norse.LICell(), norse.IAFCell()])
def test_rounding_is_the_originals(net: nn.Module) -> None:
    """In float32, on a million potentials."""
    xs = torch.randn(50, 1, 20_000) + 0.5
    with torch.no_grad():
        assert torch.equal(rb.run(from_norse(net), xs), run(net, xs))


def test_super_has_no_steepness_in_norse() -> None:
    for alpha in (1.0, 100.0):
        neuron = from_norse(norse.LIFCell(p=lif(alpha=alpha)))
        assert neuron.surrogate.inner == rb.FastSigmoid(1.0)
        assert pickle.loads(pickle.dumps(neuron)).surrogate == neuron.surrogate


def test_a_net_that_never_learns_through_spikes_has_no_slope() -> None:
    neuron = from_norse(norse.LIFCell(p=lif(method="heaviside")))
    assert not neuron.surrogate(torch.linspace(-1, 1, 11)).any()


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = norse.LIFCell()

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.cell(x, state)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: norse.LSNNCell(), "1 (LSNNCell): no counterpart"),
        (lambda: norse.LIFCell(p=lif(method="adjoint")), "'adjoint' has no counterpart"),
        (lambda: norse.LIFCell(p=lif(v_th=[0.1, 0.2])), "v_th is a tensor of shape [2]"),
        (lambda: norse.LIFCell(p=norse.LIFParameters(v_th=nn.Parameter(torch.ones(())))), "v_th is learned"),
        (lambda: norse.LIFBoxCell(p=box(v_leak=0.1)), "it leaks towards v_leak = 0.1"),
        (lambda: norse.LIFBoxCell(p=box(v_th=-0.1)), "threshold > 0"),
        (lambda: norse.LIFBoxCell(p=box(tau_mem_inv=2000.0)), "decay in [0, 1]"),
        (lambda: norse.LIBoxCell(p=norse.LIBoxParameters(v_leak=torch.ones(()))), "leaks towards v_leak"),
        (lambda: norse.SequentialState(norse.LIFCell(), return_hidden=True), "return_hidden"),
        (lambda: nn.Sequential(norse.LIFCell()), "1 (Sequential): it hands the states"),
        (Own, "1 (Own): it hands the states of its neurons on itself"),
        (lambda: norse.LIFRecurrentCell(3, 3, recurrent_weights=torch.zeros(3, 3)), "plain tensor"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_path(make: Any, words: str) -> None:
    refused(from_norse, norse.SequentialState(nn.Linear(3, 3), make()), "cannot convert", words)


def test_what_cannot_be_told_of_sequences_is_refused() -> None:
    refused(from_norse, norse.SequentialState(norse.LIF(), norse.LICell()), "1 (LICell): layers that take one step")
    refused(from_norse, norse.SequentialState(nn.AvgPool2d(2), norse.LIF()), "0 (AvgPool2d)", "norse.torch.Lift")
    refused(from_norse, norse.SequentialState(nn.Flatten(1), norse.LIF()), "0 (Flatten)")


def test_a_net_of_ours_passes_through() -> None:
    net = nn.Sequential(nn.Linear(4, 3), rb.LIF())
    assert from_norse(net) is net
    with pytest.raises(TypeError, match=r"Expected a torch.nn.Module"):
        from_norse(None)  # type: ignore[arg-type]

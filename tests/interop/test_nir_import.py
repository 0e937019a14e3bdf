"""Graphs of NIR that others wrote, as models."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop.euler import EulerNeuron
from rheobase.interop.nir_export import to_nir
from rheobase.interop.nir_import import from_nir
from rheobase.interop.surrogates import described

nir = pytest.importorskip("nir")
DT = 1e-3


def lif(size: int = 2, **changed: float | list[float]) -> "nir.LIF":
    usual = {"tau": 4 * DT, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return nir.LIF(**{name: np.ones(size) * value for name, value in usual.items()})


def graph(*nodes, edges=None, metadata=None) -> "nir.NIRGraph":
    names = [f"n{index}" for index in range(len(nodes))]
    size = nodes[0].input_type["input"]
    every = {"input": nir.Input(size), **dict(zip(names, nodes, strict=True))}
    every["output"] = nir.Output(nodes[-1].output_type["output"])
    order = list(every)
    return nir.NIRGraph(every, edges or list(pairwise(order)), metadata or {})


def euler(node, xs: Tensor, *, steps: float = DT) -> list[Tensor]:
    """The node's equations by hand, v[t] from v[t-1], with the hard reset."""
    constants = {name: torch.tensor(getattr(node, name)) for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    potential, spikes = constants["v_reset"].expand(xs.shape[1:]), []
    for x in xs:
        potential = potential + steps / constants["tau"] * (constants["v_leak"] - potential + constants["r"] * x)
        fired = potential >= constants["v_threshold"]
        potential = torch.where(fired, constants["v_reset"], potential)
        spikes.append(fired.double())
    return spikes


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, rb.LIF),
        ({"r": 1.0, "v_threshold": 0.2}, rb.LIF),
        ({"v_leak": -0.3, "v_reset": -0.3}, rb.LIF),
        ({"v_leak": 0.4}, EulerNeuron),
        ({"r": 2.5}, EulerNeuron),
        ({"tau": [2 * DT, 9 * DT], "r": [2.0, 9.0]}, EulerNeuron),
        ({"v_threshold": [0.5, 1.5]}, EulerNeuron),
        ({"v_reset": [0.0, -0.7]}, EulerNeuron),
        ({"v_threshold": -0.1, "v_reset": -0.5, "v_leak": -0.5}, EulerNeuron),
        ({"v_threshold": 0.1, "v_reset": 0.3, "v_leak": 0.3}, EulerNeuron),
    ],
)
def test_a_node_spikes_as_its_equations_stepped_by_euler(changed, kind) -> None:
    node, xs = lif(**changed), torch.randn(40, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = from_nir(graph(node), dt=DT, dtype=torch.float64)
    assert type(model[0]) is kind
    spikes = rb.run(model, xs)
    assert torch.equal(spikes, torch.stack(euler(node, xs)))
    assert 0 < spikes.mean() < 1


def test_a_shorter_step_than_the_graphs_own_solves_the_same_equation() -> None:
    node, xs = lif(), torch.full((1000, 1, 2), 0.3, dtype=torch.float64)
    rates = [
        rb.run(from_nir(graph(node), dt=dt, dtype=torch.float64), xs[: round(100 * DT / dt)]).sum()
        for dt in (DT, DT / 10)
    ]
    coarse, fine = (float(rate) for rate in rates)
    assert abs(fine - coarse) < 0.25 * coarse
    written = graph(lif(), metadata={"dt": DT})
    assert repr(from_nir(written)[0]) != repr(from_nir(written, dt=DT / 10)[0])


def test_an_integrator_takes_the_share_of_its_resistance() -> None:
    xs = torch.ones(10, 1, 2, dtype=torch.float64)
    constants = {"v_threshold": np.ones(2), "v_reset": np.zeros(2)}
    for r, counts in ((0.0, 0), (0.5 / DT, 5), (1 / DT, 10)):
        model = from_nir(graph(nir.IF(r=np.full(2, r), **constants)), DT, torch.float64)
        assert rb.run(model, xs).sum(0).unique().tolist() == [counts]
        again = to_nir(model, xs[0], DT)
        np.testing.assert_allclose(again.nodes["n0"].r, r)


@pytest.mark.filterwarnings("ignore:NIR's neurons return")
@pytest.mark.parametrize(
    "text", ["Above(inner=Scaled(inner=Sigmoid(alpha=3.0), factor=0.5))", "Window(half_width=2.0, inside=0.25)"]
)
def test_surrogates_without_a_name_come_back_too(text: str) -> None:
    surrogate = described(text)
    net = nn.Sequential(rb.LIF(0.5, surrogate=surrogate))
    assert from_nir(to_nir(net, torch.zeros(1, 2)))[0].firing.surrogate == surrogate
    assert repr(surrogate).startswith(text[:-1])


@pytest.mark.parametrize("text", ["Mine(a=1)", "atan(beta=2)", "Above(inner=Mine())", "3", "(", "os.remove('x')"])
def test_a_surrogate_that_is_not_known_is_told(text: str) -> None:
    node = lif()
    node.metadata["surrogate"] = text
    with pytest.warns(UserWarning, match="is not known here"):
        assert from_nir(graph(node), DT)[0].firing.surrogate == rb.Sigmoid()


@pytest.mark.parametrize("around", [[], [("input", "keys")]], ids=["chain", "a way around"])
def test_names_of_the_graph_are_kept_apart(around: list[tuple[str, str]]) -> None:
    rng = np.random.default_rng(0)
    names = ("input", "output", "a.b", "a_b", "forward", "keys")
    nodes = {name: nir.Linear(rng.normal(size=(2, 2))) for name in names}
    ends = {"start": nir.Input(np.array([2])), "end": nir.Output(np.array([2]))}
    edges = [*pairwise(("start", *names, "training", "end")), *around]
    xs = 3 * torch.randn(10, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    heard = {"input": xs}
    for name, following in pairwise((*names, "training")):
        heard[following] = heard[name] @ torch.tensor(nodes[name].weight).T
        if (name, following) == ("forward", "keys") and around:
            heard[following] += heard["output"]
    neuron = lif(v_threshold=0.3)
    found = rb.run(from_nir(nir.NIRGraph(nodes | {"training": neuron} | ends, edges), DT), xs)
    expected = rb.run(from_nir(graph(neuron), DT, torch.float64), heard["training"])
    assert torch.equal(found, expected)
    assert found.any()


def test_whole_numbers_as_weights_and_mixed_precisions_are_read() -> None:
    whole = from_nir(graph(nir.Linear(np.array([[2, 1], [0, 3]])), lif()), DT)
    assert whole[0].weight.dtype == torch.float32
    mixed = from_nir(graph(nir.Linear(np.eye(2, dtype=np.float32)), lif(), nir.Linear(np.full((2, 2), 0.1))), DT)
    assert mixed[2].weight.tolist() == [[0.1, 0.1], [0.1, 0.1]]


def test_any_rule_trains_what_was_read() -> None:
    torch.manual_seed(0)
    weights = [np.random.default_rng(i).normal(size=(2, 2)) for i in range(2)]
    model = from_nir(graph(nir.Linear(weights[0]), lif(v_threshold=[0.3, 0.4]), nir.Linear(weights[1])), dt=DT)
    xs, y = torch.randn(5, 3, 2, dtype=torch.float64), torch.tensor([0, 1, 0])
    for rule in (rb.BPTT(), rb.SLTT(), rb.OTTT(trace_decay=0.5)):
        model.zero_grad()
        rule.backward(model, xs, y, loss=rb.losses.cross_entropy)
        assert all(bool(parameter.grad.any()) for parameter in model.parameters())


def test_neurons_with_constants_of_their_own_go_out_again() -> None:
    node = lif(tau=[2 * DT, 9 * DT], v_threshold=[0.5, 1.5], v_leak=0.1)
    again = to_nir(from_nir(graph(node), dt=DT, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64), DT)
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        np.testing.assert_allclose(getattr(again.nodes["n0"], name), getattr(node, name), rtol=1e-12)


def test_a_graph_inside_the_graph_is_part_of_it() -> None:
    inner = graph(nir.Linear(np.eye(2)), lif())
    outer = graph(nir.Scale(np.full(2, 3.0)), inner, nir.Linear(np.array([[1.0, 2.0]])), edges=[
        ("input", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "output"),
    ])  # fmt: skip
    flat = graph(nir.Scale(np.full(2, 3.0)), nir.Linear(np.eye(2)), lif(), nir.Linear(np.array([[1.0, 2.0]])))
    xs = torch.randn(10, 3, 2, dtype=torch.float64)
    assert torch.equal(rb.run(from_nir(outer, DT), xs), rb.run(from_nir(flat, DT), xs))


def test_a_cycle_through_a_matrix_is_a_recurrent_layer() -> None:
    edges = [("input", "n0"), ("n0", "n1"), ("n1", "n2"), ("n2", "n1"), ("n1", "output")]
    w, u = np.array([[1.0, 0.5], [0.2, 1.0]]), np.array([[0.0, -0.8], [0.6, 0.0]])
    nodes = {"input": nir.Input(np.array([2])), "n0": nir.Linear(w), "n1": lif(), "n2": nir.Linear(u)}
    model = from_nir(nir.NIRGraph(nodes | {"output": nir.Output(np.array([2]))}, edges), DT)
    assert isinstance(model[0], rb.Recurrent)
    layer = rb.Recurrent(nn.Linear(2, 2, False), nn.Linear(2, 2, False), rb.LIF(0.75, reset="zero")).double()
    layer.synapse.weight.data, layer.recurrent.weight.data = torch.tensor(w), torch.tensor(u)
    xs = torch.rand(20, 3, 2, dtype=torch.float64)
    assert torch.equal(rb.run(model, xs), rb.run(layer, xs))
    assert not torch.equal(rb.run(nn.Sequential(layer.synapse, layer.neuron), xs), rb.run(layer, xs))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: from_nir(graph(lif())), "does not say how long a step is"),
        (lambda: from_nir(graph(lif()), dt=-1.0), "dt > 0"),
        (lambda: from_nir(graph(lif()), dt=5 * DT), r"'n0' .LIF. .*at most its shortest time constant, 0.004 s"),
        (lambda: from_nir(graph(nir.Delay(np.ones(2)), lif()), DT), "'n0' is a Delay, which is not read"),
        (lambda: from_nir("nowhere.nir"), "No file nowhere.nir"),
        (lambda: from_nir(nn.Linear(1, 1)), "Expected a nir.NIRGraph or the path"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(make, reason: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=reason):
        make()


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "net.nir").write_text("no HDF5")
    with pytest.raises(ValueError, match="is no file that nir"):
        from_nir(tmp_path / "net.nir")


def test_cycles_that_are_no_loop_around_one_sum_are_refused() -> None:
    edges = [("input", "n0"), ("n0", "n1"), ("n1", "n0"), ("n1", "output")]
    nodes = {"input": nir.Input(np.array([2])), "n0": lif(), "n1": lif(), "output": nir.Output(np.array([2]))}
    with pytest.raises(ValueError, match="closed by one linear or convolutional layer"):
        from_nir(nir.NIRGraph(nodes, edges), DT)

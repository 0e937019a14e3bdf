"""One step of a model as an ONNX graph, run by onnxruntime."""

import json
import logging

import pytest
import torch
from exported_zoo import small
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop.onnx_export import to_onnx
from rheobase.models import MODELS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

QUICK = ("mlp", "recurrent")


def run_elsewhere(graph: "onnx.ModelProto", xs: Tensor) -> Tensor:
    """The outputs `[T, N, ...]`, each state handed on by the names that the graph tells."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    told = json.loads(session.get_modelmeta().custom_metadata_map["rheobase"])["states"]
    states = {each["input"]: torch.full((xs.shape[1], *each["shape"]), each["start"]).numpy() for each in told}
    names, outputs = [each.name for each in session.get_outputs()], []
    for x in xs:
        found = dict(zip(names, session.run(None, {"x": x.numpy(), **states}), strict=True))
        states = {each["input"]: found[each["output"]] for each in told}
        outputs.append(torch.tensor(found["output"]))
    return torch.stack(outputs)


def dyadic(model: nn.Module) -> nn.Module:
    """The model with weights that are multiples of 1/16, so that sums of spikes are exact in any order."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((16 * parameter).round() / 16)
    return model


ZOO = [name for name in MODELS if name not in ("nf-resnet50", "nf-resnet101")]  # more of nf-resnet34's blocks: minutes


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in ZOO])
def test_a_zoo_model_gives_the_same_outputs_over_a_sequence(name: str) -> None:
    model, xs = small(name, torch.float32)
    found, own = run_elsewhere(to_onnx(model, xs[0]), xs), rb.run(model, xs)
    settled = where_rounding_does_not_decide(own, rb.run(model.double(), xs.double()))
    torch.testing.assert_close(found[settled], own[settled], rtol=1e-4, atol=1e-4)  # one other spike would show
    assert settled.float().mean() > 0.5
    assert not torch.equal(own[0], own[-1])


def where_rounding_does_not_decide(single: Tensor, double: Tensor) -> Tensor:
    """The samples of each step, `[T, N]`, until single and double precision part: a potential is at a threshold."""
    agree = (single - double).abs().flatten(2).amax(2) < 1e-4
    return agree.long().cumprod(0).bool()


NEURONS = [
    rb.LIF(0.5, decay_input=True, threshold=0.25),
    rb.LIF(0.75, reset="zero", reset_value=-0.25),
    rb.IF(),
    rb.LI(0.5),
    rb.ALIF(0.5, adaptation=0.25, adaptation_decay=0.5),
    rb.CubaLIF(0.5, synaptic_decay=0.25),
]


class Each(nn.Module):
    """The outputs of several kinds of neurons for one current, `[N, kinds, ...]`."""

    def __init__(self, neurons: list[rb.Neuron]) -> None:
        super().__init__()
        self.synapse, self.neurons = nn.Linear(6, 8), nn.ModuleList(neurons)

    def forward(self, x: Tensor) -> Tensor:
        current = self.synapse(x)
        return torch.stack([neuron(current) for neuron in self.neurons], 1)


def test_spikes_of_each_neuron_are_equal_where_all_sums_are_exact() -> None:
    torch.manual_seed(0)
    model, xs = dyadic(Each(NEURONS)), (2 * torch.randn(10, 3, 6)).round()
    spikes = rb.run(model, xs)
    assert torch.equal(run_elsewhere(to_onnx(model, xs[0]), xs), spikes)
    assert all(len(each.unique()) > 1 for each in spikes.unbind(2))


def test_states_are_inputs_and_outputs_with_names_and_a_free_batch() -> None:
    loop = rb.Recurrent(nn.Linear(3, 4), nn.Linear(4, 4), rb.CubaLIF(reset="zero", reset_value=-0.5))
    graph = to_onnx(nn.Sequential(loop), torch.zeros(1, 3), dt=1e-3)
    names = ["0", "0.neuron.0", "0.neuron.1"]
    assert [each.name for each in graph.graph.input] == ["x", *(f"state.{name}" for name in names)]
    assert [each.name for each in graph.graph.output] == ["output", *(f"next.{name}" for name in names)]
    assert {each.type.tensor_type.shape.dim[0].dim_param for each in graph.graph.input} == {"batch"}
    (told,) = (json.loads(each.value) for each in graph.metadata_props if each.key == "rheobase")
    assert told["dt"] == 1e-3
    assert told["rheobase"] == rb.__version__
    assert [state["start"] for state in told["states"]] == [0.0, 0.0, -0.5]
    assert all(state["shape"] == [4] for state in told["states"])
    assert not {node.domain for node in graph.graph.node} - {"", "ai.onnx"}


def test_dropout_is_left_out_and_the_model_stays_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 4), rb.LIF(), rb.TimeSharedDropout(0.5), nn.Dropout(0.5)).train()
    level = logging.getLogger("torch.onnx").level
    graph, xs = to_onnx(model, torch.zeros(1, 3)), 3 * torch.randn(5, 2, 3)
    assert model.training
    assert model[2].training
    assert "forward" not in vars(model[1])
    assert logging.getLogger("torch.onnx").level == level
    torch.testing.assert_close(run_elsewhere(graph, xs), rb.run(model.eval(), xs), rtol=0, atol=1e-6)


def test_half_precision_is_carried_over_time_in_single_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), rb.LI(0.999)).half()
    xs = torch.randn(300, 2, 6).half()
    graph = to_onnx(model, xs[0])
    assert [each.type.tensor_type.elem_type for each in graph.graph.input] == [
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.FLOAT,
    ]
    found, potential, rounded = run_elsewhere(graph, xs), torch.zeros(2, 8).half(), []
    for x in xs:
        potential = (0.999 * potential + model[0](x)).detach()
        rounded.append(potential)
    torch.testing.assert_close(found, rb.run(model, xs), rtol=0, atol=0.1)
    assert (torch.stack(rounded) - found).abs().max() > 0.5


def test_a_layer_that_stands_in_two_places_is_exported() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(6, 6)
    layers = [shared, rb.LIF(threshold=0.25), shared, rb.LIF(0.75, threshold=0.25), nn.Linear(6, 3)]
    model, xs = dyadic(nn.Sequential(*layers)), (4 * torch.randn(10, 3, 6)).round()
    assert torch.equal(run_elsewhere(to_onnx(model, xs[0]), xs), rb.run(model, xs))


class Alone(nn.Module):
    """Another model for one sample than for several."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = rb.LIF()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(x) if len(x) > 1 else x


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neuron = rb.LIF()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(x) if x.sum() > 0 else x


def test_what_cannot_be_exported_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="at least one neuron"):
        to_onnx(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="torch cannot trace one step of Deciding"):
        to_onnx(nn.Sequential(rb.LIF(), Deciding())[1], torch.ones(1, 2))
    with pytest.raises(ValueError, match="depends on how many samples there are"):
        to_onnx(Alone(), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"single precision: export model\.float"):
        to_onnx(nn.Sequential(rb.LIF()), torch.ones(1, 2, dtype=torch.float64))
    shared = rb.LIF()
    with pytest.raises(ValueError, match=r"'0' \(LIF\) is used twice in one step"):
        to_onnx(nn.Sequential(shared, nn.Linear(2, 2), shared), torch.ones(1, 2))
    with pytest.raises(ValueError, match="dt > 0"):
        to_onnx(nn.Sequential(rb.LIF()), torch.zeros(1, 2), dt=0.0)

"""Exported graphs, run by other simulators, which spike where the model does."""

import contextlib
import io
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.interop.nir_export import to_nir
from rheobase.interop.nir_neurons import SoftResetWarning

pytest.importorskip("nir")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
T = 20
HARD = {"reset": "zero"}


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.neuron = nn.Linear(6, 6), rb.LIF(0.5, threshold=0.4, **HARD)
        self.second, self.last = nn.Linear(6, 6), rb.LIF(0.9, threshold=0.5, **HARD)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.first(x))
        return self.last(self.second(spikes) + spikes)


def convolutional() -> nn.Module:
    norm = nn.BatchNorm2d(6)
    nn.init.normal_(norm.running_mean, std=0.1)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), norm, rb.LIF(0.6, **HARD), nn.AvgPool2d(2),
        rb.WSConv2d(6, 8, 3, padding=1), rb.LIF(0.8, threshold=0.5, **HARD), rb.Scale(2.0),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), rb.LIF(0.5, threshold=0.3, **HARD),
    )  # fmt: skip


def recurrent() -> nn.Module:
    loop = rb.Recurrent(nn.Linear(6, 9), nn.Linear(9, 9), rb.LIF(0.7, threshold=0.4, **HARD))
    nn.init.constant_(loop.recurrent.bias, 0.8)  # type: ignore[arg-type]
    return nn.Sequential(loop, nn.Linear(9, 5), rb.LIF(0.9, threshold=0.5, **HARD))


def one_layer(neuron: rb.Neuron) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(6, 6), neuron)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolutional": convolutional,
    "residual": Residual,
    "recurrent": recurrent,
    "lif": one_layer(rb.LIF(0.7, threshold=0.4, **HARD)),
    "lif that scales its input": one_layer(rb.LIF(0.7, decay_input=True, threshold=0.3, **HARD)),
    "synaptic current": one_layer(rb.CubaLIF(0.7, synaptic_decay=0.6, **HARD)),
    "no leak": one_layer(rb.IF(**HARD)),
}


def by_spikingjelly(graph, xs: Tensor) -> list[Tensor]:
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange.from_nir")
    net, state, spikes = exchange.import_from_nir(graph, dt=1e-4).eval(), None, []
    for x in xs:
        y, state = net(x[None], state)
        spikes.append(y[0])
    return spikes


def by_snntorch(graph, xs: Tensor) -> list[Tensor]:
    importer = pytest.importorskip("snntorch.import_nir")  # takes dt = 1e-4 for granted
    with contextlib.redirect_stdout(io.StringIO()):
        net = importer.import_from_nir(graph).eval()
    return [net(x)[0] for x in xs]  # its Flatten counts the batch: one sample at a time, without one


def by_norse(graph, xs: Tensor) -> list[Tensor]:
    importer = pytest.importorskip("norse.torch.utils.import_nir")
    net, state, spikes = importer.from_nir(graph, ignore_warnings=True, dt=1e-4), None, []
    for x in xs:
        y, state = net(x[None], state)
        spikes.append(y[0])
    return spikes


# What an importer cannot read, or reads otherwise, is in the table of docs/hardware.md.
CAN = [
    *((by_spikingjelly, name) for name in MODELS),
    *((by_snntorch, name) for name in MODELS if name not in ("recurrent", "no leak")),
    *((by_norse, name) for name in ("lif that scales its input", "synaptic current", "no leak")),
]


@pytest.mark.parametrize(("simulate", "name"), CAN)
def test_another_simulator_spikes_as_the_model_does(simulate, name: str) -> None:
    torch.manual_seed(1)
    model = MODELS[name]().eval()
    xs = 3 * torch.rand(T, 2, 8, 8) if name == "convolutional" else 2 * torch.randn(T, 6)
    spikes = rb.run(model, xs[:, None])[:, 0]
    with torch.no_grad():
        found = torch.stack([step.reshape(spikes.shape[1:]) for step in simulate(to_nir(model, xs[:1]), xs)])
    assert torch.equal(found, spikes)
    assert 0.05 < spikes.mean() < 0.6


def test_another_simulator_misses_the_soft_reset_that_we_warn_about() -> None:
    torch.manual_seed(1)
    model, xs = nn.Sequential(nn.Linear(6, 6), rb.LIF(0.9, threshold=0.4)), 2 * torch.randn(T, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SoftResetWarning)
        graph = to_nir(model, xs[:1])
    with torch.no_grad():
        assert not torch.equal(torch.stack(by_spikingjelly(graph, xs)), rb.run(model, xs[:, None])[:, 0])

"""Rules of one's own, as docs/rules.md writes them, and what their parts may count on."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import flat_gradient, spiking_nets
from torch import Tensor, nn

import rheobase as rb
from rheobase.rules import Eligibility, Sweep, Traces, Treatment, Wiring

EXACT = {"rtol": 0.0, "atol": 1e-12}
NETS = spiking_nets()
PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def shown(name: str) -> Any:
    """The class `name` as the page defines it."""
    (code,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if f"class {name}(" in text)
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), space)
    return space[name]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return 2 * torch.rand(6, 4, 2, 6, 6), torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("chunk", [1, 4])
def test_two_traces_of_one_decay_are_ottt_on_every_kind_of_net(net: str, chunk: int) -> None:
    torch.manual_seed(1)
    model, two_decays = NETS[net](), shown("TwoDecays")
    ottt = flat_gradient(rb.OTTT(input_trace=True, readout_trace=False), model, *batch())
    same, other = (flat_gradient(rb.Online(two_decays(fast), chunk=chunk), model, *batch()) for fast in (0.5, 0.1))
    torch.testing.assert_close(same, ottt, **EXACT)
    assert (other - ottt).abs().max() > 1e-4


def test_a_blended_rule_takes_the_decay_of_the_neuron_that_a_synapse_feeds() -> None:
    """The hidden layer by hand, for one sample: delta slope (slow + fast) / 2."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 7, bias=False), rb.LIF(0.8, detach_reset=True), nn.Linear(7, 3))
    xs, target = 3 * torch.rand(9, 1, 5), torch.tensor([2])
    shown("BlendedOTTT")(fast=0.3).backward(model, xs, target, loss=rb.losses.cross_entropy)
    weight, readout, bias = (p.detach() for p in model.parameters())
    potential, slow, fast, total = torch.zeros(7), torch.zeros(5), torch.zeros(5), torch.zeros(7, 5)
    for x in xs[:, 0]:
        potential = 0.8 * potential + weight @ x
        spikes = (potential >= 1).to(potential)
        slope = rb.Sigmoid()(potential - 1)
        potential = potential - spikes
        slow, fast = 0.8 * slow + x, 0.3 * fast + x
        error = torch.softmax(readout @ spikes + bias, 0) - torch.tensor([0.0, 0.0, 1.0])
        total += torch.outer((error @ readout) * slope, (slow + fast) / 2) / len(xs)
    torch.testing.assert_close(model[0].weight.grad, total, **EXACT)


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_reward_reaches_every_neuron_as_it_is(chunk: int, recurrent: bool) -> None:
    """delta = weight (usual - reward) for all neurons of a sample: by hand, with the traces of the membrane's decay."""
    torch.manual_seed(1)
    fires = rb.LIF(0.8, detach_reset=True)
    first: list[nn.Module] = [nn.Linear(5, 7, bias=False), fires]
    if recurrent:
        first = [rb.Recurrent(first[0], nn.Linear(7, 7, bias=False), fires)]
    model = nn.Sequential(*first, nn.Linear(7, 3))
    xs, target = 3 * torch.rand(9, 6, 5), torch.randint(3, (6,))
    rule = rb.Online(Traces(), shown("Reward")(usual=0.25), chunk=chunk)
    outputs = rule.backward(model, xs, target, loss=rb.losses.cross_entropy).outputs
    weight = next(model.parameters()).detach()
    back = model[0].recurrent.weight.detach() if recurrent else torch.zeros(7, 7)
    potential, spikes, trace, total = torch.zeros(6, 7), torch.zeros(6, 7), torch.zeros(6, 5), torch.zeros(7, 5)
    rewards = (outputs.argmax(2) == target).to(outputs)
    assert 0 < rewards.mean() < 1
    for x, reward in zip(xs, rewards, strict=True):
        potential = 0.8 * potential + x @ weight.t() + spikes @ back.t()
        spikes = (potential >= 1).to(potential)
        slope = rb.Sigmoid()(potential - 1)
        potential = potential - spikes
        trace = 0.8 * trace + x
        total += ((0.25 - reward)[:, None] * slope).t() @ trace / (6 * len(xs))
    torch.testing.assert_close(next(model.parameters()).grad, total, **EXACT)


class Told(Treatment):
    """Notes what it is told, in order."""

    asks_wiring = True

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def synapse(self, sweep: Sweep, synapse: nn.Module, x: Tensor, plain: Callable[..., Tensor]) -> Tensor:
        self.heard.append((sweep.name(synapse), sweep.chunk))
        return super().synapse(sweep, synapse, x, plain)

    def wired(self, sweep: Sweep, wiring: Wiring) -> None:
        found = [[sweep.name(neuron) for neuron in wiring.neurons_after(synapse)] for synapse in sweep.model[::2]]
        self.heard.append(found)

    def chunk_done(self) -> None:
        self.heard.append("done")

    def settle(self) -> None:
        self.heard.append("settled")


@dataclass(frozen=True)
class Telling(Eligibility):
    kind: type[Told]
    heard: list[Any]

    def treatment(self, model: nn.Module) -> Treatment:
        return self.kind(self.heard)


class Deaf(Told):
    asks_wiring = False


@pytest.mark.parametrize("kind", [Told, Deaf])
def test_a_treatment_is_told_the_wiring_after_a_first_step_alone_if_it_asks_and_of_each_chunk(kind: type[Told]) -> None:
    net, heard = nn.Sequential(nn.Linear(5, 7), rb.LIF(), nn.Linear(7, 3)), list[Any]()
    rule = rb.Online(Telling(kind, heard), chunk=3)
    rule.backward(net, torch.rand(5, 2, 5), torch.tensor([0, 1]), loss=rb.losses.cross_entropy)
    told: list[Any] = [("0", 1), ("2", 1), [["1"], []], "done"] if kind is Told else []
    steps = (3, 1) if kind is Told else (3, 2)
    told += [event for size in steps for event in (("0", size), ("2", size), "done")]
    assert heard == [*told, "settled"]

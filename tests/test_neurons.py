"""Neurons against their equations, written out, and against the papers' test vectors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.neurons import Neuron, State
from rheobase.rules.tangent import response
from rheobase.surrogates import SURROGATES, surrogate_named

EXACT = {"rtol": 0.0, "atol": 1e-12}
CURRENTS = torch.rand(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.4 - 0.2


def unroll(neuron: Neuron, currents: Tensor) -> Tensor:
    state, outputs = neuron.initial_state(currents[0]), []
    for current in currents:
        output, state = neuron.dynamics(current, state)
        outputs.append(output)
    return torch.stack(outputs)


def by_hand(step: Callable[..., Any], *state: Any) -> Tensor:
    outputs = []
    for current in CURRENTS:
        output, *state = step(current, *state)  # type: ignore[assignment]
        outputs.append(output)
    return torch.stack(outputs)


def soft(potential: Tensor, threshold: Any = 1.0) -> tuple[Tensor, Tensor]:
    spikes = (potential >= threshold).double()
    return spikes, potential - threshold * spikes


def hard(potential: Tensor, rest: float) -> tuple[Tensor, Tensor]:
    spikes = (potential >= 1).double()
    return spikes, torch.where(spikes > 0, rest, potential)


def adaptive(current: Tensor, potential: Tensor, fatigue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    spikes, potential = soft(0.6 * potential + current, 1 + 0.3 * fatigue)
    return spikes, potential, 0.8 * fatigue + spikes


def synaptic(current: Tensor, trace: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    trace = 0.4 * trace + current
    spikes, potential = soft(0.6 * potential + trace)
    return spikes, trace, potential


ZERO = torch.zeros(5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        (rb.LIF(0.6), by_hand(lambda c, v: soft(0.6 * v + c), ZERO)),
        (rb.LIF(tau=2.5), by_hand(lambda c, v: soft(0.6 * v + c), ZERO)),
        (rb.LIF(0.6, threshold=0.7), by_hand(lambda c, v: soft(0.6 * v + c, 0.7), ZERO)),
        (rb.LIF(0.6, decay_input=True, threshold=0.4), by_hand(lambda c, v: soft(0.6 * v + 0.4 * c, 0.4), ZERO)),
        (rb.LIF(0.6, reset="zero"), by_hand(lambda c, v: hard(0.6 * v + c, 0.0), ZERO)),
        # SpikingJelly's charge with a reset value: v - (v - v_reset) / tau + current
        (
            rb.LIF(tau=2.5, reset="zero", reset_value=-0.3),
            by_hand(lambda c, v: hard(v - (v + 0.3) / 2.5 + c, -0.3), ZERO - 0.3),
        ),
        (rb.IF(), by_hand(lambda c, v: soft(v + c), ZERO)),
        (rb.IF(reset="zero", reset_value=-0.2), by_hand(lambda c, v: hard(v + c, -0.2), ZERO - 0.2)),
        (rb.PLIF(0.6), by_hand(lambda c, v: soft(0.6 * v + c), ZERO)),
        (rb.PLIF(0.6, decay_input=True, threshold=0.4), by_hand(lambda c, v: soft(0.6 * v + 0.4 * c, 0.4), ZERO)),
        (rb.ALIF(0.6, adaptation=0.3, adaptation_decay=0.8), by_hand(adaptive, ZERO, ZERO)),
        (rb.CubaLIF(0.6, synaptic_decay=0.4), by_hand(synaptic, ZERO, ZERO)),
    ],
    ids=lambda x: str(x) if isinstance(x, nn.Module) else "",
)
def test_the_spikes_are_those_of_the_equations(neuron: Neuron, expected: Tensor) -> None:
    spikes = unroll(neuron.double(), CURRENTS)
    assert 0.05 < expected.mean() < 0.8
    assert torch.equal(spikes, expected)


def test_a_leaky_integrator_gives_its_potential() -> None:
    expected = by_hand(lambda c, v: (0.9 * v + c, 0.9 * v + c), ZERO)
    torch.testing.assert_close(unroll(rb.LI(0.9), CURRENTS), expected, **EXACT)
    scaled = by_hand(lambda c, v: (0.9 * v + 0.1 * c, 0.9 * v + 0.1 * c), ZERO)
    torch.testing.assert_close(unroll(rb.LI(0.9, decay_input=True), CURRENTS), scaled, **EXACT)


@pytest.mark.parametrize(
    ("options", "gain", "potentials"),
    [
        ({"detach_reset": True}, 0.654499, [0.6, 1.02, 1.404, 0.1808]),
        ({}, 0.587893, [0.6, 1.02, 1.404, 0.1808]),
        ({"reset": "zero"}, 0.552826, [0.6, 1.02, 1.4, 0.1]),
        ({"reset": "zero", "detach_reset": True}, 0.604938, [0.6, 1.02, 1.4, 0.1]),
    ],
)
def test_the_gain_is_that_of_the_worked_example(options: Any, gain: float, potentials: list[float]) -> None:
    """Rate-based backpropagation's gain for the currents .6 .9 1.4 .1, decay .2, sigmoid slope 4, by its recursion."""
    neuron = rb.LIF(0.2, **options)
    state, changes, total = neuron.initial_state(ZERO[:1]), None, 0.0
    for current, expected in zip((0.6, 0.9, 1.4, 0.1), potentials, strict=True):
        before = state[0]
        torch.testing.assert_close(0.2 * before + current, torch.full((1,), expected, dtype=torch.float64), **EXACT)
        _, change, state, changes = response(neuron, torch.full((1,), current, dtype=torch.float64), state, changes)
        total += float(change)
    assert abs(total / 4 - gain) < 1e-6


class Exponential(rb.LIF):
    """Dynamics beyond arithmetic, as a user might write them."""

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        return super().dynamics(torch.tanh(current) + 0.1 * torch.exp(-state[0]), state)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("make", [rb.LIF, rb.IF, rb.PLIF, rb.ALIF, rb.CubaLIF, Exponential], ids=lambda m: m.__name__)
def test_the_response_is_the_derivative_for_a_current_that_rises_at_all_steps(
    make: Any, detach: bool, reset: Any
) -> None:
    neuron = make(reset=reset, detach_reset=detach).double()
    shift = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    rate = unroll(neuron, CURRENTS + shift).mean(0)
    (expected,) = torch.autograd.grad(rate.sum(), shift)
    state, changes, total = neuron.initial_state(CURRENTS[0]), None, torch.zeros(5, dtype=torch.float64)
    with torch.no_grad():
        for current in CURRENTS:
            _, change, state, changes = response(neuron, current, state, changes)
            total += change
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(total / len(CURRENTS), expected, **EXACT)


SLOPES = {
    "sigmoid": (rb.Sigmoid(), lambda d: 4 * torch.sigmoid(4 * d) * (1 - torch.sigmoid(4 * d)), 1.0),
    "triangle": (rb.Triangle(), lambda d: (1 - d.abs()).clamp(min=0), 1.0),
    "triangle(width=0.5)": (rb.Triangle(0.5), lambda d: 2 * (1 - 2 * d.abs()).clamp(min=0), 1.0),
    "triangle(height=0.3)": (rb.Triangle(height=0.3), lambda d: 0.3 * (1 - d.abs()).clamp(min=0), 0.3),
    "rectangle": (rb.Rectangle(), lambda d: (d.abs() <= 0.5).double(), 1.0),
    "atan": (rb.ATan(), lambda d: 1 / (1 + (torch.pi * d) ** 2), 1.0),
    "fast_sigmoid(slope=100)": (rb.FastSigmoid(100), lambda d: 1 / (1 + 100 * d.abs()) ** 2, 0.02),
    "inverse_quadratic": (rb.InverseQuadratic(), lambda d: 1 / (1 + (10 * d) ** 2), torch.pi / 10),
}


@pytest.mark.parametrize("name", SLOPES)
def test_a_surrogate_is_its_formula_by_object_and_by_name(name: str) -> None:
    surrogate, formula, area = SLOPES[name]
    assert rb.LIF(surrogate=name).firing.surrogate == surrogate
    grid = torch.linspace(-400, 400, 8_000_001, dtype=torch.float64)
    slope = surrogate(grid)
    torch.testing.assert_close(slope, formula(grid), **EXACT)
    assert abs(float(slope.sum() * 1e-4) - area) < 2e-3
    distance = torch.tensor([-0.2, 0.0, 0.3], dtype=torch.float64, requires_grad=True)
    spikes = rb.surrogates.spike(distance, surrogate)
    assert spikes.tolist() == [0, 1, 1]
    (grad,) = torch.autograd.grad(spikes.sum(), distance)
    torch.testing.assert_close(grad, formula(distance.detach()), **EXACT)


OWN_VALUES = [
    rb.Sigmoid(0.1),
    rb.Triangle(0.5),
    rb.Triangle(0.5, 0.3),
    rb.Rectangle(3),
    rb.ATan(1e-5),
    rb.FastSigmoid(1),
]


@pytest.mark.parametrize("surrogate", [*(kind() for kind in SURROGATES.values()), *OWN_VALUES], ids=str)
def test_a_surrogate_is_read_as_it_prints(surrogate: rb.Surrogate) -> None:
    assert surrogate_named(repr(surrogate)) == surrogate
    assert rb.LIF(surrogate=repr(surrogate)).firing.surrogate == surrogate


def test_an_unknown_surrogate_is_answered_with_each_known_name_once() -> None:
    with pytest.raises(ValueError, match="Did you mean 'sigmoid'") as caught:
        surrogate_named("Sigmoyd(alpha=2)")
    assert str(caught.value).count("triangle") == 1


def test_neurons_print_pickle_and_save_what_they_are() -> None:
    import pickle

    neuron = rb.LIF(0.25, threshold=0.5, reset="zero", detach_reset=True, surrogate="triangle")
    shown = repr(neuron)
    for part in ("decay=0.25", "threshold=0.5", "reset='zero'", "detach_reset=True", "Triangle(width=1.0"):
        assert part in shown
    again = pickle.loads(pickle.dumps(neuron))
    assert repr(again) == shown
    assert not neuron.state_dict()
    assert set(rb.PLIF().state_dict()) == {"leak"}


def test_a_learned_decay_per_channel_broadcasts() -> None:
    neuron = rb.PLIF(0.5, shape=(3, 1, 1)).double()
    with torch.no_grad():
        neuron.leak.copy_(torch.tensor([0.2, 0.5, 0.9]).logit().view(3, 1, 1))
    currents = torch.rand(4, 2, 3, 4, 4, dtype=torch.float64)
    spikes = unroll(neuron, currents)
    for channel, decay in enumerate((0.2, 0.5, 0.9)):
        own = torch.sigmoid(torch.tensor(decay).logit()).double().item()
        assert torch.equal(spikes[:, :, channel], unroll(rb.LIF(own), currents[:, :, channel]))

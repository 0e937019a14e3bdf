"""Neuron kernels against the neurons' own dynamics and autograd."""

import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
from networks import flat_gradient
from torch import Tensor, nn

import rheobase as rb
from rheobase.dual import Dual
from rheobase.kernels import Kernel, Response, kernel_of
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron, State
from rheobase.rules.tangent import response
from rheobase.surrogates import SURROGATES, Sigmoid, Surrogate, spike

STEPS = 6
RESETS: list[dict[str, Any]] = [
    {"reset": "subtract"},
    {"reset": "zero"},
    {"reset": "subtract", "detach_reset": True},
    {"reset": "zero", "detach_reset": True},
    {"reset": "zero", "reset_value": -0.3},
    {"reset": "zero", "reset_value": 0.2, "detach_reset": True},
]
CLOSE: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"rtol": 0, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
}


def neurons(turn: int) -> Iterator[Neuron]:
    """Each kind with each surrogate and with each reset; `turn` pairs the two in another way."""
    for k, kind in enumerate((rb.LIF, rb.IF, rb.ALIF, rb.CubaLIF)):
        for i, surrogate in enumerate(SURROGATES):
            options = {**RESETS[(i + k + turn) % len(RESETS)], "surrogate": surrogate, "threshold": 0.7}
            if kind is not rb.IF:
                options["decay"] = 0.6
            if kind is rb.LIF and i % 2 == turn:
                options["decay_input"] = True
            yield kind(**options)
    yield rb.LI(0.8, decay_input=bool(turn))


GRID = [(torch.float64, neuron) for neuron in neurons(0)] + [(torch.float32, neuron) for neuron in neurons(1)]
every_neuron = pytest.mark.parametrize(("dtype", "neuron"), GRID, ids=str)
Case = tuple[Kernel, Tensor, State]


def case(neuron: Neuron, dtype: torch.dtype, last: bool = False, shape: tuple[int, ...] = (3, 5, 4, 2)) -> Case:
    """The neuron's kernel, currents `[STEPS * N, ...]`, and a state that is not at rest."""
    currents = torch.randn(STEPS * shape[0], *shape[1:], dtype=dtype) + 0.4
    if last:
        currents = currents.contiguous(memory_format=torch.channels_last)
    step = currents[: shape[0]]
    state = tuple(torch.randn_like(step) * 0.3 for _ in neuron.initial_state(step))
    kernel = kernel_of(neuron, currents)
    assert kernel is not None
    return kernel, currents, state


def plain(neuron: Neuron, currents: Tensor, state: State, steps: int = STEPS) -> tuple[list[Tensor], list[State]]:
    spikes, states = [], []
    for current in currents.unflatten(0, (steps, -1)):
        spike, state = neuron.dynamics(current, state)
        spikes.append(spike)
        states.append(state)
    return spikes, states


def assert_same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("last", [False, True])
@every_neuron
def test_run_gives_the_bits_of_the_dynamics_however_the_steps_are_chunked(
    neuron: Neuron, dtype: torch.dtype, last: bool
) -> None:
    kernel, currents, state = case(neuron, dtype, last)
    spikes, states = plain(neuron, currents, state)
    for chunk in (1, 2, STEPS):
        now = state
        for part, expected in zip(currents.split(3 * chunk), torch.cat(spikes).split(3 * chunk), strict=True):
            found, now = kernel.run(part, now)
            assert_same(found, expected)
            assert found.stride() == part.stride()
        assert_same(now, states[-1])
    if neuron.spiking:
        assert set(torch.cat(spikes).unique().tolist()) == {0.0, 1.0}
        assert kernel.binary
    else:
        assert not kernel.binary


@pytest.mark.parametrize("last", [False, True])
@every_neuron
def test_the_slope_is_autograds_derivative_by_the_current_of_the_same_step(
    neuron: Neuron, dtype: torch.dtype, last: bool
) -> None:
    kernel, currents, state = case(neuron, dtype, last)
    spikes, slopes, after = kernel.slope(currents, state)
    now, expected = state, []
    for current in currents.clone().requires_grad_().unflatten(0, (STEPS, -1)):
        output, now = neuron.dynamics(current, tuple(part.detach() for part in now))
        expected.append(torch.autograd.grad(output.sum(), current)[0])
    torch.testing.assert_close(slopes, torch.cat(expected), **CLOSE[dtype])
    assert slopes.abs().max() > 0.1
    assert_same((spikes, after), kernel.run(currents, state))


@pytest.mark.parametrize("last", [False, True])
@every_neuron
def test_back_gives_autograds_gradients_of_currents_and_state(neuron: Neuron, dtype: torch.dtype, last: bool) -> None:
    kernel, currents, state = case(neuron, dtype, last)
    leaves = [currents.clone().requires_grad_(), *(part.clone().requires_grad_() for part in state)]
    spikes, states = plain(neuron, leaves[0], tuple(leaves[1:]))
    outputs = [torch.cat(spikes), *states[-1]]
    errors = [torch.randn_like(output) for output in outputs]
    expected = torch.autograd.grad(outputs, leaves, errors)
    below, entering = kernel.back(currents, state, errors[0], errors[1:])
    torch.testing.assert_close([below, *entering], list(expected), **CLOSE[dtype])
    assert all(gradient.abs().max() > 0.01 for gradient in expected)
    none, without = kernel.back(currents, state, errors[0], [None] * len(state))
    zero = kernel.back(currents, state, errors[0], [torch.zeros_like(part) for part in state])
    assert_same((none, without), zero)
    assert (none - below).abs().max() > 1e-3


@pytest.mark.parametrize("last", [False, True])
@every_neuron
def test_the_response_sums_the_rates_and_gains_of_the_tangent_over_several_calls(
    neuron: Neuron, dtype: torch.dtype, last: bool
) -> None:
    kernel, currents, state = case(neuron, dtype, last)
    rates, gains = torch.zeros_like(state[0]), torch.zeros_like(state[0])
    now, changes = state, None
    for current in currents.unflatten(0, (STEPS, -1)):
        output, gain, now, changes = response(neuron, current, now, changes)
        rates, gains = rates + output, gains + gain
    for sizes in ([6], [1, 3, 2], [2, 1, 1, 2]):
        gathered, own, outputs = Response(kernel, currents[:3]), tuple(part.clone() for part in state), []
        for part in currents.split([3 * size for size in sizes]):
            output, own = kernel.respond(part, own, gathered)
            outputs.append(output)
        torch.testing.assert_close(gathered.rates, rates, **CLOSE[dtype])
        torch.testing.assert_close(gathered.gains, gains, **CLOSE[dtype])
        assert_same(own, now)
        assert_same(torch.cat(outputs), kernel.run(currents, state)[0])
    assert gains.abs().max() > 0.1


def test_in_place_is_in_place_and_otherwise_nothing_is_changed() -> None:
    neuron = rb.ALIF(0.6, adaptation=0.3)
    kernel, currents, state = case(neuron, torch.float64)
    given, kept = currents.clone(), [part.clone() for part in state]
    spikes, after = kernel.run(currents, state)
    kernel.slope(currents, state)
    kernel.back(currents, state, torch.ones_like(currents), [torch.ones_like(part) for part in state])
    assert_same((currents, list(state)), (given, kept))
    for again in (kernel.run, kernel.slope):
        own = tuple(part.clone() for part in state)
        found = again(currents, own, in_place=True)
        assert [part.data_ptr() for part in found[-1]] == [part.data_ptr() for part in own]
        assert_same((found[0], own), (spikes, after))
    own = tuple(part.clone() for part in state)
    _, left = kernel.respond(currents, own, Response(kernel, currents[:3]))
    assert [part.data_ptr() for part in left] == [part.data_ptr() for part in own]
    assert_same(own, after)


@pytest.mark.parametrize("size", [1, 7, 255, 256, 257, 513, 70000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sizes_that_cross_blocks_and_threads_give_the_same_bits(dtype: torch.dtype, size: int) -> None:
    neuron = rb.ALIF(0.6, adaptation=0.3, threshold=0.7, surrogate="triangle")
    kernel, currents, state = case(neuron, dtype, shape=(1, size))
    spikes, states = plain(neuron, currents, state)
    errors = torch.randn_like(currents)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        gathered, own = Response(kernel, currents[:1]), tuple(part.clone() for part in state)
        kernel.respond(currents, own, gathered)
        run, slope = kernel.run(currents, state), kernel.slope(currents, state)
        found.append(
            [run, slope, own, gathered.rates, gathered.gains, kernel.back(currents, state, errors, [errors[:1], None])]
        )
        assert_same(run, (torch.cat(spikes), states[-1]))
    assert_same(found[0], found[1])


@pytest.mark.parametrize(
    "kind",
    [
        "transposed",
        "strided",
        "expanded",
        "channels last in 3-d",
    ],
)
def test_currents_with_gaps_or_in_another_order_are_the_same_currents(kind: str) -> None:
    neuron = rb.LIF(0.6, threshold=0.7)
    kernel, _, _ = case(neuron, torch.float64)
    currents = {
        "transposed": torch.randn(12, 5, 4, dtype=torch.float64).transpose(1, 2),
        "strided": torch.randn(12, 5, 8, dtype=torch.float64)[:, :, ::2],
        "expanded": torch.randn(12, 1, 4, dtype=torch.float64).expand(12, 5, 4),
        "channels last in 3-d": torch.randn(12, 3, 2, 4, 4, dtype=torch.float64).contiguous(
            memory_format=torch.channels_last_3d
        ),
    }[kind]
    assert not currents.is_contiguous()
    state = (torch.randn_like(currents[:2]),)
    dense, own = currents.contiguous(), (state[0].contiguous(),)
    errors = torch.randn(currents.shape, dtype=torch.float64)
    assert_same(kernel.run(currents, state), kernel.run(dense, own))
    assert_same(kernel.slope(currents, state), kernel.slope(dense, own))
    assert_same(kernel.back(currents, state, errors, [errors[:2]]), kernel.back(dense, own, errors, [errors[:2]]))


class Model(nn.Module):
    """A synapse, the neurons, a readout."""

    def __init__(self, neuron: Neuron, between: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.below, self.neuron, self.readout = nn.Linear(6, 8), neuron, nn.Linear(8, 3)
        self.between = between
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.neuron(self.between(self.below(x))).flatten(1))


def sequence(steps: int = 5) -> tuple[Tensor, Tensor]:
    return torch.rand(steps, 4, 6, dtype=torch.float64) * 6, torch.randint(3, (4,))


def by_hand(net: Model, xs: Tensor, target: Tensor, cut: bool) -> tuple[Tensor, Tensor]:
    """Outputs, and the gradient of the mean loss, by a plain loop over time."""
    net.zero_grad()
    state, outputs, total = None, [], torch.zeros((), dtype=torch.float64)
    for x in xs:
        current = net.between(net.below(x))
        state = net.neuron.initial_state(current) if state is None else state
        spikes, state = net.neuron.dynamics(current, tuple(part.detach() if cut else part for part in state))
        outputs.append(net.readout(spikes.flatten(1)))
        total = total + cross_entropy(outputs[-1], target) / len(xs)
    total.backward()
    return torch.stack(outputs).detach(), torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def assert_runs_as_by_hand(neuron: Neuron) -> None:
    """The forward, BPTT and SLTT are the plain loop's; RateBP is BPTT at one step."""
    net, (xs, target) = Model(neuron), sequence()
    for rule, cut in ((rb.BPTT(), False), (rb.BPTT(chunk=2), False), (rb.SLTT(), True)):
        torch.manual_seed(5)
        outputs, expected = by_hand(net, xs, target, cut)
        torch.manual_seed(5)
        torch.testing.assert_close(flat_gradient(rule, net, xs, target), expected, rtol=0, atol=1e-12)
        torch.manual_seed(5)
        torch.testing.assert_close(rb.run(net, xs), outputs, rtol=0, atol=1e-12)
    torch.manual_seed(5)
    _, expected = by_hand(net, xs[:1], target, False)
    torch.manual_seed(5)
    torch.testing.assert_close(flat_gradient(rb.RateBP(), net, xs[:1], target), expected, rtol=0, atol=1e-12)
    assert expected.abs().max() > 1e-3


class Own(Neuron):
    """A neuron with one state, whose potential a subclass changes."""

    def initial_state(self, current: Tensor) -> State:
        return (torch.zeros_like(current, requires_grad=False),)

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * before + current

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential = self.potential(current, state[0])
        spikes = spike(potential - 1.0, Sigmoid())
        return spikes, (potential - spikes,)


class Deciding(Own):
    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * before + (current if float(current.detach().mean()) > 0 else 2 * current)


class Rolling(Own):
    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * torch.roll(before, 1, 1) + current


class Noisy(Own):
    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * before + current + 0.1 * torch.randn_like(current)


class Choosing(Own):
    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return torch.where(before > 0.2, 0.5 * before, 0.9 * before) + current


class Heterogeneous(Own):
    def __init__(self) -> None:
        super().__init__()
        self.decays = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return self.decays * before + current


class Pointwise(Own):
    """More than +, -, *, / on the potential itself."""

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        soft = torch.tanh(before) + torch.exp(-before.abs()) - torch.sqrt(before**2 + 1.0)
        return soft.clamp(-0.7, 0.6) + current


class Asserting(Own):
    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        assert isinstance(current, Tensor)
        return 0.5 * before + current


def deciding_on_one_value() -> Neuron:
    class Waking(Own):
        def potential(self, current: Tensor, before: Tensor) -> Tensor:
            return 0.5 * before + current * bool((current > -1e9).all())

    return Waking()


@pytest.mark.parametrize(
    "make",
    [rb.PLIF, Deciding, Rolling, Noisy, Choosing, Heterogeneous, deciding_on_one_value],
    ids=lambda make: make.__name__,
)
def test_what_is_more_than_pointwise_arithmetic_has_no_kernel_and_runs_as_it_is(make: Callable[[], Neuron]) -> None:
    neuron = make().double()
    assert kernel_of(neuron, torch.zeros(2, 8, dtype=torch.float64)) is None
    assert_runs_as_by_hand(neuron)


@pytest.mark.parametrize("make", [Own, Pointwise, rb.LIF, rb.ALIF, rb.CubaLIF], ids=lambda make: make.__name__)
def test_what_is_pointwise_runs_as_by_hand_too(make: Callable[[], Neuron]) -> None:
    assert_runs_as_by_hand(make())


def test_half_precision_other_devices_and_learned_parameters_have_no_kernel() -> None:
    assert kernel_of(rb.LIF(), torch.zeros(2, dtype=torch.bfloat16)) is None
    assert kernel_of(rb.LIF(), torch.zeros(2, device="meta")) is None
    assert kernel_of(rb.PLIF(), torch.zeros(2)) is None
    assert kernel_of(rb.LIF(), torch.zeros(2)) is not None


@dataclass(frozen=True)
class Graded(Surrogate):
    """Output and slope of all that kernels know."""

    sharpness: float = 1.3

    def spikes(self, distance: Tensor) -> Tensor:
        high = torch.sqrt(torch.square(distance) + 1.0) - torch.reciprocal(2.0 + torch.abs(distance)) ** 3
        low = torch.exp(-abs(distance)) * torch.tanh(distance).clamp(max=0.5) + torch.relu(distance) / 7
        return high + low + (distance > 0.3).to(distance.dtype) - (distance <= -0.2).to(distance.dtype)

    def __call__(self, distance: Tensor) -> Tensor:
        rising = (distance >= -1.0).to(distance.dtype) * torch.sigmoid(self.sharpness * distance)
        return (
            rising + (distance < 0.5).to(distance.dtype) * distance.clamp(-0.4, 0.9) ** 2 + (1 + distance.abs()) ** -2
        )


class TwoStates(Neuron):
    def initial_state(self, current: Tensor) -> State:
        return torch.zeros_like(current), torch.ones_like(current)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        fast, slow = state
        fast = 0.4 * fast - slow / 3 + current * (1.5 - slow)
        output = spike(fast - 0.3 * slow, Graded())
        return output, (fast - output * (fast - 0.1), 0.7 * slow + 0.1 * output.detach() + 0.05 * fast)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_neuron_of_ones_own_has_a_kernel_that_equals_its_dynamics(dtype: torch.dtype) -> None:
    neuron = TwoStates()
    kernel, currents, state = case(neuron, dtype, shape=(3, 7))
    assert not kernel.binary
    leaves = [currents.clone().requires_grad_(), *(part.clone().requires_grad_() for part in state)]
    outputs, states = plain(neuron, leaves[0], tuple(leaves[1:]))
    values = [torch.cat(outputs), *states[-1]]
    found, after = kernel.run(currents, state)
    torch.testing.assert_close([found, *after], [value.detach() for value in values], **CLOSE[dtype])
    errors = [torch.randn_like(value) for value in values]
    expected = torch.autograd.grad(values, leaves, errors)
    below, entering = kernel.back(currents, state, errors[0], errors[1:])
    size = max(1.0, float(expected[0].abs().max()))
    scaled = [gradient / size for gradient in (below, *entering)], [gradient / size for gradient in expected]
    torch.testing.assert_close(*scaled, rtol=0, atol=1e-12 if dtype is torch.float64 else 1e-4)
    if dtype is torch.float64:
        assert_runs_as_by_hand(neuron)


class Drawing(Own):
    """Draws a number, not a tensor."""

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * before + current + float(torch.rand(()))


class Scaled(Own):
    scale = 1.0

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return 0.5 * before + self.scale * current


def test_a_neuron_that_draws_numbers_has_no_kernel_and_the_look_at_it_draws_none() -> None:
    before = torch.get_rng_state()
    assert kernel_of(Drawing(), torch.zeros(2, 8)) is None
    assert kernel_of(Starting(), torch.zeros(2, 8)) is not None
    assert_same(torch.get_rng_state(), before)
    assert_runs_as_by_hand(Drawing())


def test_an_attribute_of_the_class_may_change_and_what_is_fixed_is_traced_once() -> None:
    neuron, current = Scaled(), torch.ones(1, 3)
    first = kernel_of(neuron, current)
    assert first is kernel_of(neuron, current)
    Scaled.scale = 0.5
    second = kernel_of(neuron, current)
    Scaled.scale = 1.0
    assert first is not None
    assert second is not None
    assert_same(first.run(current, (0 * current,))[0], current)
    assert_same(second.run(current, (0 * current,))[0], 0 * current)


@pytest.mark.parametrize("bad", [torch.zeros(1, 3), torch.zeros(2, 3).double(), torch.zeros(2, 4)])
def test_a_state_unlike_a_step_is_refused(bad: Tensor) -> None:
    kernel = kernel_of(rb.ALIF(0.5), torch.zeros(2, 3))
    assert kernel is not None
    with pytest.raises(ValueError, match="like one step"):
        kernel.run(torch.zeros(4, 3), (torch.zeros(2, 3), bad))


def test_what_the_dynamics_hide_from_autograd_is_hidden_from_the_response() -> None:
    neuron, currents = WithoutGraph(), torch.full((4, 1, 3), 0.6, dtype=torch.float64)
    rise = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    now, own, changes, gains = (rise.detach(),), (rise.detach(),), None, torch.zeros_like(currents[0])
    total = torch.zeros((), dtype=torch.float64)
    for current in currents:
        spikes, now = neuron.dynamics(current + rise, now)
        total = total + spikes.sum()
        with torch.no_grad():
            _, gain, own, changes = response(neuron, current, own, changes)
        gains = gains + gain
    torch.testing.assert_close(gains, torch.autograd.grad(total, rise)[0], rtol=0, atol=1e-12)
    assert_same(own, tuple(part.detach() for part in now))


def test_a_single_samples_stride_does_not_matter_to_the_response() -> None:
    currents = torch.randn(3, 4, 2, 2)
    kernel = kernel_of(rb.LIF(0.5), currents)
    assert kernel is not None
    step = torch.zeros(1, 4, 2, 2).as_strided((1, 4, 2, 2), (99, 1, 8, 4))
    spikes, _ = kernel.respond(currents, (torch.zeros(1, 4, 2, 2),), Response(kernel, step))
    assert_same(spikes, kernel.run(currents, (torch.zeros(1, 4, 2, 2),))[0])


def test_dual_numbers_are_not_compared() -> None:
    dual = Dual(torch.ones(2), 1.0)
    for compare in (operator.eq, operator.ne, operator.lt, operator.ge):
        for pair in ((dual, 0.0), (torch.ones(2), dual), (dual, dual)):
            with pytest.raises(TypeError):
                compare(*pair)
    with pytest.raises(TypeError):
        bool(dual)


@dataclass(frozen=True)
class Limited(Surrogate):
    """Output and slope by `relu` and `clamp`."""

    def spikes(self, distance: Tensor) -> Tensor:
        return torch.relu(distance)

    def __call__(self, distance: Tensor) -> Tensor:
        return distance.clamp(-1.0, 1.0)


def test_limits_let_nan_through() -> None:
    neuron, current = rb.LIF(0.5, surrogate=Limited()), torch.tensor([[torch.nan, 3.0, -3.0, 1.5]])
    kernel = kernel_of(neuron, current)
    assert kernel is not None
    spikes, slopes, _ = kernel.slope(current, (torch.zeros(1, 4),))
    assert_same((spikes, slopes), (torch.tensor([[torch.nan, 2.0, 0.0, 0.5]]), torch.tensor([[torch.nan, 1, -1, 0.5]])))


def test_a_changed_hyperparameter_is_seen_by_the_next_call() -> None:
    net, (xs, target) = Model(rb.ALIF(0.5)), sequence()
    seen = []
    changes: list[Callable[[Any], None]] = [
        lambda neuron: None,
        lambda neuron: setattr(neuron, "decay", 0.9),
        lambda neuron: setattr(neuron, "adaptation", 0.7),
        lambda neuron: setattr(neuron, "firing", replace(neuron.firing, threshold=0.6)),
        lambda neuron: setattr(neuron, "firing", replace(neuron.firing, reset="zero")),
        lambda neuron: setattr(neuron, "firing", replace(neuron.firing, surrogate="triangle")),
        lambda neuron: setattr(neuron, "firing", replace(neuron.firing, detach_reset=True)),
    ]
    for change in changes:
        change(net.neuron)
        outputs, expected = by_hand(net, xs, target, cut=False)
        torch.testing.assert_close(flat_gradient(rb.BPTT(), net, xs, target), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(rb.run(net, xs), outputs, rtol=0, atol=1e-12)
        seen.append(expected)
    assert all((one - other).norm() > 1e-6 for i, one in enumerate(seen) for other in seen[:i])


class Private(Own):
    def __init__(self) -> None:
        super().__init__()
        self._decay = 0.5

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return self._decay * before + current


class Buffered(Own):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("decay", torch.tensor(0.5))

    def potential(self, current: Tensor, before: Tensor) -> Tensor:
        return self.decay.item() * before + current  # type: ignore[operator]


class Wrapping(Neuron):
    """Another neuron, with twice its current."""

    def __init__(self, inner: Any = None) -> None:
        super().__init__()
        self.inner = inner or rb.LIF(0.5)

    def initial_state(self, current: Tensor) -> State:
        return self.inner.initial_state(current)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        return self.inner.dynamics(2 * current, state)


class Mutable(Surrogate):
    alpha = 1.0

    def __call__(self, distance: Tensor) -> Tensor:
        return self.alpha / (1 + self.alpha * distance.abs()) ** 2


@dataclass(eq=False)
class MutableData(Surrogate):
    alpha: float = 1.0

    def __call__(self, distance: Tensor) -> Tensor:
        return self.alpha / (1 + self.alpha * distance.abs()) ** 2


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (Private, lambda neuron: setattr(neuron, "_decay", 0.9)),
        (Buffered, lambda neuron: neuron.decay.fill_(0.9)),
        (Wrapping, lambda neuron: setattr(neuron.inner, "decay", 0.9)),
        (lambda: rb.LIF(surrogate=Mutable()), lambda neuron: setattr(neuron.firing.surrogate, "alpha", 9.0)),
        (lambda: rb.LIF(surrogate=MutableData()), lambda neuron: setattr(neuron.firing.surrogate, "alpha", 9.0)),
    ],
    ids=["private attribute", "buffer", "inner neuron", "surrogate", "surrogate that is a dataclass"],
)
def test_what_a_formula_is_made_of_may_lie_deeper(make: Callable[[], Neuron], change: Callable[[Any], None]) -> None:
    net, (xs, target) = Model(make()), sequence()
    seen = []
    for _ in range(2):
        _, expected = by_hand(net, xs, target, cut=False)
        torch.testing.assert_close(flat_gradient(rb.BPTT(), net, xs, target), expected, rtol=0, atol=1e-12)
        seen.append(expected)
        change(net.neuron)
    assert (seen[0] - seen[1]).norm() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [rb.LIF, rb.ALIF, rb.CubaLIF, lambda: rb.LIF(reset="zero")])
def test_nan_and_infinity_pass_as_in_the_dynamics(make: Callable[[], Neuron], dtype: torch.dtype) -> None:
    neuron = make()
    kernel, currents, state = case(neuron, dtype, shape=(3, 7))
    currents[::4] = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1e30, 0.0, -0.0], dtype=dtype)
    spikes, states = plain(neuron, currents, state)
    found, after = kernel.run(currents, state)
    assert_same((found, after), (torch.cat(spikes), states[-1]))
    assert after[-1].isnan().any() or states[-1][0].isnan().any()


# What a neuron may do that arithmetic on symbols does not show.


class Refractory(Neuron):
    """Deaf for one step after a spike, told by a comparison for equality."""

    def initial_state(self, current: Tensor) -> State:
        return torch.zeros_like(current), torch.zeros_like(current)

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential, tired = state
        potential = 0.5 * potential + current * (tired == 0)
        spikes = spike(potential - 1.0, Sigmoid())
        return spikes, (potential - spikes, spikes.detach())


class WithoutGraph(Own):
    """The reset without gradient, by `no_grad` in place of `detach`."""

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        potential = 0.5 * state[0] + current
        spikes = spike(potential - 1.0, Sigmoid())
        with torch.no_grad():
            taken = 1.0 * spikes
        return spikes, (potential - taken,)


class OneZero(Neuron):
    """Starts with the same tensor as both parts of its state."""

    def initial_state(self, current: Tensor) -> State:
        zero = torch.zeros_like(current)
        return zero, zero

    def dynamics(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        synaptic, potential = state
        synaptic = 0.5 * synaptic + current
        potential = 0.9 * potential + synaptic
        spikes = spike(potential - 1.0, Sigmoid())
        return spikes, (synaptic, potential - spikes)


class Shaped(Own):
    def initial_state(self, current: Tensor) -> State:
        samples, units = current.shape
        return (current.new_zeros(samples, units),)


class Broadcasting(Own):
    def initial_state(self, current: Tensor) -> State:
        return (torch.zeros_like(current[:1]),)


class Starting(Own):
    """Starts anywhere."""

    def initial_state(self, current: Tensor) -> State:
        return (torch.rand_like(current, requires_grad=False),)


@pytest.mark.parametrize(
    "make",
    [Refractory, WithoutGraph, OneZero, Shaped, Broadcasting, Starting, Asserting],
    ids=lambda make: make.__name__,
)
def test_a_neuron_that_plain_pytorch_runs_runs_the_same_with_kernels(make: Callable[[], Neuron]) -> None:
    assert_runs_as_by_hand(make())


def test_an_initial_state_that_the_neuron_keeps_is_not_overwritten() -> None:
    class Resting(Own):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rest", torch.full((4, 8), 0.3, dtype=torch.float64))

        def initial_state(self, current: Tensor) -> State:
            return (self.rest,)  # type: ignore[return-value]

    net, (xs, target) = Model(Resting()), sequence()
    for use in (
        lambda: rb.run(net, xs),
        *[lambda r=r: flat_gradient(r, net, xs, target) for r in (rb.SLTT(), rb.RateBP())],
    ):
        use()
        assert_same(net.neuron.rest, torch.full((4, 8), 0.3, dtype=torch.float64))


def test_kernels_get_only_tensors_of_the_dtype_and_size_of_the_currents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else would be read and written out of its bounds."""
    own = Kernel._call

    def watched(self: Kernel, function: Any, currents: Tensor, state: State, *arguments: Any) -> None:
        assert {part.dtype for part in state} == {currents.dtype}
        own(self, function, currents, state, *arguments)

    class Single(Own):
        def initial_state(self, current: Tensor) -> State:
            return (torch.zeros(current.shape, dtype=torch.float32),)

    monkeypatch.setattr(Kernel, "_call", watched)
    assert_runs_as_by_hand(Single())


BETWEEN = {
    "transposed": lambda x: x.view(len(x), 2, 4).transpose(1, 2),
    "strided": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "permuted": lambda x: x.view(len(x), 2, 2, 2).permute(0, 3, 1, 2),
    "channels last": lambda x: x.view(len(x), 2, 2, 2).contiguous(memory_format=torch.channels_last),
    "channels last in 3-d": lambda x: x.view(len(x), 2, 2, 2, 1).contiguous(memory_format=torch.channels_last_3d),
}


RULES = (rb.RateBP(), rb.RateBP(chunk=2), rb.SLTT(chunk=2), rb.BPTT(), rb.STLLR(), rb.OTTT())


@pytest.mark.parametrize(
    ("rule", "between"),
    [(rule, name) for rule in RULES for name in BETWEEN],
    ids=str,
)
def test_the_memory_order_of_the_currents_changes_no_gradient(
    rule: Any, between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (xs, target) = Model(rb.LIF(0.6, threshold=0.7), BETWEEN[between]), sequence()
    found = flat_gradient(rule, net, xs, target)
    for name, module in list(sys.modules.items()):
        if name.startswith("rheobase.") and vars(module).get("kernel_of") is kernel_of:
            monkeypatch.setattr(module, "kernel_of", lambda neuron, current: None)
    expected = flat_gradient(rule, net, xs, target)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert expected.abs().max() > 1e-3


def test_the_kernels_of_both_precisions_may_take_turns() -> None:
    neuron = rb.LIF(0.6)
    for dtype, size in product((torch.float32, torch.float64, torch.float32), (3, 300)):
        current = torch.randn(1, size, dtype=dtype)
        kernel = kernel_of(neuron, current)
        assert kernel is not None
        state = neuron.initial_state(current)
        assert_same(kernel.run(current, state), neuron.dynamics(current, state))

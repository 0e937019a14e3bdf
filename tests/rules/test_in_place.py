"""What a model changes in place is as if it had made new tensors, or is refused."""

from collections.abc import Callable, Iterator

import pytest
import torch
from networks import flat_gradient
from torch import Tensor, nn

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron
from rheobase.rules import Rule

EXACT = {"rtol": 0.0, "atol": 1e-12}
STEPS = 5
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(chunk=1),
    "bptt-checkpoint": rb.BPTT(checkpoint=2),
    "sltt": rb.SLTT(),
    "ottt": rb.OTTT(0.5),
    "s-tllr": rb.STLLR(decay_readout=0.5, last=3),
    "rate-bp": rb.RateBP(chunk=1),
}
every_rule = pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in RULES.items()])
Change = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scaled(x: Tensor) -> Tensor:
    x *= 0.7
    return x


def new(x: Tensor) -> Tensor:
    return x * 0.7


def lif() -> rb.LIF:
    return rb.LIF(0.5, threshold=0.4)


class Net(nn.Module):
    """`current` is done to the first current, `output` to what the first layer of neurons gives out."""

    def __init__(self, layer: nn.Module, current: Change = new, output: Change = new) -> None:
        super().__init__()
        self.below, self.layer, self.between, self.readout = nn.Linear(6, 8), layer, nn.Linear(8, 8), nn.Linear(8, 3)
        self.neuron, self.current, self.output = lif(), current, output

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.neuron(self.between(self.output(self.layer(self.current(self.below(x)))))))


def gradient(rule: Rule, make: Callable[[], nn.Module], steps: int = STEPS, constant: bool = False) -> Tensor:
    torch.manual_seed(1)
    net = make()
    x = 3 * torch.rand(1 if constant else steps, 4, 6)
    return flat_gradient(rule, net, rb.constant(x[0], steps) if constant else x, torch.randint(3, (4,)))


def recurrent() -> nn.Module:
    return rb.Recurrent(nn.Identity(), nn.Linear(8, 8), lif())


def feedback() -> nn.Module:
    return rb.Feedback(nn.Identity(), nn.Linear(8, 8), nn.Sequential(lif(), nn.Linear(8, 8), lif()), (8,))


def with_learned_leak() -> nn.Module:
    return rb.PLIF(0.6, threshold=0.4)


class Remembering(Neuron):
    """A neuron whose spikes are a part of its state."""

    def initial_state(self, current: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros_like(current), torch.zeros_like(current)

    def dynamics(self, current: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        potential = 0.5 * (1 - state[1]) * state[0] + current
        spikes = rb.spike(potential - 0.4, rb.Sigmoid())
        return spikes, (potential, spikes)


@pytest.mark.parametrize("layer", [lif, recurrent, feedback, with_learned_leak], ids=lambda f: f.__name__)
@every_rule
def test_what_a_layer_gives_out_may_be_changed_and_its_state_stays(rule: Rule, layer: Callable[[], nn.Module]) -> None:
    if layer is with_learned_leak and isinstance(rule, (rb.OTTT, rb.STLLR)):
        pytest.skip("refused")
    found, expected = (gradient(rule, lambda o=output: Net(layer(), output=o)) for output in (scaled, new))
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("layer", [lambda: rb.LI(0.8), Remembering], ids=["li", "own"])
def test_an_output_that_is_a_part_of_the_state_may_be_changed_without_kernels_too(
    chunk: int, layer: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rheobase.engine.kernel_of", lambda *_: None)
    for rule in (rb.SLTT(chunk=chunk), rb.BPTT(chunk=chunk), rb.RateBP(chunk=chunk)):
        found, expected = (gradient(rule, lambda o=output: Net(layer(), output=o)) for output in (scaled, new))
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("constant", [False, True])
@every_rule
def test_a_current_may_be_changed(rule: Rule, constant: bool) -> None:
    """S-TLLR's non-causal term passes through the change; a constant input's current is whole again at each step."""
    found, expected = (gradient(rule, lambda c=change: Net(lif(), c), constant=constant) for change in (scaled, new))
    torch.testing.assert_close(found, expected, **EXACT)


def written(x: Tensor) -> Tensor:
    whole = torch.zeros(x.shape)
    whole[:, :5] = x[:, :5]
    whole[:, 5:].copy_(x[:, 5:])
    return whole


@every_rule
def test_what_is_written_into_a_tensor_is_heard_as_it_is(rule: Rule) -> None:
    found, expected = (gradient(rule, lambda o=output: Net(lif(), output=o)) for output in (written, Tensor.clone))
    torch.testing.assert_close(found, expected, **EXACT)


def test_what_is_written_into_a_tensor_changes_over_time_for_rate_bp() -> None:
    for bend in (lambda x: torch.tanh(written(x)), torch.tanh):
        with pytest.raises(ValueError, match="'tanh' between neurons"):
            gradient(rb.RateBP(), lambda b=bend: Net(lif(), output=b))


class Scaling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return scaled(x)


@pytest.mark.parametrize("kind", [Scaling, lambda: nn.ReLU(inplace=True)], ids=["own", "relu"])
@every_rule
def test_an_input_changed_in_place_is_refused(rule: Rule, kind: Callable[[], nn.Module]) -> None:
    """Passes that see it again would see something else: a checkpoint's, RateBP's, the next step's of a constant."""
    net = nn.Sequential(kind(), nn.Linear(6, 8), lif(), nn.Linear(8, 3))
    for xs in (torch.rand(STEPS, 4, 6), list(torch.rand(STEPS, 4, 6))):
        with pytest.raises(RuntimeError, match="changes its input in place"):
            rule.backward(net, xs, torch.zeros(4, dtype=torch.long), loss=cross_entropy)
        with pytest.raises(RuntimeError, match="changes its input in place"):
            rb.run(net, xs)


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_constant_input_is_the_same_at_each_step_or_the_model_is_refused(chunk: int) -> None:
    net, x = nn.Sequential(Scaling(), nn.Linear(6, 8), lif(), nn.Linear(8, 3)), torch.rand(4, 6)
    expected = rb.run(nn.Sequential(rb.Scale(0.7), *net[1:]), rb.constant(x, 4))
    if chunk == 1:
        with pytest.raises(RuntimeError, match="changes its input in place"):
            rb.run(net, rb.constant(x, 4), chunk=chunk)
    else:
        torch.testing.assert_close(rb.run(net, rb.constant(x, 4), chunk=chunk), expected, **EXACT)

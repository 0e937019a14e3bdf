"""What every rule must pass, whatever its equations."""

import gc
import itertools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
import torch
from networks import flat_gradient, spiking_nets
from torch import Tensor, nn
from torch.autograd import gradcheck

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.measure.memory import training_memory
from rheobase.neurons import Neuron
from rheobase.rules import Rule
from rheobase.surrogates import Surrogate

EXACT = {"rtol": 0.0, "atol": 1e-12}
STEPS = 6
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "bptt-mean": rb.BPTT("mean_output"),
    "bptt-checkpoint": rb.BPTT(checkpoint=True),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "sltt-k": rb.SLTT(at=(1, 4)),
    "ottt": rb.OTTT(),
    "ottt-exact": rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
    "s-tllr-last": rb.STLLR(last=3, acausal=0.5),
    "s-tllr-dfa": rb.STLLR(signal="dfa"),
    "s-tllr-drtp": rb.STLLR(signal="drtp", decay_post=0.5, causal=0.7, acausal=0.3),
}
ONE_STEP = ("sltt", "ottt", "ottt-exact", "rate-bp", "s-tllr", "s-tllr-dfa")
EXACT_SIGNAL = [name for name in RULES if name not in ("sltt-k", "s-tllr-last", "s-tllr-dfa", "s-tllr-drtp")]
NETS = spiking_nets()


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(1)
    return NETS[request.param]()


@pytest.fixture(params=["changing", "constant"])
def sequence(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    target = torch.randint(3, (4,))
    if request.param == "constant":
        return rb.constant(torch.rand(4, 2, 6, 6) * 2, STEPS), target
    return torch.rand(STEPS, 4, 2, 6, 6) * 2, target


def every_rule(names: Any = tuple(RULES)) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", [pytest.param(RULES[name], id=name) for name in names])


def gradient(rule: Rule, net: nn.Module, sequence: tuple[Any, Any], **options: Any) -> Tensor:
    """The rule's gradient, the net's running statistics being put back afterwards."""
    return flat_gradient(rule, net, *sequence, **options)


def parts(net: nn.Module) -> list[Any]:
    """All that a call could leave behind in a model."""
    return [
        (name, sorted(vars(m)), m.training, list(m._forward_hooks), list(m._backward_hooks), sorted(m._buffers))
        for name, m in net.named_modules()
    ] + [(name, p.requires_grad, sorted(vars(p)), p._backward_hooks) for name, p in net.named_parameters()]


@every_rule()
def test_the_forward_is_untouched(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    result = rule.backward(net, *sequence, loss=cross_entropy)
    torch.testing.assert_close(result.outputs, rb.run(net, sequence[0]), **EXACT)
    assert not result.outputs.requires_grad
    assert not result.loss.requires_grad


@every_rule()
def test_nothing_is_left_behind(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    before = parts(net)
    rule.backward(net, *sequence, loss=cross_entropy)
    assert parts(net) == before
    assert torch.is_grad_enabled()
    assert not vars(sequence[0])


class Failing(nn.Module):
    """Raises at its third call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise ArithmeticError("third call")
        return x + 0


@every_rule()
def test_nothing_is_left_behind_when_the_model_raises(rule: Rule, sequence: tuple[Tensor, Tensor]) -> None:
    failing = Failing()
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), rb.LIF(), failing, nn.Linear(5, 3))
    before = parts(net)
    whole = any(f.name == "chunk" for f in fields(rule)) and not isinstance(rule, rb.TruncatedBPTT)  # type: ignore[arg-type]
    stepwise = type(rule)(**{**vars(rule), "chunk": 1}) if whole else rule
    with pytest.raises(ArithmeticError, match="third"):
        stepwise.backward(net, *sequence, loss=cross_entropy)
    failing.calls = 3
    assert [p for p in parts(net) if p[0] != "3"] == [p for p in before if p[0] != "3"]
    assert torch.is_grad_enabled()
    rule.backward(net, *sequence, loss=cross_entropy)


@every_rule(EXACT_SIGNAL)
def test_one_step_is_bptt(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    xs, target = sequence
    torch.testing.assert_close(
        gradient(rule, net, (xs[:1], target)), gradient(rb.BPTT(), net, (xs[:1], target)), **EXACT
    )


@every_rule()
def test_every_parameter_learns_and_two_calls_agree_and_add_up(
    rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    once = gradient(rule, net, sequence)
    assert all(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(gradient(rule, net, sequence), once, **EXACT)
    torch.testing.assert_close(gradient(rule, net, sequence, keep=True), 2 * once, **EXACT)


@every_rule()
def test_a_scaled_loss_scales_the_whole_gradient(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    """What loss scalers rely on; 8 is a power of two, so nothing is rounded."""
    expected = 8 * gradient(rule, net, sequence)
    scaled = gradient(rule, net, sequence, backward=lambda loss: (8 * loss).backward())
    torch.testing.assert_close(scaled, expected, **EXACT)


def test_the_papers_scales() -> None:
    net, sequence = NETS["linear"](), (torch.rand(STEPS, 4, 2, 6, 6), torch.randint(3, (4,)))
    for name, factor in {
        "rate-bp": 1 / STEPS,
        "ottt": 1.0,
        "sltt": 1.0,
        "sltt-k": 2 / STEPS,
        "s-tllr-last": 3.0,
    }.items():
        paper = type(RULES[name])(**{**vars(RULES[name]), "scale": "paper"})
        expected = factor * gradient(RULES[name], net, sequence)
        torch.testing.assert_close(gradient(paper, net, sequence), expected, **EXACT)


@every_rule()
def test_a_rule_is_a_value(rule: Rule) -> None:
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert eval(repr(rule), vars(rb)) == rule
    assert hash(rule) == hash(eval(repr(rule), vars(rb)))
    with pytest.raises(AttributeError):
        rule.chunk = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 2, 4, STEPS, STEPS + 3])
@every_rule()
def test_the_chunk_changes_no_gradient(rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor], size: int) -> None:
    if isinstance(rule, rb.TruncatedBPTT):
        size = min(size, rule.horizon)
    chunked = type(rule)(**{**vars(rule), "chunk": size})
    torch.testing.assert_close(gradient(chunked, net, sequence), gradient(rule, net, sequence), **EXACT)


@every_rule()
def test_what_is_computed_once_for_a_constant_input_changes_no_gradient_and_no_statistics(
    rule: Rule, net: nn.Module
) -> None:
    xs, target = rb.constant(torch.rand(4, 2, 6, 6) * 2, STEPS), torch.randint(3, (4,))
    torch.testing.assert_close(gradient(rule, net, (xs, target)), gradient(rule, net, (xs.clone(), target)), **EXACT)
    found = []
    for each in (xs, xs.clone()):
        torch.manual_seed(1)
        fresh = NETS["conv-norm-residual"]()
        rule.backward(fresh, each, target, loss=cross_entropy)
        found.append([b.clone() for b in fresh.buffers()])
    for hoisted, plain in zip(*found, strict=True):
        torch.testing.assert_close(hoisted, plain, **EXACT)


@every_rule([name for name in RULES if name != "truncated"])
def test_an_iterable_of_steps_is_as_good_as_a_tensor(rule: Rule, net: nn.Module) -> None:
    xs, target = torch.rand(STEPS, 4, 2, 6, 6), torch.randint(3, (4,))
    expected = gradient(rule, net, (xs, target))
    torch.testing.assert_close(gradient(rule, net, (list(xs), target)), expected, **EXACT)
    if rule not in (RULES["sltt-k"], RULES["s-tllr-last"]):
        torch.testing.assert_close(gradient(rule, net, (iter(xs), target)), expected, **EXACT)
        both = gradient(rule, net, (iter(xs), target), keep=True)
        torch.testing.assert_close(both, 2 * expected, **EXACT)
        failing = itertools.chain(iter(xs[:2]), iter([xs[2, :1]]))
        with pytest.raises(ValueError, match="every step of shape"):
            rule.backward(net, failing, target, loss=cross_entropy)
        kept = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        torch.testing.assert_close(kept, both, **EXACT)


@pytest.mark.parametrize("name", ["sltt", "ottt", "s-tllr"])
def test_online_rules_consume_a_stream_as_it_comes(name: str) -> None:
    net = NETS["linear"]()
    events = []

    def camera() -> Iterator[Tensor]:
        for t in range(4):
            events.append(f"step {t}")
            yield torch.rand(4, 2, 6, 6)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        events.append("loss")
        return cross_entropy(output, target)

    RULES[name].backward(net, camera(), torch.randint(3, (4,)), loss=loss)
    assert events == ["step 0", "loss", "step 1", "loss", "step 2", "loss", "step 3", "loss"]


@pytest.mark.parametrize("name", ["sltt", "ottt", "s-tllr"])
@pytest.mark.parametrize("kind", ["linear", "standardised", "recurrent"])
def test_updates_within_the_sequence_use_the_new_weights_at_the_next_step(name: str, kind: str) -> None:
    """OTTT-O: T updates; the same as T calls with given learning steps while the weights move."""
    xs, target = rb.constant(torch.rand(4, 2, 6, 6), 4), torch.randint(3, (4,))
    moved = []
    for each in (xs, xs.clone()):
        torch.manual_seed(1)
        net = NETS[kind]()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        seen = []

        def update(net: nn.Module = net, optimizer: Any = optimizer, seen: list[Tensor] = seen) -> None:
            optimizer.step()
            optimizer.zero_grad()
            seen.append(torch.cat([p.detach().flatten() for p in net.parameters()]))

        result = RULES[name].backward(net, each, target, loss=cross_entropy, after_step=update)
        assert len(seen) == 4
        assert all((a - b).norm() > 1e-6 for a, b in pairwise(seen))
        moved.append((seen[-1], result.outputs))
    torch.testing.assert_close(moved[0], moved[1], **EXACT)


@pytest.mark.parametrize("kind", ["linear", "conv-norm-residual", "standardised", "recurrent"])
@pytest.mark.parametrize("name", ONE_STEP)
def test_memory_does_not_grow_with_time(name: str, kind: str) -> None:
    torch.manual_seed(1)
    net, rule = NETS[kind](), RULES[name]
    target = torch.randint(3, (4,))
    used = {
        steps: training_memory(rule, net, rb.constant(torch.rand(4, 2, 6, 6), steps).clone(), target, cross_entropy)
        for steps in (2, 8, 32, 512)
    }
    assert len({used[steps].kept for steps in (8, 32, 512)}) == 1
    assert used[2].kept <= used[8].kept
    outputs = 512 * 4 * 3 * 8  # what is asked for: all outputs, stacked
    assert used[512].peak <= used[32].peak + 2.5 * outputs


def test_memory_of_bptt_grows_with_time_and_checkpoints_bound_it() -> None:
    net, target = NETS["conv-norm-residual"](), torch.randint(3, (4,))

    def kept(rule: Rule, steps: int) -> int:
        return training_memory(rule, net, torch.rand(steps, 4, 2, 6, 6), target, cross_entropy).kept

    assert kept(rb.BPTT(), 64) > 7 * kept(rb.BPTT(), 8)
    assert kept(rb.BPTT(checkpoint=8), 64) < kept(rb.BPTT(), 64) / 4
    assert kept(rb.TruncatedBPTT(2), 64) == kept(rb.TruncatedBPTT(2), 8)


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (rb.BPTT(), rb.TruncatedBPTT(STEPS)),
        (rb.BPTT(), rb.BPTT(checkpoint=2)),
        (rb.BPTT("mean_output"), rb.BPTT("mean_output", checkpoint=4)),
        (rb.SLTT(), rb.TruncatedBPTT(1)),
        (rb.SLTT(), rb.OTTT(trace_decay=0.0)),
        (rb.SLTT(), rb.SLTT(steps=STEPS)),
        (rb.SLTT(), rb.SLTT(at=range(STEPS))),  # type: ignore[arg-type]
        (rb.SLTT(at=(4, 5)), rb.STLLR(decay_pre=0.0, acausal=0.0, decay_readout=0.0, last=2)),
        (rb.OTTT(input_trace=True, readout_trace=False), rb.STLLR(decay_pre=0.5, acausal=0.0)),
        (rb.STLLR(), rb.Online(rb.rules.Traces(0.75, 0.2, 1.0, -1.0))),
    ],
    ids=str,
)
def test_a_rule_contains_its_special_case(
    special: Rule, general: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    torch.testing.assert_close(gradient(special, net, sequence), gradient(general, net, sequence), **EXACT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rb.BPTT(), rb.TruncatedBPTT(STEPS - 1)),
        (rb.SLTT(), rb.TruncatedBPTT(2)),
        (rb.SLTT(), rb.OTTT(trace_decay=0.1)),
        (rb.SLTT(), rb.SLTT(at=range(1, STEPS))),  # type: ignore[arg-type]
        (rb.OTTT(input_trace=True, readout_trace=False), rb.STLLR(decay_pre=0.5, acausal=0.1)),
        (rb.OTTT(), rb.OTTT(bias_trace=True)),
    ],
    ids=str,
)
def test_and_differs_from_it_elsewhere(one: Rule, other: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]) -> None:
    a, b = gradient(one, net, sequence), gradient(other, net, sequence)
    assert (a - b).norm() > 1e-4 * a.norm()


def test_random_steps_average_to_the_whole() -> None:
    """SLTT-K: the mean over all subsets of K of T steps, in the paper's scale, is K / T of SLTT's gradient."""
    net, xs, target = NETS["linear"](), torch.rand(4, 4, 2, 6, 6), torch.randint(3, (4,))
    pairs = [(i, j) for i in range(4) for j in range(i)]
    paper = sum(gradient(rb.SLTT(at=pair, scale="paper"), net, (xs, target)) for pair in pairs) / len(pairs)
    mean = sum(gradient(rb.SLTT(at=pair), net, (xs, target)) for pair in pairs) / len(pairs)
    whole = gradient(rb.SLTT(), net, (xs, target))
    torch.testing.assert_close(paper, whole * 2 / 4, **EXACT)
    torch.testing.assert_close(mean, whole, **EXACT)
    drawn = {tuple(gradient(rb.SLTT(steps=2), net, (xs, target)).tolist()) for _ in range(30)}
    assert len(drawn) == 6


class Smooth(Surrogate):
    """Graded "spikes" whose derivative is the true one."""

    def spikes(self, distance: Tensor) -> Tensor:
        return torch.sigmoid(2 * distance)

    def __call__(self, distance: Tensor) -> Tensor:
        z = torch.sigmoid(2 * distance)
        return 2 * z * (1 - z)


@pytest.mark.parametrize("make", [rb.LIF, rb.ALIF, rb.CubaLIF, rb.PLIF, rb.IF], ids=lambda make: make.__name__)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.BPTT("mean_output", checkpoint=2)], ids=str)
def test_bptt_is_the_numerical_derivative_for_smooth_spikes(make: Any, reset: Any, rule: Rule) -> None:
    net = nn.Sequential(
        nn.Flatten(), rb.Recurrent(nn.Linear(4, 3), nn.Linear(3, 3), make(reset=reset, surrogate=Smooth())),
        rb.WSLinear(3, 3), nn.BatchNorm1d(3), make(reset=reset, surrogate=Smooth()), nn.Linear(3, 2), rb.LI(0.5),
    )  # fmt: skip
    xs, target = torch.rand(3, 4, 4), torch.randint(2, (4,))
    names = [name for name, _ in net.named_parameters()]

    class Total(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *values: Tensor) -> Tensor:
            for name, value in zip(names, values, strict=True):
                net.get_parameter(name).data = value.detach().clone()
            net.zero_grad()
            with torch.enable_grad():
                result = rule.backward(net, xs, target, loss=cross_entropy)
            ctx.grads = [net.get_parameter(name).grad.clone() for name in names]  # type: ignore[union-attr]
            return result.loss

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
            return tuple(grad * g for g in ctx.grads)

    values = [net.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert gradcheck(Total.apply, values, atol=1e-6)


@pytest.mark.parametrize("make", [rb.IF, rb.ALIF, rb.CubaLIF, rb.PLIF, rb.LIF], ids=lambda make: make.__name__)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_every_neuron_runs_under_every_rule_that_does_not_refuse_it(
    make: Callable[..., Neuron], reset: Any, sequence: tuple[Tensor, Tensor]
) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 6), make(reset=reset), nn.Linear(6, 5), make(reset=reset))
    net.append(nn.Linear(5, 3))
    xs, target = sequence
    exact, rate = gradient(rb.BPTT("mean_output"), net, sequence), gradient(rb.RateBP(), net, sequence)
    assert torch.cosine_similarity(exact, rate, 0) > 0.9
    assert (exact - rate).norm() > 1e-6
    torch.testing.assert_close(gradient(rb.SLTT(), net, sequence), gradient(rb.TruncatedBPTT(1), net, sequence))
    traced = {rb.PLIF: "parameters that learn", rb.CubaLIF: "membrane decays"}.get(make)  # type: ignore[call-overload]
    if traced:
        with pytest.raises(ValueError, match=traced):
            gradient(rb.OTTT(), net, sequence)
    else:
        gradient(rb.OTTT(), net, sequence)
    if make is not rb.PLIF:
        torch.testing.assert_close(gradient(rb.OTTT(0.0), net, sequence), gradient(rb.SLTT(), net, sequence))
        one = (xs[:1], target)
        torch.testing.assert_close(gradient(rb.STLLR(), net, one), gradient(rb.BPTT(), net, one))


def test_a_learned_decay_gets_the_rate_gradient_of_a_shift_that_lasts() -> None:
    """RateBP gives PLIF's leak the derivative of the rate: for one neuron and a linear readout that is BPTT's."""
    net = nn.Sequential(nn.Linear(3, 2), rb.PLIF(0.6), nn.Linear(2, 3))
    xs, target = torch.rand(8, 4, 3) * 2, torch.randint(3, (4,))
    gradient(rb.BPTT("mean_output"), net, (xs, target))
    exact = net[1].leak.grad.clone()  # type: ignore[union-attr, operator]
    gradient(rb.RateBP(), net, (xs, target))
    torch.testing.assert_close(net[1].leak.grad, exact, **EXACT)
    assert exact.abs() > 1e-6


def test_a_dropout_mask_is_shared_by_the_steps_and_the_passes() -> None:
    masked = nn.Sequential(rb.TimeSharedDropout(0.5))
    with torch.no_grad():
        outputs = rb.run(nn.Sequential(masked, nn.Linear(50, 5), rb.LIF()), torch.ones(3, 2, 50))
    net = nn.Sequential(nn.Linear(4, 40), rb.LIF(), rb.TimeSharedDropout(0.5), nn.Linear(40, 3))
    xs, target = torch.rand(5, 2, 4) * 3, torch.randint(3, (2,))
    for rule in (rb.RateBP(), rb.BPTT("mean_output"), rb.SLTT(), rb.BPTT(checkpoint=2)):
        net.zero_grad()
        torch.manual_seed(7)
        result = rule.backward(net, xs, target, loss=cross_entropy)
        torch.manual_seed(7)
        torch.testing.assert_close(result.outputs, rb.run(net, xs), **EXACT)
    torch.manual_seed(7)
    grads = gradient(rb.BPTT("mean_output"), net, (xs[:1], target))
    torch.manual_seed(7)
    torch.testing.assert_close(gradient(rb.RateBP(), net, (xs[:1], target)), grads, **EXACT)
    net.eval()
    assert (rb.run(net, xs) - result.outputs).abs().max() > 1e-3
    assert outputs.shape == (3, 2, 5)


def test_the_mean_jacobian_of_max_pooling_is_the_mean_over_the_steps() -> None:
    """One layer before the pool, a linear readout after it: RateBP's weight gradient of the readout is exact, and at
    one step all is; the layer before gets the mean Jacobian."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), rb.LIF(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(12, 3))
    xs, target = torch.rand(4, 5, 2, 6, 6) * 3, torch.randint(3, (5,))
    gradient(rb.BPTT("mean_output"), net, (xs, target))
    readout, below = net[4].weight.grad.clone(), net[0].weight.grad.clone()  # type: ignore[union-attr, operator]
    gradient(rb.RateBP(), net, (xs, target))
    torch.testing.assert_close(net[4].weight.grad, readout, **EXACT)
    assert torch.cosine_similarity(net[0].weight.grad.flatten(), below.flatten(), 0) > 0.9  # type: ignore[union-attr, operator]
    one = (xs[:1], target)
    torch.testing.assert_close(gradient(rb.RateBP(), net, one), gradient(rb.BPTT(), net, one), **EXACT)


@pytest.mark.parametrize(
    ("synapse", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 8, 8)),
        (nn.Conv2d(4, 6, 3, padding="same", bias=False), (4, 8, 8)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (4, 4, 4)),
        (nn.Conv1d(4, 6, 3), (4, 9)),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4)),
        (nn.Linear(4, 6), (5, 4)),
        (rb.WSConv2d(4, 6, 3, groups=2, stride=2), (4, 8, 8)),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), (4, 8, 8)),
    ],
    ids=str,
)
def test_every_kind_of_synapse_is_credited(synapse: nn.Module, shape: tuple[int, ...]) -> None:
    """One forward of each, with the weight gradient from the trace: at decay 0 that is SLTT, and chunks agree."""
    units = synapse.double()(torch.rand(1, *shape)).numel()
    net = nn.Sequential(rb.Scale(1.0), synapse, rb.LIF(0.5, threshold=0.3), nn.Flatten(), nn.Linear(units, 3)).double()
    xs, target = torch.rand(4, 3, *shape) * 3, torch.randint(3, (3,))
    expected = gradient(rb.SLTT(), net, (xs, target))
    assert expected.abs().sum() > 1e-3
    none = rb.Online(rb.rules.Traces(decay_pre=0.0))
    torch.testing.assert_close(gradient(none, net, (xs, target)), expected, **EXACT)
    for rule in (rb.OTTT(input_trace=True, bias_trace=True), rb.STLLR()):
        chunked = type(rule)(**{**vars(rule), "chunk": 3})
        torch.testing.assert_close(gradient(rule, net, (xs, target)), gradient(chunked, net, (xs, target)), **EXACT)
        assert (gradient(rule, net, (xs, target)) - expected).norm() > 1e-3 * expected.norm()
    one = (xs[:1], target)
    torch.testing.assert_close(gradient(rb.RateBP(), net, one), gradient(rb.BPTT(), net, one), **EXACT)


@pytest.mark.parametrize("input_trace", [True, False])
def test_a_chain_of_synapses_without_a_neuron_between_is_credited_as_their_product(input_trace: bool) -> None:
    """All weights between the last two layers of neurons get BPTT's gradient (reset detached), as one weight would."""
    first = rb.LIF(0.5, threshold=0.4, detach_reset=True)
    last = rb.LIF(0.8, threshold=0.3, detach_reset=True)
    chain = [nn.Linear(6, 5), nn.Linear(5, 7), nn.Linear(7, 4)]
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 6), first, *chain, last, nn.Linear(4, 3))
    xs, target = torch.rand(STEPS, 4, 2, 6, 6) * 3, torch.randint(3, (4,))
    found = []
    for rule in (rb.BPTT(), rb.OTTT(input_trace=input_trace, readout_trace=False), rb.SLTT()):
        gradient(rule, net, (xs, target))
        found.append(torch.cat([layer.weight.grad.flatten() for layer in chain]))  # type: ignore[union-attr]
    exact, ottt, sltt = found
    torch.testing.assert_close(ottt, exact, **EXACT)
    assert (sltt - exact).norm() > 1e-2 * exact.norm()


@pytest.mark.parametrize("rule", [*RULES.values(), rb.OTTT(input_trace=True)], ids=str)
def test_a_linear_path_from_input_to_output_gets_the_gradient_of_each_step(rule: Rule) -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.neuron, self.readout = nn.Linear(72, 5), rb.LIF(0.5), nn.Linear(5, 3)
            self.beside = nn.Linear(72, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return self.readout(self.neuron(self.below(x))) + self.beside(x)

    net, xs, target = Beside(), torch.rand(STEPS, 4, 2, 6, 6), torch.randint(3, (4,))
    exact = rb.SLTT(at=rule.at) if isinstance(rule, rb.SLTT) else rule.exact
    if isinstance(rule, rb.STLLR) and rule.last:
        exact = rb.SLTT(at=range(STEPS - rule.last, STEPS))  # type: ignore[arg-type]
    gradient(exact, net, (xs, target))
    expected = net.beside.weight.grad.clone()  # type: ignore[union-attr]
    gradient(rule, net, (xs, target))
    torch.testing.assert_close(net.beside.weight.grad, expected, **EXACT)


class Tied(nn.Module):
    """One synapse, one norm and one pool at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.MaxPool2d(3, 1, 1)
        self.neurons = nn.ModuleList([rb.LIF(0.5, threshold=0.3), rb.LIF(0.7, threshold=0.4)])
        self.readout = nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        for neuron in self.neurons:
            x = self.pool(neuron(self.norm(self.conv(x))))
        return self.readout(x.flatten(1))


@every_rule(("bptt-mean", "sltt", "rate-bp"))
def test_a_layer_without_state_may_be_used_twice_in_a_step(rule: Rule, sequence: tuple[Tensor, Tensor]) -> None:
    net, (xs, target) = Tied(), sequence
    one = (xs[:1], target)
    torch.testing.assert_close(gradient(rule, net, one), gradient(rb.BPTT(), net, one), **EXACT)
    chunked = type(rule)(**{**vars(rule), "chunk": 4})
    torch.testing.assert_close(gradient(chunked, net, sequence), gradient(rule, net, sequence), **EXACT)
    exact = gradient(rb.BPTT("mean_output"), net, sequence)
    assert torch.cosine_similarity(gradient(rule, net, sequence), exact, 0) > 0.9


@every_rule()
def test_calls_leave_no_tensor_behind_even_without_the_garbage_collector(
    rule: Rule, net: nn.Module, sequence: tuple[Tensor, Tensor]
) -> None:
    def tensors() -> int:
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    gradient(rule, net, sequence)
    gc.collect()
    before = tensors()
    gc.disable()
    try:
        for _ in range(3):
            gradient(rule, net, sequence)
        assert tensors() <= before
    finally:
        gc.enable()


@pytest.mark.parametrize("chunk", [1, 4])
def test_parts_combine_into_rules_without_a_paper(net: nn.Module, sequence: tuple[Tensor, Tensor], chunk: int) -> None:
    """Traces with direct feedback at given steps: by linearity the steps' gradients add up."""
    traces, feedback = rb.rules.Traces(0.5, on_bias=True), rb.rules.DirectFeedback("sign", seed=3)

    def at(*steps: int) -> Tensor:
        rule = rb.Online(traces, feedback, rb.rules.GivenSteps(steps), average="nothing", chunk=chunk)
        return gradient(rule, net, sequence)

    torch.testing.assert_close(at(1) + at(2) + at(4), at(1, 2, 4), **EXACT)
    backprop = rb.Online(traces, schedule=rb.rules.GivenSteps((1, 2, 4)), average="nothing")
    assert (gradient(backprop, net, sequence) - at(1, 2, 4)).norm() > 1e-3
    random = rb.Online(traces, feedback, rb.rules.RandomSteps(2), chunk=chunk)
    assert gradient(random, net, sequence).abs().sum() > 0

"""Half precision where it pays: synapses in half precision, state, traces and sums over time in float32."""

import math
from typing import Any

import pytest
import torch
from networks import spiking_nets
from torch import Tensor, nn

import rheobase as rb
from rheobase import engine
from rheobase.datasets import load
from rheobase.engine import Sweep
from rheobase.kernels import bits
from rheobase.layers import Loop
from rheobase.losses import cross_entropy
from rheobase.precision import Precision
from rheobase.rules.eligibility import Traces
from rheobase.rules.rate_pass import SpikePass
from rheobase.rules.rule import Rule
from rheobase.rules.trace_pass import Trace, TraceTreatment

CPU = torch.device("cpu")
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
RULES: dict[str, Rule] = {
    "bptt": rb.BPTT(),
    "bptt-by-steps": rb.BPTT(chunk=1),
    "bptt-mean": rb.BPTT("mean_output"),
    "bptt-checkpoint": rb.BPTT(checkpoint=2),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "sltt-k": rb.SLTT(at=(2, 5)),
    "ottt": rb.OTTT(),
    "ottt-exact": rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True),
    "ottt-chunk": rb.OTTT(input_trace=True, bias_trace=True, chunk=3),
    "rate-bp": rb.RateBP(),
    "s-tllr": rb.STLLR(),
    "s-tllr-last": rb.STLLR(last=2),
    "s-tllr-dfa": rb.STLLR(signal="dfa"),
    "s-tllr-drtp": rb.STLLR(signal="drtp"),
    "s-tllr-sdfa": rb.STLLR(signal="sdfa"),
    "online": rb.Online(Traces(decay_pre=0.7, decay_post=0.3, acausal=0.5), chunk=2),
}
WITHOUT_TRACES = {"bptt", "bptt-by-steps", "bptt-mean", "bptt-checkpoint", "truncated", "sltt", "sltt-k", "rate-bp"}
NETS = spiking_nets() | {
    "max-pool": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), rb.LIF(0.5, threshold=0.3), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1),
        rb.LIF(0.5, threshold=0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ),
    "plif": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 6), rb.PLIF(0.5), nn.Linear(6, 3)),
}  # fmt: skip

every_rule = pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in RULES.items()])
both_halves = pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)


def pairs() -> list[Any]:
    return [
        pytest.param(rule, net, id=f"{name}-{kind}")
        for name, rule in RULES.items()
        for kind, net in NETS.items()
        if kind != "plif" or name in WITHOUT_TRACES
    ]


@pytest.fixture(params=["kernels", "plain"])
def _neurons(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Neurons as compiled kernels, and as plain PyTorch."""
    if request.param == "plain":
        monkeypatch.setattr(engine, "kernel_of", lambda neuron, current: None)
    return str(request.param)


def sequence(constant: bool = False) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    xs = torch.rand(6, 8, 2, 6, 6) * 2
    return rb.constant(xs[0], 6) if constant else xs, torch.randint(3, (8,))


def exact_in_half(net: nn.Module, of: float = 16.0) -> nn.Module:
    """With weights and biases that are multiples of 1 / `of`: with spikes as input no current is rounded."""
    with torch.no_grad():
        for p in net.parameters():
            p.copy_((p * of).round() / of)
    return net


def gradients(rule: Rule, net: nn.Module, xs: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The gradient as one vector, None as zeros."""
    net.zero_grad()
    rule.backward(net, xs, target, loss=cross_entropy, **options)
    assert all(p.grad is None or p.grad.dtype == p.dtype == torch.float32 for p in net.parameters())
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in net.parameters()])


def made(kind: Any) -> nn.Module:
    torch.manual_seed(1)
    return kind()


@pytest.mark.parametrize("_neurons", ["plain"], indirect=True)
@pytest.mark.parametrize("half", HALVES.values(), ids=str)
def test_statistics_of_what_is_computed_once_move_without_autograd_minding(
    half: torch.dtype, _neurons: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no hooks of ours stand in for autograd's own checks, as with PyTorch 2.6."""
    with torch.autocast("cpu", half):
        expected = gradients(rb.BPTT(), made(NETS["conv-norm-residual"]), *sequence(constant=True))
        monkeypatch.setattr(bits, "_top_hooks", None)
        found = gradients(rb.BPTT(), made(NETS["conv-norm-residual"]), *sequence(constant=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("_neurons", ["kernels", "plain"], indirect=True)
@pytest.mark.parametrize(("rule", "kind"), pairs())
def test_the_gradient_under_autocast_is_nearly_that_of_float32(rule: Rule, kind: Any, _neurons: str) -> None:
    """What separates them are single spikes that a rounded current brings over the threshold, or keeps below it."""
    constant = _neurons == "plain"  # once each
    full = gradients(rule, made(kind), *sequence(constant))
    for half in HALVES.values():
        with torch.autocast("cpu", half):
            found = gradients(rule, made(kind), *sequence(constant))
        assert not torch.equal(found, full)
        assert torch.cosine_similarity(found, full, 0) > 0.95
        assert 0.9 < found.norm() / full.norm() < 1.1


@both_halves
@pytest.mark.parametrize("kind", [NETS["linear"], NETS["recurrent"]], ids=["linear", "recurrent"])
@every_rule
def test_where_no_current_is_rounded_spikes_are_those_of_float32_and_gradients_too(
    rule: Rule, kind: Any, half: torch.dtype
) -> None:
    """But for the rounding of each product, to 2^-9 in bfloat16, of which the gradient is a mean."""
    net, (xs, target) = exact_in_half(made(kind)), sequence()
    spikes = (xs > 1.6).float()
    full = gradients(rule, net, spikes, target)
    outputs = rb.run(net, spikes)
    with torch.autocast("cpu", half):
        found = gradients(rule, net, spikes, target)
        torch.testing.assert_close(rb.run(net, spikes).float(), outputs, rtol=2**-7, atol=2**-7)
    assert (found - full).norm() / full.norm() < 2**-7


@pytest.mark.parametrize("constant", [False, True], ids=["changing", "constant"])
@pytest.mark.parametrize(
    "rule",
    [
        rb.BPTT(), rb.BPTT(chunk=1), rb.BPTT(checkpoint=True), rb.TruncatedBPTT(50), rb.SLTT(), rb.SLTT(chunk=8),
        rb.OTTT(trace_decay=1.0, input_trace=True, bias_trace=True), rb.RateBP(), rb.STLLR(signal="sdfa"),
        rb.STLLR(decay_pre=1.0, decay_post=1.0, acausal=0.5, chunk=8),
    ],
    ids=str,
)  # fmt: skip
def test_sums_over_many_steps_do_not_stall(rule: Rule, constant: bool) -> None:
    """Of 400 equal steps, where a sum in bfloat16 stops at 256: in bfloat16 257 = 256."""
    steps = 400
    torch.manual_seed(3)
    body = rb.Recurrent(nn.Linear(2, 4), nn.Linear(4, 4, bias=False), rb.LIF(0.5, threshold=0.5))
    net = exact_in_half(nn.Sequential(body, nn.Linear(4, 2)))
    x = torch.tensor([[1.0, 0.5]])
    xs = rb.constant(x, steps) if constant else torch.stack([x] * steps)
    sizes = [p.numel() for p in net.parameters()]
    full = gradients(rule, net, xs, torch.tensor([1])).split(sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(rule, net, xs, torch.tensor([1])).split(sizes)
    for expected, grad in zip(full, found, strict=True):
        assert expected.norm() > 0
        assert (grad - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize(("rule", "kind"), pairs())
def test_state_traces_and_means_are_in_float32(rule: Rule, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Tensor] = []

    def leave(sweep: Sweep, *error: Any) -> None:
        kept.extend(part for m, state in sweep.states.items() if not isinstance(m, Loop) for part in state)
        if isinstance(sweep.treatment, TraceTreatment):
            traces: list[Trace] = [*sweep.treatment._pre.values(), *sweep.treatment._bias.values()]
            kept.extend(trace.last for trace in traces if isinstance(trace.last, Tensor))
            kept.extend(sweep.treatment._post.values())
        if isinstance(sweep.treatment, SpikePass):
            kept.extend(sweep.treatment._means._sums.values())
        left(sweep, *error)

    left = Sweep.__exit__
    monkeypatch.setattr(Sweep, "__exit__", leave)
    with torch.autocast("cpu", torch.bfloat16):
        result = rule.backward(made(kind), *sequence(), loss=cross_entropy)
    assert result.outputs.dtype == torch.bfloat16
    assert result.loss.dtype == torch.float32
    assert kept
    assert {part.dtype for part in kept} == {torch.float32}


@pytest.mark.parametrize(("rule", "kind"), pairs())
def test_evaluation_sees_the_outputs_that_training_saw(rule: Rule, kind: Any) -> None:
    net, (xs, target) = made(kind).eval(), sequence()
    with torch.autocast("cpu", torch.bfloat16):
        seen = rule.backward(net, xs, target, loss=cross_entropy).outputs
        assert torch.equal(rb.run(net, xs), seen)
    assert not torch.equal(rb.run(net, xs), seen.float())


def test_an_update_within_the_sequence_is_seen_at_the_next_step() -> None:
    """Autocast by itself goes on with the weights it has cast."""
    net = nn.Sequential(nn.Linear(2, 4, bias=False), rb.LIF(), nn.Linear(4, 2, bias=False))

    def erase() -> None:
        for p in net.parameters():
            nn.init.zeros_(p)

    with torch.autocast("cpu", torch.bfloat16):
        for rule in (rb.SLTT(), rb.OTTT(), rb.TruncatedBPTT(1)):
            nn.init.ones_(net[0].weight), nn.init.ones_(net[2].weight)
            result = rule.backward(net, torch.ones(3, 1, 2), torch.tensor([0]), loss=cross_entropy, after_step=erase)
            assert result.outputs[0].all()
            assert not result.outputs[1:].any()


@every_rule
def test_backward_passes_run_outside_of_autocast(rule: Rule) -> None:
    seen = []

    def backward(total: Tensor) -> None:
        seen.append(torch.is_autocast_enabled("cpu"))
        total.backward()

    with torch.autocast("cpu", torch.bfloat16):
        rule.backward(made(NETS["linear"]), *sequence(), loss=cross_entropy, backward=backward)
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()
    assert seen
    assert not any(seen)


@pytest.mark.parametrize(("rule", "kind"), pairs())
def test_what_was_scaled_by_a_power_of_two_is_the_same_once_unscaled(rule: Rule, kind: Any) -> None:
    precision, net = Precision("float16", CPU), made(kind)
    plain = gradients(rule, made(kind), *sequence())
    scaled = gradients(rule, net, *sequence(), backward=precision.backward)
    assert torch.equal(scaled, plain * 2.0**16)
    precision.unscale(torch.optim.SGD(net.parameters(), lr=0.1))
    assert torch.equal(
        torch.cat([(p.grad if p.grad is not None else p * 0).flatten() for p in net.parameters()]), plain
    )


@every_rule
def test_a_scaler_keeps_the_gradients_that_float16_would_lose(rule: Rule) -> None:
    """Errors of 1e-8 are below float16's smallest number, 6e-8, and below its normal ones, 6e-5, even at 1e-5."""
    size = 1e-6
    net, (xs, target) = exact_in_half(made(NETS["linear"])), sequence()
    spikes, optimizer = (xs > 1.6).float(), torch.optim.SGD(net.parameters(), lr=0.1)

    def found(precision: Precision, scaled: bool) -> Tensor:
        optimizer.zero_grad()
        with precision.autocast():
            rule.backward(
                net, spikes, target, loss=lambda output, goal: size * cross_entropy(output, goal),
                backward=precision.backward if scaled else Tensor.backward,
            )  # fmt: skip
        if scaled:
            precision.unscale(optimizer)
        return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])

    full = found(Precision("float32", CPU), scaled=True)
    kept = found(Precision("float16", CPU), scaled=True)
    assert (kept - full).norm() / full.norm() < 0.01
    if rule not in (rb.RateBP(), rb.STLLR(signal="drtp")):  # backward in float32; errors of the target's size
        lost = found(Precision("float16", CPU), scaled=False)
        assert (lost - full).norm() / full.norm() > 0.03


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_without_a_scaler_the_optimiser_steps_always(name: Any) -> None:
    precision, weight = Precision(name, CPU), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with precision.autocast():
        precision.backward((3 * weight).sum())
    precision.unscale(optimizer)
    assert precision.scale() == 1
    assert precision.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.7))


def test_an_overflow_skips_the_step_and_lowers_the_scale() -> None:
    precision, weight = Precision("float16", CPU), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    precision.backward((1e37 * weight).sum())
    assert not precision.step(optimizer)
    assert torch.equal(weight, torch.ones(2))
    assert precision.scale() == 2.0**15
    optimizer.zero_grad()
    precision.backward((3 * weight).sum())
    assert precision.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.7))


def test_gradients_can_be_clipped_between_unscaling_and_the_step() -> None:
    precision, weight = Precision("float16", CPU), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision.backward((5 * weight).sum())
    precision.unscale(optimizer)
    assert nn.utils.clip_grad_norm_([weight], 0.5) == 5
    precision.step(optimizer)
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.5]))


def test_looking_at_the_gradient_more_than_once_or_when_there_is_none_changes_nothing() -> None:
    precision, weight = Precision("float16", CPU), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision.unscale(optimizer)
    assert precision.step(optimizer)
    for turn in range(1, 3):
        optimizer.zero_grad()
        precision.unscale(optimizer)
        precision.backward((5 * weight).sum())
        precision.unscale(optimizer)
        precision.unscale(optimizer)
        assert precision.step(optimizer)
        torch.testing.assert_close(weight.detach(), torch.tensor([-5.0 * turn]))


def test_a_gradient_that_is_never_finite_ends_in_an_error() -> None:
    precision, weight = Precision("float16", CPU), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    stepped = []

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            precision.backward((math.nan * weight).sum())
            stepped.append(precision.step(optimizer))

    with pytest.raises(RuntimeError, match="not finite in float16 at a loss scale"):
        train(100)
    assert stepped == [False] * 36  # from 2^16 down to 2^-20


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.OTTT(), rb.STLLR(signal="drtp")], ids=str)
def test_weights_that_move_at_each_learning_step_move_the_same_with_a_scaler(rule: Rule) -> None:
    weights = []
    for name in ("float32", "float16"):
        precision, net = Precision(name, CPU), made(NETS["linear"])  # type: ignore[arg-type]
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        steps: list[bool] = []

        def update() -> None:
            steps.append(precision.step(optimizer))  # noqa: B023 (called in this turn of the loop)
            optimizer.zero_grad()  # noqa: B023

        rule.backward(net, *sequence(), loss=cross_entropy, backward=precision.backward, after_step=update)
        assert steps == [True] * 6
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], torch.cat([p.detach().flatten() for p in made(NETS["linear"]).parameters()]))


def test_a_restored_scaler_goes_on_where_it_was() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    first, second = Precision("float16", CPU), Precision("float16", CPU)
    for factor in (1e37, 1.0):
        optimizer.zero_grad()
        first.backward((factor * weight).sum())
        first.step(optimizer)
    second.restore(first.state())
    assert second.state() == first.state()
    assert second.scale() == 2.0**15 != Precision("float16", CPU).scale()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected the precision 'float32', 'bfloat16', 'float16', got 'half'"):
        Precision("half", CPU)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"meta" cannot train in float16 here'):
        Precision("float16", torch.device("meta"))
    with pytest.raises(ValueError, match="state of precision 'float16', got that of 'float32'"):
        Precision("float16", CPU).restore(Precision("float32", CPU).state())


@pytest.fixture(scope="module")
def accuracies() -> dict[tuple[Rule, str], float]:
    return {}


def accuracy(rule: Rule, name: Any) -> float:
    """Percent of the digits' test part that are named rightly after twelve epochs, in all else the same."""
    torch.manual_seed(0)
    data = load("digits", steps=8)
    net, precision = rb.models.mlp((64,), 10, hidden=(128,)), Precision(name, CPU)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        for xs, target in data.train.batches(64, generator=generator):
            optimizer.zero_grad()
            with precision.autocast():
                rule.backward(net, xs, target, loss=cross_entropy, backward=precision.backward)
            precision.step(optimizer)
    with precision.autocast():
        right = sum(int((rb.run(net, xs).mean(0).argmax(1) == y).sum()) for xs, y in data.test.batches(256))
    return 100 * right / len(data.test)


@pytest.mark.slow
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT(), rb.OTTT(), rb.RateBP(), rb.STLLR()], ids=repr)
def test_half_precision_learns_the_digits_as_well_as_float32(
    rule: Rule, name: str, accuracies: dict[tuple[Rule, str], float]
) -> None:
    for each in ("float32", name):
        if (rule, each) not in accuracies:
            accuracies[rule, each] = accuracy(rule, each)
    single, half = accuracies[rule, "float32"], accuracies[rule, name]
    assert single >= 95
    assert abs(single - half) <= 1.5


def test_under_autocast_synapses_run_in_bfloat16() -> None:
    net, xs = nn.Sequential(nn.Linear(4, 5), rb.LIF(), nn.Linear(5, 2)), torch.rand(3, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert rb.run(net, xs).dtype == torch.bfloat16
    assert rb.run(net, xs).dtype == torch.float32

"""What a plan foretells is what is measured, and what it recommends follows from that."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.allocations import peak_bytes
from rheobase.losses import cross_entropy
from rheobase.measure import plan_time
from rheobase.measure.plan import RULES, Plan, plan
from rheobase.measure.plan_choice import Choice, recommended
from rheobase.training import rule_named
from rheobase.training.need import Need, need, of_samples

MIB = 2**20


def task(name: str, steps: int, samples: int) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    nets: dict[str, tuple[Any, tuple[int, ...]]] = {
        "mlp": (rb.models.mlp((40,), 3, hidden=[64, 64]), (40,)),
        "resnet18": (rb.models.MODELS["resnet18"]((3, 8, 8), 3, width=0.0625), (3, 8, 8)),
        "recurrent": (rb.models.recurrent((40,), 3), (40,)),
    }
    net, shape = nets[name]
    return net, torch.rand(steps, samples, *shape), torch.randint(3, (samples,))


def peak(net: nn.Module, rule: Any, xs: Tensor, target: Tensor) -> int:
    rule.backward(net, xs[:, :2], target[:2], loss=cross_entropy)
    net.zero_grad()
    return peak_bytes(lambda: rule.backward(net, xs, target, loss=cross_entropy), xs.device)


@pytest.mark.parametrize(
    ("name", "rule"),
    [*(("mlp", rule) for rule in RULES), ("resnet18", "bptt"), ("resnet18", "rate-bp"), ("recurrent", "sltt")],
)
def test_the_peak_is_foretold_from_an_eighth_of_the_batch_within_15_percent(name: str, rule: str) -> None:
    net, xs, target = task(name, 6, 64)
    found = need(net, rule_named(rule), xs[:, :8], target[:8], cross_entropy, batch_size=64)
    assert found is not None
    assert found.at(64) == pytest.approx(peak(net, rule_named(rule), xs, target), rel=0.15)
    assert found.at(32) < 0.95 * found.at(64)


@pytest.mark.parametrize("rule", ["bptt(chunk=4)", "rate-bp", "sltt"])
def test_long_sequences_are_foretold_from_short_ones(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, xs, target = task("mlp", 150, 32)
    seen: list[int] = []
    kind = type(rule_named(rule))
    backward = kind.backward
    monkeypatch.setattr(
        kind, "backward", lambda self, m, x, *a, **k: (seen.append(len(x)), backward(self, m, x, *a, **k))[1]
    )
    found = need(net, rule_named(rule), xs, target, cross_entropy)
    assert max(seen) <= 48
    assert found is not None
    assert found.at(32) == pytest.approx(peak(net, rule_named(rule), xs, target), rel=0.15)


class Clocked:
    """BPTT that takes as long as `seconds(samples)` says, by a clock of its own. seen: the samples of each call."""

    def __init__(self, seconds: Any) -> None:
        self.seconds, self.now, self.seen = seconds, 0.0, list[int]()

    def __call__(self) -> float:
        return self.now

    def backward(self, model: Any, xs: Tensor, target: Any, **options: Any) -> Any:
        self.seen.append(xs.shape[1])
        self.now += self.seconds(xs.shape[1])
        return rb.BPTT().backward(model, xs, target, **options)


def foretold(rule: Clocked, monkeypatch: pytest.MonkeyPatch, *, samples: int = 64, **options: Any) -> float:
    net, xs, target = task("mlp", 3, 4)
    monkeypatch.setattr(plan_time.time, "perf_counter", rule)
    return plan_time.seconds_needed(net, rule, xs, target, cross_entropy, samples, **options).at(samples)


@pytest.mark.parametrize("samples", [4, 6, 64, 100])
def test_a_time_that_is_a_line_in_the_samples_is_foretold_exactly(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Clocked(lambda n: 0.3 + 0.01 * n)
    assert foretold(rule, monkeypatch, samples=samples) == pytest.approx(0.3 + 0.01 * samples, rel=1e-3)
    assert max(rule.seen) <= max(4, samples // 2)


def test_half_of_the_batch_shows_what_an_eighth_does_not_such_as_caches_outgrown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(samples: int) -> float:
        return 0.001 * samples + 0.01 * max(0, samples - 8)

    assert foretold(Clocked(seconds), monkeypatch) == pytest.approx(seconds(64), rel=0.2)
    assert foretold(Clocked(seconds), monkeypatch, most=8) < 0.2 * seconds(64)


def test_no_more_samples_are_timed_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, largest in ((1000, 32), (9, 9), (0, 4)):
        rule = Clocked(lambda n: 0.01 * n)
        foretold(rule, monkeypatch, most=most)
        assert max(rule.seen) == largest


def test_slow_calls_are_made_twice_and_quick_ones_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, calls in ((5.0, 2), (0.1, 4)):
        rule = Clocked(lambda n, seconds=seconds: seconds)
        foretold(rule, monkeypatch)
        assert len(rule.seen) == 2 * calls


def test_few_samples_are_repeated_and_a_constant_input_stays_one() -> None:
    xs, target = torch.rand(3, 2, 5), torch.tensor([4, 7])
    more, goals = of_samples(xs, target, 5)
    assert torch.equal(more, xs[:, [0, 1, 0, 1, 0]])
    assert goals.tolist() == [4, 7, 4, 7, 4]
    steady, each = of_samples(rb.constant(xs[0], 6), rb.PerStep(torch.stack([target, target + 1])), 3)
    assert (steady.stride(0), steady.shape) == (0, (6, 3, 5))
    assert each.targets.tolist() == [[4, 7, 4], [5, 8, 5]]


def test_the_largest_sum_may_come_at_another_moment_for_large_batches() -> None:
    """Two lines that cross: few samples need most where the gradients are, many where the activations are."""
    bent = Need(tuple(max(1000.0 + x, 100.0 * x) for x in Need.line(0.0, 1.0).table))
    assert bent.at(1) == pytest.approx(1001)
    assert bent.at(100) == pytest.approx(10_000)
    assert bent.samples_within(10_000) == 100


def planned(budget: float, **options: Any) -> Plan:
    net, xs, target = task("mlp", 16, 8)
    return plan(net, xs, target, loss=cross_entropy, budget=int(budget), batch_size=64, **options)


def test_what_fits_is_measured_to_fit_with_model_optimiser_and_batch_and_one_more_sample_is_not() -> None:
    net, xs, target = task("mlp", 16, 64)
    whole = planned(100 * MIB, rules=["sltt"], chunks=(None,))
    (choice,) = planned(0.6 * whole.choices[0].bytes, rules=["sltt"], chunks=(None,)).choices
    assert not choice.fits
    most = choice.largest_batch
    assert 8 < most < 64
    resident = 3 * sum(p.nbytes for p in net.parameters())  # the weights and Adam's moments; gradients are in the peak

    def all_of(samples: int) -> int:
        return (
            resident
            + xs[:, :samples].nbytes
            + target[:samples].nbytes
            + peak(net, rb.SLTT(), xs[:, :samples].contiguous(), target[:samples])
        )

    assert all_of(most) <= 1.02 * 0.6 * whole.choices[0].bytes
    assert all_of(most + 3) > 0.98 * 0.6 * whole.choices[0].bytes


@pytest.mark.parametrize("samples", [1, 2])
def test_the_largest_batch_does_not_hang_on_how_few_samples_were_given(samples: int) -> None:
    net, xs, target = task("mlp", 16, 8)
    given: dict[str, Any] = {"loss": cross_entropy, "budget": MIB, "rules": ["sltt"], "chunks": (1,)}
    few = plan(net, xs[:, :samples], target[:samples], **given).choices[0]
    assert few.largest_batch == pytest.approx(plan(net, xs, target, **given).choices[0].largest_batch, rel=0.05)


def choice(rule: str, size: float, seconds: float, **more: Any) -> Choice:
    return Choice(rule, bytes=size * MIB, seconds=seconds, largest_batch=int(640 / size), fits=size <= 10, **more)


BPTT = {"is_exact": True, "cosine": 1.0}
TWICE = BPTT | {"computes_twice": True}


def test_the_exact_gradient_is_taken_where_it_fits_once_computed_before_twice_then_by_time() -> None:
    local = choice("sltt", 1, 0.1, cosine=0.9)
    found = [local, choice("ckpt", 3, 0.5, **TWICE), choice("slow", 4, 2.0, **BPTT), choice("fast", 9, 1.0, **BPTT)]
    assert recommended(found, 64, 10 * MIB)[0] == "fast"
    rule, reason = recommended([*found[:2], choice("bptt", 30, 1.0, **BPTT)], 64, 10 * MIB)
    assert rule == "ckpt"
    assert "bptt would need 30.0 MiB" in reason
    assert "twice" in reason


def test_without_room_for_it_the_nearest_gradient_is_taken_and_the_loss_is_told() -> None:
    found = [
        choice("bptt", 40, 1.0, **BPTT), choice("ckpt", 20, 2.0, **TWICE), choice("sltt", 1, 0.1, cosine=0.8),
        choice("ottt", 2, 0.2, cosine=0.95), choice("near", 2, 0.3, cosine=0.949), choice("unknown", 1, 0.01),
    ]  # fmt: skip
    rule, reason = recommended(found, 64, 10 * MIB)
    assert rule == "ottt"
    assert "cosine 0.95" in reason
    assert "20.0 MiB of 10.0 MiB (ckpt); it fits 32 samples" in reason


def test_where_nothing_fits_the_largest_batch_is_named() -> None:
    rule, reason = recommended([choice("bptt", 40, 1.0, **BPTT), choice("sltt", 20, 2.0)], 64, 10 * MIB)
    assert rule is None
    assert "32: sltt" in reason
    assert recommended([Choice("bptt", is_exact=True)], 64, MIB)[0] is None


def test_a_plan_has_each_rule_with_each_chunk_once_and_tells_refusals() -> None:
    net = nn.Sequential(nn.Linear(4, 4), rb.SequenceBatchNorm1d(4), rb.LIF(), nn.Linear(4, 3))
    found = plan(
        net, torch.rand(4, 8, 4), torch.zeros(8).long(), loss=cross_entropy, budget=MIB, rules=["bptt", rb.SLTT()],
    )  # fmt: skip
    assert [each.rule for each in found.choices] == ["bptt", "bptt(chunk=1)", "sltt"]
    assert "normalises over the whole sequence" in str(found.choices[2].refusal)
    assert math.isnan(found.choices[2].bytes)
    assert found.recommended == "bptt"


def test_planning_leaves_no_trace() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), rb.TimeSharedDropout(0.5), rb.LIF(), nn.Linear(4, 3))
    kept, random = {n: v.clone() for n, v in net.state_dict().items()}, torch.get_rng_state()
    plan(net, torch.ones(3, 6, 4), torch.zeros(6).long(), loss=cross_entropy, budget=MIB, rules=["bptt", "sltt"])
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(dict(net.state_dict()), kept, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())

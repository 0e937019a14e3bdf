"""Chunks by memory: their size, and that finding it leaves no trace."""

import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch
from networks import flat_gradient, spiking_nets
from torch import Tensor, nn

import rheobase as rb
from rheobase.chunks import budget, checked_chunk
from rheobase.losses import cross_entropy

EXACT = {"rtol": 0.0, "atol": 1e-12}
NETS = spiking_nets()


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64MiB", 64 * 2**20),
        ("1.5 GB", 1.5e9),
        ("512 kb", 512e3),
        (" 3 KiB ", 3072),
        ("2gib", 2**31),
        ("100B", 100),
        ("0.5KiB", 512),
    ],
)
def test_a_memory_size_is_read_as_written(text: str, expected: float) -> None:
    assert budget(text) == expected
    assert checked_chunk(text) == text


@pytest.mark.parametrize("chunk", ["", "64", "MiB", "-1MiB", "1e3MB", "64 MiBs", "automatic", "1,5 GB", "1TB", 0, -3])
@pytest.mark.parametrize("make", [rb.BPTT, rb.SLTT, rb.OTTT, rb.STLLR, rb.RateBP, rb.Online])
def test_what_is_no_chunk_is_refused_at_once(make: Callable[..., Any], chunk: Any) -> None:
    with pytest.raises(ValueError, match="Expected chunk"):
        make(chunk=chunk)
    with pytest.raises(ValueError, match="Expected"):
        rb.TruncatedBPTT(4, chunk=chunk)
    with pytest.raises(ValueError, match="Expected chunk"):
        rb.run(NETS["linear"](), torch.rand(2, 3, 2, 6, 6), chunk=chunk)


@pytest.mark.parametrize("chunk", [2.5, True, (2,)])
def test_what_is_neither_a_number_of_steps_nor_a_text_is_refused_at_once(chunk: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="chunk"):
        rb.BPTT(chunk=chunk)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("chunk", ["auto", "1kB", "4 KiB", 1])
@pytest.mark.parametrize("name", rb.rules.RULES)
def test_a_chunk_by_memory_changes_no_gradient(name: str, chunk: Any, net: str) -> None:
    kind = rb.rules.RULES[name]
    own = {"horizon": 4} if kind is rb.TruncatedBPTT else {}
    assert "chunk" in {field.name for field in fields(kind)}  # type: ignore[arg-type]
    model, xs, target = NETS[net](), torch.rand(6, 4, 2, 6, 6) * 2, torch.randint(3, (4,))
    one = flat_gradient(kind(**own, chunk=1), model, xs, target)
    torch.testing.assert_close(flat_gradient(kind(**own, chunk=chunk), model, xs, target), one, **EXACT)
    torch.testing.assert_close(rb.run(model.eval(), xs, chunk=chunk), rb.run(model, xs, chunk=1), **EXACT)
    assert one.abs().max() > 1e-3


class Pooling(nn.Module):
    """All that a rule gathers over time between neurons, and a generator that is used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.lif = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), rb.LIF(0.5, threshold=0.3)
        self.pool, self.drop, self.readout = nn.MaxPool2d(2), rb.TimeSharedDropout(0.5), nn.Linear(27, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.drop(self.pool(self.lif(self.norm(self.conv(x)))).flatten(1)))


def calls() -> list[Any]:
    made = [rb.rules.RULES[name](**({"horizon": 4} if name == "truncated-bptt" else {})) for name in rb.rules.RULES]
    return [*made, *(type(rule)(**{**vars(rule), "chunk": "auto"}) for rule in made)]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{type(rule).__name__}-{rule.chunk}") for rule in calls()])
def test_the_first_call_of_a_model_gives_what_later_ones_give(rule: Any) -> None:
    """By then the size of its layers may be known."""
    net, xs, target = Pooling(), torch.rand(5, 4, 2, 6, 6) * 2, torch.randint(3, (4,))
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        found.append(flat_gradient(rule, net, xs, target))
    torch.testing.assert_close(found[0], found[1], **EXACT)
    assert found[0].abs().max() > 1e-3


class Recording(nn.Module):
    """Notes how many rows come together."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return x + 0


@pytest.mark.parametrize("rule", [rule for rule in calls() if not isinstance(rule, rb.RateBP)], ids=str)
def test_a_model_sees_each_step_once_and_buffers_and_generators_end_as_with_single_steps(rule: Any) -> None:
    xs, target = torch.rand(5, 4, 2, 6, 6) * 2, torch.randint(3, (4,))
    found = []
    for each in (rule, type(rule)(**{**vars(rule), "chunk": 1})):
        torch.manual_seed(3)
        net, record, python = Pooling(), Recording(), random.getstate()
        each.backward(nn.Sequential(record, net), xs, target, loss=cross_entropy)
        assert sum(record.rows) == 20
        assert random.getstate() == python
        assert all("forward" not in vars(module) for module in net.modules())
        found.append([*net.buffers(), torch.get_rng_state()])
    torch.testing.assert_close(*found, **EXACT)
    assert found[0][2] == 5


@pytest.mark.parametrize("chunk", ["auto", "1kB", None])
def test_running_leaves_the_statistics_and_generators_that_single_steps_leave(chunk: Any) -> None:
    xs, found = torch.rand(5, 4, 2, 6, 6), []
    for size in (chunk, 1):
        torch.manual_seed(3)
        net = Pooling()
        outputs = rb.run(net, xs, chunk=size)
        found.append([outputs, *net.buffers(), torch.get_rng_state()])
    torch.testing.assert_close(*found, **EXACT)


@pytest.mark.parametrize("chunk", ["auto", "1kB", None, 1, 2])
def test_an_iterator_gives_each_step_once_and_in_order(chunk: Any) -> None:
    net, xs, target = NETS["linear"](), torch.rand(6, 4, 2, 6, 6), torch.randint(3, (4,))
    taken: list[int] = []

    def steps() -> Iterator[Tensor]:
        for t, x in enumerate(xs):
            taken.append(t)
            yield x

    torch.testing.assert_close(rb.run(net, steps(), chunk=chunk), rb.run(net, xs, chunk=1), **EXACT)
    assert taken == list(range(6))
    for rule in (rb.BPTT(chunk="auto" if chunk is None else chunk), rb.RateBP(chunk=chunk)):
        found = flat_gradient(rule, net, steps(), target)
        torch.testing.assert_close(found, flat_gradient(rule, net, xs, target), **EXACT)


def test_steps_that_are_no_floating_tensors_are_refused_as_ever() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), rb.LIF())
    for chunk in (None, "auto"):
        with pytest.raises(TypeError, match="tensor"):
            rb.run(net, [[1.0, 2.0]], chunk=chunk)  # type: ignore[list-item]
        with pytest.raises(ValueError, match="empty"):
            rb.run(net, iter([]), chunk=chunk)


@pytest.mark.parametrize("chunk", [None, "auto"])
def test_steps_of_integers_are_refused_by_name_before_the_model_sees_them(chunk: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), rb.LIF())
    with pytest.raises(TypeError, match="floating-point"):
        rb.run(net, [torch.ones(2, 4, dtype=torch.int64)], chunk=chunk)


@pytest.mark.parametrize(("text", "steps"), [("1kB", 1), ("4096B", 2), ("8KiB", 4), ("6.5 KiB", 3)])
@pytest.mark.parametrize("name", ["bptt", "sltt", "ottt", "s-tllr", "rate-bp"])
def test_the_widest_layers_currents_stay_within_the_budget(name: str, text: str, steps: int) -> None:
    """4 samples of 64 neurons in double precision: 2 KiB a step; narrower layers do not count."""
    record = Recording()
    net = nn.Sequential(nn.Linear(3, 64), record, rb.LIF(), nn.Linear(64, 7), rb.LIF(), nn.Linear(7, 3))
    xs, target = torch.rand(13, 4, 3), torch.randint(3, (4,))
    rb.rules.RULES[name](chunk=text).backward(net, xs, target, loss=cross_entropy)
    assert max(record.rows) == 4 * steps
    assert budget(text) >= 4 * 64 * 8 * steps or steps == 1


@pytest.mark.parametrize("chunk", ["64KiB", "auto"])
def test_another_batch_size_or_precision_is_measured_anew(chunk: str) -> None:
    record, widest = Recording(), []
    net = nn.Sequential(nn.Linear(3, 64), record, rb.LIF())
    for dtype, samples in [(torch.float64, 4), (torch.float64, 8), (torch.float32, 4), (torch.float64, 4)]:
        record.rows.clear()
        rb.run(net.to(dtype), torch.rand(90, samples, 3, dtype=dtype), chunk=chunk)
        widest.append(max(record.rows) // samples)
    assert widest == [32, 16, 64, 32] if chunk == "64KiB" else min(widest) >= 80

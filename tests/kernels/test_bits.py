"""Spikes kept in bits, and what autograd may and may not keep."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import flat_gradient
from torch import Tensor, nn

import rheobase as rb
from rheobase.engine import Sweep
from rheobase.kernels import bits
from rheobase.kernels.bits import PackedSpikes, packed, unpacked
from rheobase.losses import cross_entropy
from rheobase.neurons import Neuron
from rheobase.treatment import Treatment

pytestmark = pytest.mark.skipif(bits._top_hooks is None, reason="from PyTorch 2.7 on")
EXACT = {"rtol": 0.0, "atol": 1e-12}
Use = Callable[["Net", Tensor], Tensor]


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 63, 64, 65, 1000, 70001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_packing_keeps_every_spike(size: int, dtype: torch.dtype, threads: int) -> None:
    torch.set_num_threads(threads)
    spikes = (torch.rand(size) < 0.3).to(dtype)
    kept = packed(spikes)
    assert kept.dtype is torch.uint8
    assert len(kept) == (size + 7) // 8
    again = unpacked(kept, dtype, spikes.shape, spikes.stride())
    torch.testing.assert_close(again, spikes, rtol=0, atol=0)
    spikes[size // 2] = 1 - spikes[size // 2]
    assert not torch.equal(packed(spikes), kept)


def test_packing_keeps_the_memory_order() -> None:
    spikes = (torch.rand(3, 5, 4, 6) < 0.5).double().contiguous(memory_format=torch.channels_last)
    again = unpacked(packed(spikes), spikes.dtype, spikes.shape, spikes.stride())
    torch.testing.assert_close(again, spikes, rtol=0, atol=0)
    assert again.stride() == spikes.stride()


class Net(nn.Module):
    def __init__(self, use: Use) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.lif1, self.lif2 = rb.LIF(0.5, threshold=0.3), rb.LIF(0.5, threshold=0.3)
        self.readout, self.use = nn.Linear(108, 3), use
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.use(self, x).flatten(1))


def plain(net: Net, x: Tensor) -> Tensor:
    return net.lif2(net.conv2(net.lif1(net.conv1(x))))


def products(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    return net.lif2(net.conv2(spikes) * spikes.permute(0, 1, 3, 2)) * spikes


def halves(net: Net, x: Tensor) -> Tensor:
    first, rest = net.lif1(net.conv1(x)).split([1, 2], 1)
    return net.lif2(net.conv2(torch.cat([first * rest.sum(1, keepdim=True), rest * rest], 1)))


def expanded(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x)).flatten(1)
    return spikes[:, :1].expand(-1, 108) * spikes


def steady_scale(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    spikes.mul_(2.0)
    return net.lif2(net.conv2(spikes) + spikes)


def changed_after_use(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    current = net.conv2(spikes)
    spikes.mul_(2.0)
    return net.lif2(current + spikes)


def copied_after_use(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    return net.lif2(net.conv2(spikes) + 2.0 * spikes)


def changed_output(net: Net, x: Tensor) -> Tensor:
    gate = torch.sigmoid(net.conv2(net.lif1(net.conv1(x))))
    gate.mul_(2.0)
    return net.lif2(gate)


def changed_input(net: Net, x: Tensor) -> Tensor:
    current = net.conv1(x)
    square = current * current
    current.add_(1.0)
    return net.lif1(square + current)


def changed_current(net: Net, x: Tensor) -> Tensor:
    current = net.conv1(x)
    spikes = net.lif1(current)
    current.add_(1.0)
    return spikes + current


def sequence() -> tuple[Tensor, Tensor]:
    return torch.rand(5, 4, 2, 6, 6, dtype=torch.float64) * 2, torch.randint(3, (4,))


def unpacked_gradient(rule: Any, net: nn.Module, xs: Tensor, target: Tensor, patch: pytest.MonkeyPatch) -> Tensor:
    with patch.context() as inside:
        inside.setattr(PackedSpikes, "add", lambda self, spikes: None)
        return flat_gradient(rule, net, xs, target)


RULES = [rb.BPTT(), rb.BPTT(chunk=2), rb.BPTT(checkpoint=2), rb.TruncatedBPTT(2), rb.BPTT("mean_output")]


@pytest.mark.parametrize("use", [plain, products, halves, steady_scale], ids=lambda use: use.__name__)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_bits_change_no_gradient(rule: Any, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    net, (xs, target) = Net(use), sequence()
    calls = []
    own = bits.packed
    monkeypatch.setattr(bits, "packed", lambda spikes: calls.append(1) or own(spikes))
    found = flat_gradient(rule, net, xs, target)
    count = len(calls)
    torch.testing.assert_close(found, unpacked_gradient(rule, net, xs, target, monkeypatch), **EXACT)
    assert found.abs().max() > 1e-3
    assert count > 0
    assert len(calls) == count


def test_a_view_with_overlaps_of_as_many_values_is_not_taken_for_the_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacked, it would be written past its end."""
    own = bits.unpacked

    def watched(kept: Tensor, dtype: torch.dtype, shape: torch.Size, stride: tuple[int, ...]) -> Tensor:
        reach = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        assert reach == shape.numel()
        return own(kept, dtype, shape, stride)

    monkeypatch.setattr(bits, "unpacked", watched)
    net, (xs, target) = Net(expanded), sequence()
    found = flat_gradient(rb.BPTT(), net, xs, target)
    torch.testing.assert_close(found, unpacked_gradient(rb.BPTT(), net, xs, target, monkeypatch), **EXACT)


def test_without_the_code_that_packs_spikes_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    net, (xs, target) = Net(plain), sequence()
    expected = flat_gradient(rb.BPTT(), net, xs, target)
    monkeypatch.setattr(bits, "_code", lambda dtype: None)
    torch.testing.assert_close(flat_gradient(rb.BPTT(), net, xs, target), expected, **EXACT)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_spikes_changed_after_use_give_the_right_gradient_or_an_error(
    rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (xs, target) = Net(changed_after_use), sequence()
    same = Net(copied_after_use)
    same.load_state_dict(net.state_dict())
    expected = flat_gradient(rule, same, xs, target)
    try:
        found = flat_gradient(rule, net, xs, target)
    except RuntimeError as error:
        assert "in-place" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(found, expected, **EXACT)
    with pytest.raises(RuntimeError, match="in-place"):
        unpacked_gradient(rule, net, xs, target, monkeypatch)


@pytest.mark.parametrize("use", [changed_output, changed_input, changed_current], ids=lambda use: use.__name__)
@pytest.mark.parametrize("rule", [*RULES, rb.SLTT(), rb.OTTT(), rb.STLLR()], ids=str)
def test_a_change_in_place_of_what_the_gradient_needs_is_an_error(rule: Any, use: Use) -> None:
    net, (xs, target) = Net(use), sequence()
    if use is changed_current and not isinstance(rule, rb.BPTT | rb.TruncatedBPTT):
        pytest.skip("online rules keep the slope alone, so the current may change")
    with pytest.raises(RuntimeError, match=r"in-?place"):
        rule.backward(net, xs, target, loss=cross_entropy)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_hooks_in_force_see_all_that_is_kept_and_change_no_gradient(rule: Any) -> None:
    net, (xs, target) = Net(products), sequence()
    expected = flat_gradient(rule, net, xs, target)
    kept: list[Tensor] = []
    given = []

    def keep(x: Tensor) -> int:
        kept.append(x.detach().clone())
        return len(kept) - 1

    def give(index: int) -> Tensor:
        given.append(index)
        return kept[index]

    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        found = flat_gradient(rule, net, xs, target)
    torch.testing.assert_close(found, expected, **EXACT)
    assert any(x.dtype is torch.uint8 for x in kept)
    assert any(x.dtype is torch.float64 for x in kept)
    assert {kept[i].dtype for i in given} == {torch.uint8, torch.float64, torch.int64} & {x.dtype for x in kept}
    with torch.autograd.graph.save_on_cpu():
        torch.testing.assert_close(flat_gradient(rule, net, xs, target), expected, **EXACT)
    assert torch._C._autograd._top_saved_tensors_default_hooks(False) is None


def test_bits_of_spikes_that_are_gone_are_not_given_to_their_successor_in_memory() -> None:
    known, memory = PackedSpikes(), torch.ones(100).numpy()
    first = torch.from_numpy(memory)
    known.add(first)
    weight = torch.ones(100, requires_grad=True)
    with known.saving():
        (weight * first).sum().backward()
        del first
        memory[:] = 3.0
        (weight * torch.from_numpy(memory)).sum().backward()
    torch.testing.assert_close(weight.grad, torch.full((100,), 4.0))


def test_bits_take_a_thirty_second_of_what_spikes_take() -> None:
    net = nn.Sequential(nn.Linear(64, 64), rb.LIF(0.5, threshold=0.3), nn.Linear(64, 3))
    xs, target = torch.rand(8, 32, 64), torch.randint(3, (32,))
    sizes: dict[torch.dtype, int] = {}

    def keep(x: Tensor) -> Tensor:
        sizes[x.dtype] = max(sizes.get(x.dtype, 0), x.numel() * x.element_size())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        rb.BPTT(chunk=8).backward(net, xs, target, loss=cross_entropy)
    assert sizes[torch.uint8] == 8 * 32 * 64 // 8
    assert sizes[torch.float32] == 8 * 32 * 64 * 4  # the currents


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.BPTT(checkpoint=4), rb.TruncatedBPTT(4)], ids=str)
def test_spikes_in_half_precision_are_kept_in_bits_and_give_the_same_bits_of_gradient(
    rule: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Linear(64, 64), rb.LIF(0.5, threshold=0.3), nn.Linear(64, 64), rb.LIF(0.5), nn.Linear(64, 3))
    xs, target = torch.rand(8, 32, 64), torch.randint(3, (32,))

    def found() -> tuple[Tensor, int]:
        """The gradient, and the bytes of what is kept in half precision."""
        kept: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(half(x)) or x, lambda x: x)
        with hooks, torch.autocast("cpu", dtype):
            gradient = flat_gradient(rule, net, xs, target)
        return gradient, sum(kept)

    def half(x: Tensor) -> int:
        return x.nbytes if x.dtype is dtype and x.shape[-1] == 64 and x.shape[0] > 64 else 0

    packed_gradient, packed_bytes = found()
    monkeypatch.setattr(PackedSpikes, "add_copy", lambda self, copy, spikes: None)
    plain_gradient, plain_bytes = found()
    assert torch.equal(packed_gradient, plain_gradient)
    assert packed_gradient.abs().max() > 1e-4
    assert plain_bytes - packed_bytes >= 2 * 7 * 32 * 64 * 2  # two layers, but for the first of eight steps


def test_a_copy_of_spikes_that_were_changed_since_is_kept_as_it_is() -> None:
    known, spikes = PackedSpikes(), torch.ones(100)
    known.add(spikes)
    spikes.mul_(2.0)
    copy = spikes.to(torch.bfloat16)
    known.add_copy(copy, spikes)
    weight = torch.ones(100, dtype=torch.bfloat16, requires_grad=True)
    with known.saving():
        (weight * copy).sum().backward()
    assert torch.equal(weight.grad, torch.full((100,), 2.0, dtype=torch.bfloat16))


class Changing(Treatment):
    """Neurons get other currents than those that came."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change

    def neuron(self, sweep: Sweep, neuron: Neuron, currents: Tensor) -> Tensor:
        return super().neuron(sweep, neuron, self.change(currents))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("change", [lambda x: x * 2, lambda x: x.mul_(2)], ids=["copied", "in place"])
def test_currents_that_a_treatment_changes_are_not_taken_for_those_that_came(
    change: Callable[[Tensor], Tensor], half: bool
) -> None:
    """Exact: twice the weight is no rounding."""
    once, twice = (nn.Sequential(nn.Linear(9, 7), rb.LIF(0.5, threshold=0.3), nn.Linear(7, 3)) for _ in range(2))
    twice.load_state_dict(once.state_dict())
    xs = torch.rand(4, 5, 9)
    with torch.no_grad():
        twice[0].weight.mul_(2), twice[0].bias.mul_(2)
    grads = []
    for net, treatment in ((once, Changing(change)), (twice, None)):
        sweep = Sweep(net, steps=4, treatment=treatment, learns=True, packs=True)
        with sweep, torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = sweep.forward(xs)
        outputs.float().square().sum().backward()
        grads.append(net[0].weight.grad)
    assert grads[0].abs().max() > 1e-3
    torch.testing.assert_close(grads[0], 2 * grads[1], rtol=0, atol=0)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.BPTT(checkpoint=2)], ids=str)
def test_without_hooks_to_share_as_in_pytorch_2_6_spikes_stay_whole(
    rule: Any, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), rb.LIF(threshold=0.3), nn.Flatten(), nn.Linear(48, 3))
    xs, target = rb.constant(2 * torch.rand(4, 2, 6, 6), 5), torch.tensor([0, 1, 2, 0])
    found = []
    for hooks in (bits._top_hooks, None):
        monkeypatch.setattr(bits, "_top_hooks", hooks)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found.append(flat_gradient(rule, net, xs, target))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert found[0].norm() > 0.01

"""Channels last: another memory order, the same outputs and gradients."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import flat_gradient
from torch import Tensor, nn

import rheobase as rb
from rheobase import layout, views
from rheobase.models.membrane_resnet import ms_resnet18

known_bug = pytest.mark.xfail(strict=True, reason="reported, to be fixed in the package: take the mark off then")
CLOSE = {"rtol": 0.0, "atol": 1e-10}
Use = Callable[["Net", Tensor], Tensor]
RULES = {
    "bptt": rb.BPTT(),
    "bptt-chunk": rb.BPTT(chunk=2),
    "bptt-checkpoint": rb.BPTT(checkpoint=2),
    "truncated": rb.TruncatedBPTT(2),
    "sltt": rb.SLTT(),
    "sltt-chunk": rb.SLTT(chunk=3),
    "ottt": rb.OTTT(),
    "s-tllr": rb.STLLR(),
    "rate-bp": rb.RateBP(),
    "rate-bp-chunk": rb.RateBP(chunk=2),
}
every_rule = pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in RULES.items()])


class Net(nn.Module):
    def __init__(self, use: Use, *convolutions: nn.Module) -> None:
        super().__init__()
        first, second = convolutions or (nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1))
        self.conv1, self.conv2, self.norm = first, second, nn.BatchNorm2d(4)
        self.lif1, self.lif2 = rb.LIF(0.5, threshold=0.3), rb.LIF(0.5, threshold=0.3)
        self.hidden, self.lif3, self.readout, self.use = nn.Linear(36, 36), rb.LIF(0.5), nn.LazyLinear(3), use
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.use(self, x))


def plain(net: Net, x: Tensor) -> Tensor:
    return net.lif2(net.conv2(net.lif1(net.norm(net.conv1(x))))).flatten(1)


def viewed(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.norm(net.conv1(x)))
    return net.lif2(net.conv2(spikes)).view(x.size(0), -1)


def viewed_as(net: Net, x: Tensor) -> Tensor:
    current = net.conv1(x)
    return net.lif1(current.view_as(current).view(len(x), 2, 2, 36)).sum(1).view(-1, 72)


def mixed_with_linear(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.norm(net.conv1(x)))
    tokens = net.lif3(net.hidden(spikes.view(len(x), 4, 36)))
    return net.lif2(net.conv2(tokens.view(len(x), 4, 6, 6))).view(len(x), -1)


def as_tokens(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x)).flatten(2).transpose(1, 2)
    return net.lif3(spikes.reshape(len(x), 36, 4).permute(0, 2, 1).contiguous()).flatten(1)


def residual(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    return torch.cat([net.lif2(net.conv2(spikes) + x[:, :1]).view(len(x), -1), spikes.mean((2, 3))], 1)


def shuffled(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    swapped = spikes.view(len(x), 2, 2, 6, 6).transpose(1, 2).reshape(len(x), 4, 6, 6)
    return net.lif2(net.conv2(swapped)).flatten(1)


CONVOLUTIONS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "depthwise": lambda: (nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 3, padding=1, groups=4)),
    "strided": lambda: (nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 3, 2, stride=2, dilation=2)),
    "pointwise": lambda: (nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 3, bias=False)),
    "padded in a circle": lambda: (
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(4, 3, 3, padding="same"),
    ),
    "transposed": lambda: (nn.ConvTranspose2d(2, 4, 3, 2, 1, 1), nn.Conv2d(4, 1, 3)),
    "standardised": lambda: (rb.WSConv2d(2, 4, 3, padding=1), rb.WSConv2d(4, 3, 3)),
    "parametrised": lambda: (
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3, padding=1)),
        nn.Conv2d(4, 3, 3),
    ),
}


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """These images are small; the order has to be right whatever the size."""
    for name, module in list(sys.modules.items()):
        if name.startswith("rheobase.") and hasattr(module, "pays"):
            monkeypatch.setattr(module, "pays", lambda *_: True)


def both(rule: Any, net: nn.Module, xs: Tensor, target: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """Outputs and gradient, in channels last and not."""
    found, prefers = [], layout.prefers_channels_last
    rb.run(net, xs[:1])  # lazy layers
    for active in (True, False):
        with monkeypatch.context() as patch:
            if not active:
                for name, module in list(sys.modules.items()):
                    if name.startswith("rheobase.") and vars(module).get("prefers_channels_last") is prefers:
                        patch.setattr(module, "prefers_channels_last", lambda model: False)
            found.append([flat_gradient(rule, net, xs, target), rb.run(net, xs)])
    return found


def sequences(channels: int = 2) -> list[Tensor]:
    x = torch.rand(5, 4, channels, 6, 6, dtype=torch.float64) * 3
    return [x, rb.constant(x[0], 5)]


@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize(
    "use",
    [plain, viewed, viewed_as, mixed_with_linear, as_tokens, residual, shuffled],
    ids=lambda use: use.__name__,
)
@every_rule
def test_the_memory_order_changes_no_output_and_no_gradient(
    rule: Any, use: Use, steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    xs, target = sequences()[steady], torch.randint(3, (4,))
    found, expected = both(rule, Net(use), xs, target, monkeypatch)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert expected[0].abs().max() > 1e-3


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@every_rule
def test_nor_does_it_for_other_convolutions(rule: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    xs, target = sequences()[0], torch.randint(3, (4,))
    found, expected = both(rule, Net(plain, *CONVOLUTIONS[kind]()), xs, target, monkeypatch)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert expected[0].abs().max() > 1e-3


@every_rule
def test_nor_does_it_for_one_channel(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(viewed, nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))
    found, expected = both(rule, net, sequences(1)[0], torch.randint(3, (4,)), monkeypatch)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert expected[0].abs().max() > 1e-3


def test_only_forwards_of_others_are_watched_for_views() -> None:
    known = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), rb.LIF(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3)
    )
    assert not views.may_view(known)
    assert not views.may_view(ms_resnet18((1, 28, 28), 10, width=0.125))
    assert views.may_view(Net(plain))
    assert views.may_view(nn.Sequential(known, Net(plain)))
    handle = known[0].register_forward_hook(lambda *_: None)
    assert views.may_view(known)
    handle.remove()
    known[3].forward = lambda x: x.view(len(x), -1)
    assert views.may_view(known)


def test_the_model_does_see_channels_last() -> None:
    """What the tests above compare is not one order with itself."""
    seen = []

    def look(net: Net, x: Tensor) -> Tensor:
        spikes = net.lif1(net.norm(net.conv1(x)))
        seen.append(spikes.is_contiguous(memory_format=torch.channels_last) and not spikes.is_contiguous())
        return spikes.view(len(x), -1)

    rb.run(Net(look), sequences()[0])
    assert seen
    assert all(seen)
    assert not layout.prefers_channels_last(nn.Sequential(nn.Conv2d(2, 3, 1), nn.Linear(3, 3)))


@every_rule
def test_a_sequence_in_either_order_is_the_same_sequence(rule: Any) -> None:
    net, xs, target = Net(viewed), sequences()[0], torch.randint(3, (4,))
    rb.run(net, xs[:1])
    last = xs.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (5, 4))
    assert last.stride() != xs.stride()
    torch.testing.assert_close(flat_gradient(rule, net, last, target), flat_gradient(rule, net, xs, target), **CLOSE)


def test_a_view_of_another_dtype_is_left_alone() -> None:
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    with views.ViewingAnyLayout():
        assert x.view(torch.int32).stride() == x.stride()
        torch.testing.assert_close(x.view(2, -1), x.flatten(1), rtol=0, atol=0)
        torch.testing.assert_close(x.view((2, 48)), x.flatten(1), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="view size"):
        x.view(2, -1)


def changed_through_a_view(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    spikes.view(len(x), -1).mul_(2.0)
    return net.lif2(net.conv2(spikes)).flatten(1)


def changed_through_flatten(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    spikes.flatten(1).mul_(2.0)
    return net.lif2(net.conv2(spikes)).flatten(1)


def changed_through_a_part(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    spikes[:, :2].flatten(1)[:, :5] += 1.0
    return net.lif2(net.conv2(spikes)).flatten(1)


def changed_through_a_view_that_is_one(net: Net, x: Tensor) -> Tensor:
    spikes = net.lif1(net.conv1(x))
    spikes.view(len(x), 2, 2, 6, 6)[:, 0].mul_(2.0)
    return net.lif2(net.conv2(spikes)).flatten(1)


def changed_alone(net: Net, x: Tensor) -> Tensor:
    return net.lif2(net.conv2(net.lif1(net.conv1(x)))).flatten(1).mul_(2.0)


def read_by_strides(net: Net, x: Tensor) -> Tensor:
    return net.lif1(net.conv1(x)).as_strided((len(x), 36), (144, 1))


@pytest.mark.parametrize(
    "use", [changed_through_a_view, changed_through_flatten, changed_through_a_part, read_by_strides]
)
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT()], ids=str)
def test_what_relies_on_the_memory_order_is_right_or_refused(
    rule: Any, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        found, expected = both(rule, Net(use), sequences()[0], torch.randint(3, (4,)), monkeypatch)
    except RuntimeError as error:
        assert "in-place" in str(error) or "changes in place" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(found, expected, **CLOSE)
        assert use is read_by_strides


@pytest.mark.parametrize("use", [changed_through_a_view_that_is_one, changed_alone])
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT()], ids=str)
def test_what_does_not_rely_on_it_is_not_refused(rule: Any, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    found, expected = both(rule, Net(use), sequences()[0], torch.randint(3, (4,)), monkeypatch)
    torch.testing.assert_close(found, expected, **CLOSE)


class Viewing(torch.autograd.Function):
    """Twice x; its backward pass takes a view."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return (2 * grads[0].view(-1)).view(grads[0].shape)


@known_bug
@pytest.mark.parametrize("rule", [rb.BPTT(), rb.SLTT()], ids=str)
def test_a_view_in_a_backward_pass_works_too(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def use(net: Net, x: Tensor) -> Tensor:
        return net.lif2(net.conv2(Viewing.apply(net.lif1(net.conv1(x))))).flatten(1)

    found, expected = both(rule, Net(use), sequences()[0], torch.randint(3, (4,)), monkeypatch)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("rule", [rb.SLTT(), rb.RateBP()], ids=str)
def test_a_loss_may_view_the_outputs(rule: Any) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), rb.LIF(0.5, threshold=0.3), nn.Conv2d(3, 3, 3)).double()
    xs, target = sequences()[0], torch.rand(4, 48, dtype=torch.float64)
    result = rule.backward(net, xs, target, loss=lambda y, goal: (y.view(len(y), -1) - goal).square().mean())
    assert result.outputs.view(5, -1).shape == (5, 192)


@pytest.mark.parametrize("rule", [rb.RateBP(), rb.BPTT(), rb.SLTT()], ids=str)
@pytest.mark.parametrize("constant", [False, True])
def test_a_single_image_learns_as_two_of_the_same_do(rule: rb.Rule, constant: bool) -> None:
    """A single image's first stride may be anything, but PyTorch's batch norm then takes its gradient for another."""
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), rb.LIF(threshold=0.3), nn.Flatten())
    net.append(nn.Linear(64, 3))
    nn.init.uniform_(net[2].bias)
    net.double().eval()
    x = 2 * torch.rand(1, 2, 6, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    found = []
    for count in (1, 2):
        images = x.repeat(count, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        xs = rb.constant(images, 3) if constant else images.unsqueeze(0)
        found.append(flat_gradient(rule, net, xs, torch.ones(count, dtype=torch.long)))
    torch.testing.assert_close(found[0], found[1], **CLOSE)
    assert found[1].norm() > 0.1

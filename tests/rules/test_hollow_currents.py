"""RateBP's rate pass makes the value of a current only when somebody asks for it; nobody can tell."""

from collections.abc import Callable

import pytest
import torch
from networks import flat_gradient
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import rheobase as rb


class Between(nn.Module):
    """Something happens to a current before a neuron, and to the readout's."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.below, self.conv = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = rb.LIF(0.5, threshold=0.3), rb.LIF(0.5, threshold=0.3)
        self.norm, self.readout = nn.BatchNorm2d(3), nn.Linear(75, 4)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.below(x))
        spikes = self.second(self.change(self.conv(spikes), spikes))
        y = self.readout(self.norm(self.conv(spikes)).flatten(1))
        return self.change(y, y.detach())


def same(y: Tensor, x: Tensor) -> Tensor:
    return y


def added_in_place(y: Tensor, x: Tensor) -> Tensor:
    y.add_(x)
    return y


def scaled_in_place(y: Tensor, x: Tensor) -> Tensor:
    y.mul_(0.5)
    return y


def partly_cleared(y: Tensor, x: Tensor) -> Tensor:
    y[:, 0] = 0
    return y


def transposed_twice(y: Tensor, x: Tensor) -> Tensor:
    return y.mT.mT


def twice(y: Tensor, x: Tensor) -> Tensor:
    return y + y * y.shape[0] / len(y)


CHANGES = [same, added_in_place, scaled_in_place, partly_cleared, transposed_twice, twice]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("training", [True, False])
def test_at_one_step_the_gradient_is_exact_whatever_happens_to_a_current(
    change: Callable[[Tensor, Tensor], Tensor], training: bool
) -> None:
    torch.manual_seed(0)
    net = Between(change).double().train(training)
    xs, target = torch.rand(1, 4, 2, 5, 5, dtype=torch.float64), torch.randint(4, (4,))
    found, exact = (flat_gradient(rule, net, xs, target) for rule in (rb.RateBP(), rb.BPTT()))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    if change is not same:
        other = Between(same).double().train(training)
        other.load_state_dict(net.state_dict())
        assert change is transposed_twice or not torch.allclose(flat_gradient(rb.BPTT(), other, xs, target), exact)


def test_a_current_that_only_feeds_a_neuron_is_never_computed_in_the_rate_pass() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), rb.LIF(0.5, threshold=0.2), nn.Conv2d(2, 2, 3), rb.LIF(), nn.Flatten(),
                        nn.Linear(8, 3))  # fmt: skip
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        rb.RateBP(chunk=1).backward(net, torch.rand(5, 2, 1, 6, 6), torch.randint(3, (2,)), loss=cross_entropy)
    runs = {event.key: event.count for event in profile.key_averages()}
    assert runs["aten::convolution"] == 5 * 2

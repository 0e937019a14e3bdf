import copy

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.allocations import most_of
from rheobase.measure import kept_bytes, peak_bytes, training_memory

CPU = torch.device("cpu")


def net(width=64):
    return nn.Sequential(nn.Linear(10, width), rb.LIF(), nn.Linear(width, width), rb.LIF(), nn.Linear(width, 3))


def batch(steps, samples=16):
    return torch.rand(steps, samples, 10), torch.randint(3, (samples,))


def memory(rule, steps):
    return training_memory(rule, net(), *batch(steps), rb.losses.cross_entropy)


def test_a_graph_of_known_size_is_counted_exactly():
    x = torch.ones(1000, requires_grad=True)

    def call():
        y = x * 2  # keeps nothing: 2 is a number
        z = y.exp()  # keeps z: 4000 bytes
        (z * y).sum().backward()  # keeps z (again) and y: 4000 more

    assert kept_bytes(call, there=[x]) == 8000


def test_a_storage_counts_once_however_often_and_as_whatever_view_it_is_kept():
    x = torch.ones(10, 10, requires_grad=True)

    def call():
        y = x * 2
        (y @ y.t() + y * y).sum().backward()

    assert kept_bytes(call, there=[x]) == 400


def test_what_was_there_before_does_not_count():
    x = torch.ones(1000, requires_grad=True)
    assert kept_bytes(lambda: (x * x).sum().backward(), there=[x]) == 0
    assert kept_bytes(lambda: (x * x).sum().backward(), there=[]) == 4000


def test_what_autograd_let_go_of_is_no_longer_counted():
    x = torch.ones(1000, requires_grad=True)

    def one_after_the_other():
        for _ in range(5):
            x.exp().sum().backward()

    def all_together():
        sum(x.exp().sum() for _ in range(5)).backward()

    assert kept_bytes(one_after_the_other, there=[x]) == 4000
    assert kept_bytes(all_together, there=[x]) == 20000


def test_the_peak_is_the_largest_running_sum_of_allocations():
    assert most_of([5, 7, -5, 6, -7, -6]) == 13
    assert most_of([-3]) == 0
    x = torch.ones(250_000)  # 1 MB

    def call():
        a = x + 1
        b = a + 1
        del a
        c = b + 1
        return c + b

    assert 3_000_000 <= peak_bytes(call, CPU) < 3_010_000


def test_the_profiler_says_nothing(capfd):
    peak_bytes(lambda: torch.ones(3) + 1, CPU)
    assert capfd.readouterr() == ("", "")


def test_bptt_keeps_as_much_for_each_further_step():
    four, eight, sixteen = (memory(rb.BPTT(), steps).kept for steps in (4, 8, 16))
    assert sixteen - eight == pytest.approx(2 * (eight - four), rel=0.05)
    assert sixteen > 2.5 * four


def test_a_rule_that_cuts_time_keeps_one_step_whatever_the_length():
    kept = {memory(rb.TruncatedBPTT(horizon=1), steps).kept for steps in (2, 4, 16)}
    assert len(kept) == 1
    assert kept.pop() < memory(rb.BPTT(), 2).kept  # the state that a step begins with is kept too


def test_the_peak_has_room_for_what_is_kept_and_for_the_gradients():
    for rule in (rb.BPTT(), rb.TruncatedBPTT(horizon=1)):
        found = memory(rule, 8)
        parameters = sum(p.numel() * 4 for p in net().parameters())
        assert found.peak > max(found.kept, parameters)
    assert memory(rb.BPTT(), 64).peak > 3 * memory(rb.BPTT(), 16).peak


def test_measuring_changes_neither_the_model_nor_the_random_state():
    model = nn.Sequential(nn.Linear(10, 5), nn.BatchNorm1d(5), rb.LIF(), nn.Dropout(0.5), nn.Linear(5, 3))
    xs, target = batch(3)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    training_memory(rb.BPTT(), model, xs, target, rb.losses.cross_entropy)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())

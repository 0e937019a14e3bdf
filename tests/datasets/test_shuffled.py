"""The train batches of any epoch, from any batch on, for one process or several."""

import pytest
import torch

from rheobase.datasets import Sequences, Static
from rheobase.datasets.shuffled import Shuffled, seeded
from rheobase.transforms import Flip

CPU = torch.device("cpu")


def part(samples: int, *transforms: object) -> Sequences:
    images = torch.arange(samples * 8, dtype=torch.float32).reshape(samples, 1, 2, 4)
    return Sequences(images, torch.arange(samples) % 3, Static(2), 3, transforms)


def batches(shuffled: Shuffled, epoch: int, first: int = 0) -> list[torch.Tensor]:
    return [xs[0] for xs, _ in shuffled.epoch(epoch, first)]


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own() -> None:
    shuffled = Shuffled(part(10), 4, 0, CPU, False)
    orders = [torch.cat(batches(shuffled, epoch))[:, 0, 0, 0].div(8).long() for epoch in (1, 2)]
    assert len(shuffled) == 3
    assert all(order.sort().values.tolist() == list(range(10)) for order in orders)
    assert not torch.equal(*orders)
    other = Shuffled(part(10), 4, 1, CPU, False)
    assert not torch.equal(orders[0], torch.cat(batches(other, 1))[:, 0, 0, 0].div(8).long())


def test_an_epoch_can_begin_at_any_batch_with_the_same_draws_whatever_was_drawn_before() -> None:
    shuffled = Shuffled(part(20, Flip()), 4, 7, CPU, False)
    whole = batches(shuffled, 3)
    torch.rand(5)
    list(shuffled.epoch(2))
    for first in range(6):
        rest = batches(shuffled, 3, first)
        assert len(rest) == 5 - min(first, 5)
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[first:], strict=True))
    plain = batches(Shuffled(part(20), 4, 7, CPU, False), 3)
    assert any(not torch.equal(a, b) for a, b in zip(whole, plain, strict=True))  # Flip does draw


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("samples", [16, 17, 18, 19, 21])
def test_processes_share_each_batch_evenly_and_together_see_what_one_sees(samples: int, drop_last: bool) -> None:
    alone = batches(Shuffled(part(samples), 4, 0, CPU, drop_last), 1)
    shares = [batches(Shuffled(part(samples), 4, 0, CPU, drop_last, rank, 2), 1) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == len(Shuffled(part(samples), 4, 0, CPU, drop_last, 0, 2))
    for whole, *parts in zip(alone, *shares, strict=False):
        assert len(parts[0]) == len(parts[1]) == len(whole) // 2
        even = whole[: len(whole) // 2 * 2]
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), even)
    assert len(alone) - len(shares[0]) == (not drop_last and samples % 4 == 1)


def test_processes_draw_differently_from_one_another() -> None:
    same = torch.arange(8.0).reshape(1, 1, 2, 4).expand(32, 1, 2, 4)
    sequences = Sequences(same, torch.zeros(32, dtype=torch.int64), Static(2), 3, (Flip(),))
    one, other = (batches(Shuffled(sequences, 32, 0, CPU, False, rank, 2), 1)[0] for rank in range(2))
    assert not torch.equal(one, other)


def test_a_size_that_cannot_be_shared_or_filled_is_refused() -> None:
    with pytest.raises(ValueError, match="that 2 processes can share evenly, got 5"):
        Shuffled(part(10), 5, 0, CPU, False, 0, 2)
    with pytest.raises(ValueError, match="10 samples make no full batch of 12"):
        Shuffled(part(10), 12, 0, CPU, True)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Shuffled(part(10), 0, 0, CPU, True)


def test_a_seeded_generator_depends_on_each_number_and_its_place() -> None:
    draws = [float(torch.rand((), generator=seeded(*numbers))) for numbers in ((1, 2), (2, 1), (1, 2, 0), (12,))]
    assert len(set(draws)) == 4
    assert draws[0] == float(torch.rand((), generator=seeded(1, 2)))


@pytest.mark.parametrize(("size", "reason"), [(0, "batch size of at least 1, got 0"), (12, "10 samples make no full")])
def test_a_size_that_leaves_no_batch_is_refused_in_the_same_words_shuffled_or_in_order(size: int, reason: str) -> None:
    said = []
    for make in (lambda: Shuffled(part(10), size, 0, CPU, True), lambda: part(10).batches(size, drop_last=True)):
        with pytest.raises(ValueError, match=reason) as refused:
            make()
        said.append(str(refused.value))
    assert said[0] == said[1]

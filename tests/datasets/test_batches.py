"""Layouts, batches and the seeded order of samples."""

import pytest
import torch

from rheobase.datasets import Pixels, Rows, Sequences, Static, Stored


def labelled(samples, layout, classes=3):
    return Sequences(samples, torch.arange(len(samples)) % classes, layout, classes)


@pytest.fixture
def images():
    return torch.rand(7, 2, 3, 4, generator=torch.Generator().manual_seed(0))


def test_a_static_batch_is_a_view_with_stride_zero_in_time(images):
    xs, _ = next(iter(labelled(images, Static(5)).batches(4)))
    assert xs.shape == (5, 4, 2, 3, 4)
    assert xs.stride(0) == 0
    for x in xs:
        torch.testing.assert_close(x, images[:4], rtol=0, atol=0)


def test_a_stored_sequence_of_counts_comes_time_first_as_float():
    counts = torch.randint(0, 256, (5, 6, 2, 3), dtype=torch.uint8)
    xs, _ = next(iter(labelled(counts, Stored()).batches(5)))
    assert xs.dtype == torch.float32
    assert xs.shape == (6, 5, 2, 3)
    assert all(torch.equal(xs[t, n], counts[n, t].float()) for t in range(6) for n in range(5))


def test_transforms_come_after_those_there_are_and_leave_the_part_as_it_was(images):
    def added(number):
        return lambda xs, target, generator: (10 * xs + number, target)

    part = labelled(images, Static(2))
    once = part.transformed(added(1))
    (plain, _), (first, _), (both, _) = (
        next(iter(each.batches(3))) for each in (part, once, once.transformed(added(2)))
    )
    torch.testing.assert_close(first, 10 * plain + 1)
    torch.testing.assert_close(both, 100 * plain + 12)
    assert part.transforms == ()


def test_rows_and_pixels_are_read_from_the_top_left(images):
    rows, _ = next(iter(labelled(images, Rows()).batches(7)))
    pixels, _ = next(iter(labelled(images, Pixels()).batches(7)))
    assert rows.shape == (3, 7, 8)
    assert pixels.shape == (12, 7, 2)
    for n in range(7):
        for y in range(3):
            assert torch.equal(rows[y, n], torch.cat([images[n, 0, y], images[n, 1, y]]))
            for x in range(4):
                assert torch.equal(pixels[4 * y + x, n], images[n, :, y, x])


@pytest.mark.parametrize("layout", [Static(5), Stored(), Rows(), Pixels()])
def test_steps_and_shape_say_what_a_batch_has(images, layout):
    part = labelled(images, layout)
    xs, target = next(iter(part.batches(4)))
    assert xs.shape == (part.steps, 4, *part.shape)
    assert target.tolist() == [0, 1, 2, 0]


def test_every_sample_comes_once_with_its_own_target():
    part = labelled(torch.arange(23.0).unsqueeze(1), Static(2), classes=23)
    for generator in (None, torch.Generator().manual_seed(1)):
        seen = []
        for xs, target in part.batches(5, generator=generator):
            assert torch.equal(xs[1, :, 0].long(), target)
            seen += target.tolist()
        assert sorted(seen) == list(range(23))
        assert (seen == list(range(23))) == (generator is None)


def test_each_pass_is_shuffled_anew_and_the_seed_repeats_the_passes():
    part = labelled(torch.arange(23.0), Static(1), classes=23)

    def passes():
        batches = part.batches(23, generator=torch.Generator().manual_seed(3))
        return [target.tolist() for _ in range(2) for _, target in batches]

    assert passes() == passes()
    assert passes()[0] != passes()[1]


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 1]), (True, [5, 5])])
def test_the_length_of_batches_counts_a_short_last_one_unless_dropped(drop_last, sizes):
    batches = labelled(torch.zeros(11), Static(1)).batches(5, drop_last=drop_last)
    assert [len(target) for _, target in batches] == sizes
    assert len(batches) == len(sizes)


def test_a_batch_larger_than_what_there_is_cannot_be_dropped():
    with pytest.raises(ValueError, match="no full batch of 12"):
        labelled(torch.zeros(11), Static(1)).batches(12, drop_last=True)


@pytest.mark.parametrize(
    ("samples", "targets", "layout", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64), Static(1), "one sample for each of 4"),
        (torch.zeros(3, 2), torch.zeros(3), Static(1), "int64"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), Static(1), "from 0 to 2"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), Static(1), "from -1 to 1"),
        (torch.tensor([0.0, float("nan"), 1.0]), torch.zeros(3, dtype=torch.int64), Static(1), "1 values"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), Static(1), "at least one"),
        (torch.zeros(3, 64), torch.zeros(3, dtype=torch.int64), Rows(), r"got samples of shape \[M, 64\]"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), Stored(), "stored sequences"),
    ],
)
def test_what_is_no_labelled_sample_is_refused(samples, targets, layout, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Sequences(samples, targets, layout, 2)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Static(0)


def test_take_begins_alike_whatever_its_length_and_has_every_class_in_its_share():
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    part = Sequences(torch.arange(100.0), targets, Static(1), 3)
    whole = part.take(100)
    for count in range(1, 101):
        some = part.take(count)
        assert torch.equal(some.samples, whole.samples[:count])
        found = some.targets.bincount(minlength=3)
        assert ((found - count * torch.tensor([0.6, 0.3, 0.1])).abs() <= 1).all(), count
    assert not torch.equal(whole.samples, part.take(100, seed=1).samples)


@pytest.mark.parametrize("count", [0, 12])
def test_take_refuses_what_there_is_not(count):
    with pytest.raises(ValueError, match="from 1 to 11"):
        labelled(torch.zeros(11), Static(1)).take(count)


def test_the_fingerprint_tells_samples_targets_dtype_and_shape_apart():
    samples, targets = torch.arange(12.0).view(6, 2), torch.zeros(6, dtype=torch.int64)
    changed = samples.clone()
    changed[5, 1] += 1e-6
    other = targets.clone()
    other[0] = 1
    variants = [
        Sequences(s, t, Static(1), 2).fingerprint()
        for s, t in [
            (samples, targets),
            (changed, targets),
            (samples, other),
            (samples.view(6, 1, 2), targets),
            (samples.view(torch.int32), targets),
        ]
    ]
    assert len(set(variants)) == len(variants)
    assert variants[0] == Sequences(samples.clone(), targets, Static(3), 2).fingerprint()

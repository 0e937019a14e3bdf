"""EventDrop removes what it says; EventMix mixes and weighs as it says."""

import pytest
import torch
import torch.nn.functional as F

from rheobase.transforms import EventDrop, EventMix
from rheobase.transforms.event_mix import blobs

LABELS = torch.arange(200) % 5


def counts(steps=10, samples=200, height=20, width=16, rate=0.5):
    generator = torch.Generator().manual_seed(1)
    return torch.poisson(torch.full((steps, samples, 2, height, width), rate, dtype=torch.float64), generator=generator)


def changed(transform, xs, target=LABELS, seed=0):
    return transform(xs, target, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cross", [False, True])
def test_dropping_removes_whole_events_and_never_adds(cross):
    xs = counts()
    result, target = changed(EventDrop(cross=cross), xs)
    assert target is LABELS
    assert (result <= xs).all()
    assert torch.equal(result, result.round())
    assert (result >= 0).all()
    untouched = (result == xs).flatten(2).all(2).all(0)
    # a quarter is left as it is, and a span that begins at the end can miss every frame's middle
    assert 35 < int(untouched.sum()) < 75


def test_dropping_by_time_removes_a_run_of_frames_and_nothing_else():
    xs = torch.ones(10, 300, 1, 2, 2)
    result, _ = changed(EventDrop(time=1.0, area=0.0, scatter=0.0), xs)
    assert torch.equal(result.flatten(2).amax(2), result.flatten(2).amin(2))
    gone = result[:, :, 0, 0, 0] == 0
    assert ((gone.int().diff(dim=0) == 1).sum(0) + gone[0].int() <= 1).all()
    lengths = gone.sum(0)
    assert set(range(1, 9)) <= set(lengths.tolist())
    # span and start are independent: of 0.5 the mean, the end cuts off a part
    assert 2.5 < float(lengths.double().mean()) < 4.5


def test_dropping_by_area_removes_one_rectangle_of_all_frames():
    xs = torch.ones(3, 500, 2, 20, 40)
    result, _ = changed(EventDrop(time=0.0, area=1.0, scatter=0.0), xs)
    gone = result[0, :, 0] == 0
    assert torch.equal(result, xs.masked_fill(gone[:, None], 0))
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None])
    # at most 0.25 of each side, the full share unless the right or lower border is in the way
    assert set(rows.sum(1).tolist()) == {1, 2, 3, 4, 5}
    assert int(columns.sum(1).max()) == 10
    assert torch.isin(columns.sum(1)[~columns[:, -1]], torch.tensor([2, 4, 6, 8, 10])).all()


def test_the_cross_of_the_authors_code_removes_the_rectangles_rows_and_columns():
    xs = torch.ones(1, 300, 1, 20, 40)
    setting = {"time": 0.0, "area": 1.0, "scatter": 0.0}
    box = changed(EventDrop(**setting), xs)[0][0, :, 0] == 0
    cross = changed(EventDrop(**setting, cross=True), xs)[0][0, :, 0] == 0
    assert torch.equal(cross, box.any(2)[:, :, None] | box.any(1)[:, None])
    assert (cross.sum((1, 2)) > box.sum((1, 2))).all()


def test_scattered_dropping_keeps_each_event_with_one_chance_a_sample():
    xs = counts(rate=3.0)
    result, _ = changed(EventDrop(time=0.0, area=0.0, scatter=1.0), xs)
    kept = result.sum((0, 2, 3, 4)) / xs.sum((0, 2, 3, 4))
    nearest = (kept * 10).round()
    # about 19000 events a sample: the standard deviation of a share is below 0.004
    assert ((kept - nearest / 10).abs() < 0.02).all()
    assert set(nearest.int().tolist()) == set(range(1, 10))
    # where a pixel has many events some go and some stay
    assert ((result > 0) & (result < xs)).any()


def test_scattered_dropping_of_fractions_keeps_their_mean():
    xs = torch.full((4, 200, 2, 8, 8), 0.3, dtype=torch.float64)
    result, _ = changed(EventDrop(time=0.0, area=0.0, scatter=1.0), xs)
    assert set(result.unique().tolist()) == {0.0, 0.3}
    assert abs(float(result.mean()) / 0.3 - 0.5) < 0.05


def test_a_sample_that_would_lose_everything_stays_as_it_is():
    xs = torch.zeros(1, 300, 1, 4, 4)
    xs[:, :, :, 1, 2] = 1
    for setting in ({"time": 1.0, "area": 0.0}, {"time": 0.0, "area": 1.0}, {"time": 0.0, "area": 0.0, "scatter": 1.0}):
        result, _ = changed(EventDrop(**{"scatter": 0.0, **setting}), xs)
        assert torch.equal(result, xs)


@pytest.mark.parametrize("transform", [EventDrop(), EventMix(5)], ids=repr)
def test_values_below_zero_are_no_event_counts(transform):
    with pytest.raises(ValueError, match="event counts, got values below 0"):
        changed(transform, counts(steps=2) - 1)


def test_a_mixture_has_at_every_place_one_of_the_two_samples_in_all_channels():
    xs = counts()
    result, target = changed(EventMix(5), xs)
    generator = torch.Generator().manual_seed(0)
    torch.rand(200, generator=generator)
    partner = torch.randint(0, 200, (200,), generator=generator)
    share = torch.rand(200, generator=generator, dtype=torch.float64)
    blob = blobs((10, 20, 16), share, generator, xs.device)
    assert torch.equal(result, torch.where(blob[:, :, None], xs[:, partner], xs))
    torch.testing.assert_close(blob.double().mean((0, 2, 3)), share, rtol=0, atol=8.5 / 3200)
    own = (xs * blob[:, :, None]).sum((0, 2, 3, 4)) / xs.sum((0, 2, 3, 4))
    other = (xs[:, partner] * blob[:, :, None]).sum((0, 2, 3, 4)) / xs[:, partner].sum((0, 2, 3, 4))
    weight = (other / (other + 1 - own))[:, None]
    one_hot = F.one_hot(LABELS, 5).double()
    torch.testing.assert_close(target, (1 - weight) * one_hot + weight * one_hot[partner], rtol=0, atol=1e-12)


def test_where_samples_have_equally_many_events_the_weight_is_the_share_of_the_mixtures_events():
    xs = torch.zeros(4, 50, 1, 12, 12, dtype=torch.float64)
    xs[:, :, 0, :6] = torch.rand(4, 50, 6, 12, dtype=torch.float64)
    xs /= xs.sum((0, 2, 3, 4), keepdim=True)
    marks = torch.arange(50)
    result, target = changed(EventMix(50), xs, marks)
    for n in range(50):
        partners = target[n].nonzero().flatten().tolist()
        other = next((m for m in partners if m != n), n)
        if other == n:
            continue
        came = ((result[:, n] == xs[:, other]) & (xs[:, other] > 0)) * result[:, n]
        assert float(target[n, other]) == pytest.approx(float(came.sum() / result[:, n].sum()), abs=1e-9)


def test_targets_stay_probabilities_and_can_be_mixed_again():
    xs = counts()
    result, target = changed(EventMix(5), xs)
    torch.testing.assert_close(target.sum(1), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (target >= 0).all()
    assert 0.3 < float(target.gather(1, LABELS[:, None]).mean()) < 0.8
    _, twice = changed(EventMix(5), result, target, seed=1)
    torch.testing.assert_close(twice.sum(1), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-12)
    unmixed, one_hot = changed(EventMix(5, p=0.0), xs)
    assert torch.equal(unmixed, xs)
    assert torch.equal(one_hot, F.one_hot(LABELS, 5).double())


def test_a_sample_without_events_takes_part_by_the_blobs_share():
    xs = torch.zeros(4, 200, 2, 8, 8, dtype=torch.float64)
    _, target = changed(EventMix(5), xs)
    assert target.isfinite().all()
    torch.testing.assert_close(target.sum(1), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_blob_holds_its_share_of_the_grid_and_a_few_places_more_where_some_are_equal():
    share = torch.tensor([0.0, 0.001, 0.25, 0.5, 0.999, 1.0], dtype=torch.float64)
    blob = blobs((5, 10, 20), share, torch.Generator().manual_seed(0), torch.device("cpu"))
    held = blob.sum((0, 2, 3)) - torch.tensor([0, 1, 250, 500, 999, 1000])
    assert ((held >= 0) & (held < 8)).all()
    assert held[0] == held[-1] == 0
    # one piece of space and time, so neighbours mostly agree, in time as in space
    half = blob[:, 3]
    for axis in range(3):
        assert float(half.int().diff(dim=axis).abs().double().mean()) < 0.25


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.zeros(200, 3), r"Expected targets \[200, 5\], got \[200, 3\]"),
        (torch.full((200,), 7), r"Expected 200 targets in 0 .. 4, got \[200\], from 7 to 7"),
        (torch.zeros(3).long(), r"Expected 200 targets in 0 .. 4, got \[3\]"),
        (torch.full((200,), -1), r"got \[200\], from -1 to -1"),
    ],
)
def test_targets_that_do_not_fit_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        changed(EventMix(5), counts(steps=1), target)

"""Crops, flips, rolls and cutouts against their definitions."""

import pytest
import torch
import torch.nn.functional as F

from rheobase.transforms import (
    Binarise,
    Cutout,
    EventFlip,
    Flip,
    Normalise,
    RandomCrop,
    Roll,
    Scale,
    TorchtoolboxCutout,
)


def noise(steps, samples, channels, height, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(11)
    return 0.1 + torch.rand(steps, samples, channels, height, width, generator=generator, dtype=dtype)


def changed(transform, xs, seed=0):
    return transform(xs, torch.zeros(xs.shape[1]).long(), torch.Generator().manual_seed(seed))[0]


def test_a_crop_is_a_window_of_the_padded_image_at_one_place_for_all_frames():
    xs = noise(3, 64, 2, 6, 9)
    padded = F.pad(xs, (2, 2, 2, 2))
    result = changed(RandomCrop((5, 8), padding=2), xs)
    places = set()
    for n in range(64):
        found = [
            (i, j)
            for i in range(10 - 5 + 1)
            for j in range(13 - 8 + 1)
            if torch.equal(result[:, n], padded[:, n, :, i : i + 5, j : j + 8])
        ]
        assert len(found) == 1
        places.add(found[0])
    # 36 places, 64 draws: all but the unluckiest seeds see more than 20, and the corners are among the possible
    assert len(places) > 20
    assert {i for i, _ in places} == set(range(6))
    assert {j for _, j in places} == set(range(6))


def test_a_crop_larger_than_the_padded_image_is_refused():
    xs = noise(1, 1, 1, 6, 9)
    assert torch.equal(changed(RandomCrop((6, 9)), xs), xs)
    with pytest.raises(ValueError, match="RandomCrop of 9 x 9 does not fit frames of 6 x 9 with a padding of 1"):
        changed(RandomCrop(9, padding=1), xs)


def test_a_flip_twice_is_no_flip_and_half_are_flipped():
    xs = noise(2, 400, 1, 3, 4)
    once = changed(Flip(), xs)
    assert torch.equal(changed(Flip(), once), xs)
    flipped = (once == xs.flip(-1)).flatten(2).all(2).all(0)
    assert torch.equal(once[:, ~flipped], xs[:, ~flipped])
    assert 150 < int(flipped.sum()) < 250
    assert torch.equal(changed(Flip(1.0), xs), xs.flip(-1))
    assert torch.equal(changed(Flip(0.0), xs), xs)


def test_an_event_flip_is_a_flip_that_can_also_swap_the_polarities():
    xs = noise(2, 400, 2, 3, 4)
    assert torch.equal(changed(EventFlip(), xs), changed(Flip(), xs))
    assert torch.equal(changed(EventFlip(p=0, swap=1.0), xs), xs.flip(2))
    swapped = (changed(EventFlip(p=0.0, swap=0.5), xs) == xs.flip(2)).flatten(2).all(2).all(0)
    assert 150 < int(swapped.sum()) < 250
    with pytest.raises(ValueError, match="EventFlip with a swap of polarities expects 2 channels"):
        changed(EventFlip(swap=0.5), xs[:, :, :1])


def test_a_roll_is_torch_roll_by_at_most_its_pixels_on_each_axis():
    xs = noise(2, 300, 2, 11, 12)
    result = changed(Roll(2), xs)
    seen = set()
    for n in range(300):
        found = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if torch.equal(result[:, n], xs[:, n].roll((i, j), (-2, -1)))
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25
    torch.testing.assert_close(result.sum((3, 4)), xs.sum((3, 4)), rtol=0, atol=1e-12)


def test_a_roll_that_does_not_wrap_shifts_and_fills_with_zeros():
    xs = noise(2, 100, 2, 11, 12)
    wrapped, result = changed(Roll(4), xs), changed(Roll(4, wrap=False), xs)
    stays = result != 0
    assert torch.equal(result[stays], wrapped[stays])
    lost = ~stays[0, :, 0]
    rows, columns = lost.all(2).sum(1), lost.all(1).sum(1)
    assert torch.equal(lost.sum((1, 2)), 11 * 12 - (11 - rows) * (12 - columns))
    assert int(rows.max()) == int(columns.max()) == 4


def test_a_roll_of_many_times_the_side_still_wraps():
    xs = noise(1, 50, 1, 3, 4)
    result = changed(Roll(9), xs)
    assert torch.equal(result.flatten(2).sort(2).values, xs.flatten(2).sort(2).values)


@pytest.mark.parametrize("size", [4, 5])
def test_a_cutout_removes_one_square_clipped_at_the_border(size):
    xs = noise(2, 500, 3, 10, 13)
    result = changed(Cutout(size, fill=-1.0), xs)
    hole = result[0, :, 0] == -1
    assert torch.equal(result, xs.masked_fill(hole[:, None], -1.0))
    rows, columns = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None])
    for edge in (rows, columns):
        # a run without a gap, of full length unless it touches a border
        assert int((edge.int().diff(dim=1).abs().sum(1) > 2).sum()) == 0
        free = ~edge[:, 0] & ~edge[:, -1]
        assert (edge[free].sum(1) == size).all()
    # any pixel is as likely the middle as another, so the border's pixels are cut too
    assert hole.any(0).all()
    assert (hole.sum((1, 2)) == size * size).any()


def test_a_cutout_has_as_many_holes_as_asked_and_only_with_its_probability():
    xs = noise(1, 400, 1, 40, 40)
    cut = (changed(Cutout(6, p=0.5), xs)[0] == 0).flatten(1).any(1)
    assert 150 < int(cut.sum()) < 250
    area = (changed(Cutout(4, holes=3), xs)[0, :, 0] == 0).sum((1, 2))
    assert int(area.max()) == 48
    assert not (changed(Cutout(4, holes=1), xs)[0, :, 0] == 0).sum((1, 2)).gt(16).any()


def test_a_torchtoolbox_cutout_has_the_areas_and_shapes_of_its_ranges():
    xs = noise(2, 1000, 3, 32, 32)
    result = changed(TorchtoolboxCutout(white=-1.0, p=1.0), xs)
    hole = (result != xs)[0].all(1)
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    area = rows * columns / 1024
    # sides are rounded down, so the area lies below what was drawn, by less than a row and a column
    assert 0.02 - 64 / 1024 < float(area.min()) < 0.03
    assert 0.33 < float(area.max()) <= 0.4
    assert abs(float(area.mean()) - 0.2) < 0.02
    aspect = (rows + 0.5) / (columns + 0.5)
    assert 0.3 < float(aspect.min()) < 0.6
    assert 2.0 < float(aspect.max()) < 3.0
    assert not hole[:, -1].any()
    assert not hole[:, :, -1].any()
    cut = (changed(TorchtoolboxCutout(white=-1.0), xs) != xs).any((0, 2, 3, 4))
    assert 420 < int(cut.sum()) < 580


def test_a_torchtoolbox_cutout_is_colourful_red_or_grey():
    xs = torch.full((1, 200, 3, 16, 16), -1.0, dtype=torch.float64)
    patches = {}
    for fill in ("random", "red", "grey"):
        result = changed(TorchtoolboxCutout(p=1.0, fill=fill), xs)[0]
        patches[fill] = result.flatten(2).amax(2)
        assert torch.equal((result >= 0).any(1), (result >= 0).all(1))
    levels = torch.cat(list(patches.values())) * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-9)
    assert 0 <= float(levels.min()) <= float(levels.max()) <= 254.0001
    assert (patches["red"][:, 1:] == 0).all()
    assert (patches["grey"] == patches["grey"][:, :1]).all()
    assert (patches["random"][:, 0] != patches["random"][:, 1]).sum() > 150
    for channel in range(3):
        assert abs(float(patches["random"][:, channel].mean()) - 0.5) < 0.1


def test_normalised_bytes_are_the_scaled_bytes_normalised():
    xs = (noise(2, 3, 2, 4, 5) * 200).round()
    mean, std = (0.4, 0.2), (0.3, 0.1)
    both = changed(Normalise(mean, std), changed(Scale(), xs))
    assert torch.equal(changed(Normalise(mean, std, scale=1 / 255), xs), both)
    for channel in (0, 1):
        expected = (xs[:, :, channel] / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(both[:, :, channel], expected, rtol=0, atol=1e-12)


def test_binarised_counts_say_where_there_were_any():
    xs = torch.tensor([0.0, 0.4, 1.0, 7.0]).view(1, 1, 1, 1, 4)
    assert changed(Binarise(), xs).flatten().tolist() == [0, 1, 1, 1]
    assert changed(Binarise(threshold=0.5), xs).flatten().tolist() == [0, 0, 1, 1]

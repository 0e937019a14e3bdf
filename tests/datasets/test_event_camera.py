"""The event camera against a plain pixel-by-pixel one, and the guarantees on its random numbers."""

import math
from dataclasses import replace

import pytest
import torch

from rheobase.datasets import Camera
from rheobase.datasets.camera import corners, positions
from rheobase.datasets.recording import first_lags, record

TINY = Camera(size=9, image_size=4, noise_rate=0.0, bins_per_move=4)
PLAIN = ((0, 1, 2),)


def shots(count, camera=TINY, *, bins=12, orders=PLAIN, stream="train", chosen=None, seed=0, side=4):
    images = torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(count, dtype=torch.int64) if chosen is None else chosen
    return record(images, chosen, orders, camera, bins=bins, stream=stream)


def pixel_events(level_at, path, start, lag, brighter, darker):
    """Signed events of one pixel at each position of `path`; level_at gives its log intensity."""
    reference, sent = level_at(start) + lag, []
    for at in path:
        change = level_at(at) - reference
        up, down = max(0, math.floor(change / brighter)), max(0, math.floor(-change / darker))
        reference += up * brighter - down * darker
        sent.append((up, down))
    return sent


def test_every_pixel_sends_what_a_pixel_by_pixel_camera_sends():
    camera, order = replace(TINY, mismatch=0.1), (1, 0, 2)
    image = torch.rand(4, 4, generator=torch.Generator().manual_seed(2))
    found = record(image[None], torch.zeros(1, dtype=torch.int64), [order], camera, bins=12, stream="train")[0]
    warm_up = list(positions(camera, order, 1))
    path = warm_up + list(positions(camera, order, camera.substeps))
    thresholds, lags = camera.thresholds(), first_lags(1, camera, "train")[0]

    def intensity(y, x):
        inside = 2 <= y < 6 and 2 <= x < 6
        return float(image[y - 2, x - 2]) if inside else 0.0

    def level(pixel, at):
        y, x = pixel[0] + at[0], pixel[1] + at[1]
        top, left = math.floor(y), math.floor(x)
        mixed = sum(
            intensity(top + i, left + j) * (y - top if i else 1 - y + top) * (x - left if j else 1 - x + left)
            for i in (0, 1)
            for j in (0, 1)
        )
        return math.log(0.3 + mixed)

    differing = 0
    for y in range(9):
        for x in range(9):
            lag = ((int(lags[y, x]) + 0.5) / 256 - 0.5) * camera.threshold
            sent = pixel_events(
                lambda at, pixel=(y, x): level(pixel, at),
                path,
                corners(order)[0],
                lag,
                *thresholds[:, y, x].tolist(),
            )[len(warm_up) :]
            expected = [[sum(e[c] for e in sent[3 * b : 3 * b + 3]) for c in (0, 1)] for b in range(12)]
            differing += int((torch.tensor(expected) != found[:, :, y, x]).sum())
    assert found.sum() > 200
    # intensities are rounded to 1 / 4096, so an event may fall a substep to either side of a border of bins
    assert differing <= 2


def test_a_bright_edge_sends_brighter_where_it_comes_and_darker_where_it_leaves():
    camera = replace(Camera(noise_rate=0.0), mismatch=0.0)
    image = torch.zeros(1, 28, 28)
    image[:, :, 14:] = 1.0
    counts = record(image, torch.zeros(1, dtype=torch.int64), PLAIN, camera, bins=3, stream="train")[0]
    edge = counts[:, :, 10:24, 10:24].sum((2, 3))
    # the camera goes right by 2, right by 4, left by 6 pixels: the bright right side comes, comes, leaves
    assert edge[0, 0] > 0
    assert edge[1, 0] > 0
    assert edge[2, 1] > 0
    assert edge[0, 1] == edge[1, 1] == edge[2, 0] == 0


def test_a_camera_that_has_gone_round_sends_as_much_wherever_on_the_triangle_it_began():
    camera = replace(TINY, mismatch=0.0, bins_per_move=20)
    rotations, mirrored = ((0, 1, 2), (1, 2, 0), (2, 0, 1)), (0, 2, 1)
    totals = [shots(64, camera, bins=3, orders=[order]).sum(1).double().mean(0) for order in rotations]
    other = shots(64, camera, bins=3, orders=[mirrored]).sum(1).double().mean(0)
    apart = (totals[0] - totals[1]).abs().mean(), (totals[0] - totals[2]).abs().mean()
    assert max(apart) < 0.1 * (totals[0] - other).abs().mean()
    steps = [shots(64, camera, bins=3, orders=[order]).double().mean(0) for order in rotations]
    assert (steps[0] - steps[1]).abs().mean() > max(apart)


def test_the_path_is_that_of_n_mnist_and_every_order_makes_the_same_moves():
    assert corners((0, 1, 2)) == [(-2, -3), (3.5, -1), (-2, 3), (-2, -3)]
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        path = torch.tensor(corners(order))
        moves = torch.tensor(corners((0, 1, 2))).diff(dim=0)
        torch.testing.assert_close(path.diff(dim=0), moves[list(order)])
        torch.testing.assert_close(path[0], path[-1])
    with pytest.raises(ValueError, match="order of the saccades"):
        corners((0, 0, 1))


@pytest.mark.parametrize("camera", [TINY, replace(TINY, noise_rate=200.0)], ids=["quiet", "noisy"])
def test_a_sample_is_the_same_in_any_batch_and_on_any_number_of_threads(camera):
    chosen = torch.arange(150) % 2
    orders = ((0, 1, 2), (2, 1, 0))
    whole = shots(150, camera, orders=orders, chosen=chosen)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(whole, shots(150, camera, orders=orders, chosen=chosen))
        for count in (1, 63, 65, 128):
            some = torch.rand(150, 4, 4, generator=torch.Generator().manual_seed(0))[:count]
            found = record(some, chosen[:count], orders, camera, bins=12, stream="train")
            assert torch.equal(found, whole[:count])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("seed", "stream"), [(1, "train"), (0, "test")])
def test_another_seed_or_stream_gives_other_first_references_and_other_noise(seed, stream):
    for camera in (replace(TINY, mismatch=0.0), replace(TINY, noise_rate=200.0, threshold=9.0)):
        other = shots(4, replace(camera, seed=seed), stream=stream)
        assert not torch.equal(shots(4, camera), other)


def test_thresholds_spread_by_the_mismatch_over_pixels_and_channels():
    thresholds = Camera(mismatch=0.05).thresholds()
    assert thresholds.shape == (2, 34, 34)
    assert abs(float(thresholds.mean()) - 0.27) < 4 * 0.27 * 0.05 / 2312**0.5
    assert abs(float(thresholds.std()) / (0.27 * 0.05) - 1) < 4 / (2 * 2312) ** 0.5
    assert not torch.equal(thresholds, Camera(seed=1).thresholds())
    assert Camera(mismatch=0.0).thresholds().unique().numel() == 1


def test_a_saccade_eases_in_and_out_as_a_cosine():
    path = list(positions(Camera(bins_per_move=6), (0, 1, 2), 1))
    ways = [(y + 2.0) / 5.5 for y, _ in path[:6]]
    expected = [0.5 - 3**0.5 / 4, 0.25, 0.5, 0.75, 0.5 + 3**0.5 / 4, 1.0]
    assert ways == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 3, 4, 6])
def test_merging_bins_keeps_every_event(bins):
    camera = replace(TINY, noise_rate=200.0)
    fine, merged = shots(5, camera), shots(5, camera, bins=bins)
    assert torch.equal(fine.unflatten(1, (bins, -1)).sum(2), merged.long())


def test_noise_comes_at_its_rate_in_every_bin_and_channel():
    camera = Camera(size=20, image_size=4, noise_rate=40.0)
    black = torch.zeros(50, 4, 4)
    counts = record(black, torch.zeros(50, dtype=torch.int64), PLAIN, camera, bins=3, stream="x").double()
    expected = 40.0 * 0.1 / 2 * 400
    spread = (expected / 50) ** 0.5
    assert ((counts.sum((3, 4)).mean(0) - expected).abs() < 5 * spread).all()
    # a Poisson number: its variance is its mean
    assert 0.7 < counts.sum((3, 4)).var(0).mean() / expected < 1.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"bins": 5}, "divides 12, got 5"), ({"bins": 0}, "divides 12, got 0")],
)
def test_bins_that_do_not_divide_the_path_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shots(1, **arguments)


def test_images_out_of_range_and_overflowing_counts_are_refused():
    zero = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="from 0 to 255"):
        record(torch.tensor([[[0.0, 255.0]]]), zero, PLAIN, TINY, bins=1, stream="train")
    with pytest.raises(ValueError, match="More than 255 events"):
        shots(1, replace(TINY, threshold=0.002), bins=1)
    with pytest.raises(ValueError, match="positive threshold"):
        Camera(threshold=0.0)
    # 390 noise events of a pixel on average in the one bin, 33 in each of twelve
    noisy = replace(TINY, noise_rate=13000.0, bin_seconds=0.005)
    with pytest.raises(ValueError, match=r"More than 255 events of a pixel .* smaller noise_rate"):
        shots(1, noisy, bins=1)
    assert shots(1, noisy, bins=12).max() > 33
    with pytest.raises(ValueError, match="image_size up to size"):
        Camera(size=20)

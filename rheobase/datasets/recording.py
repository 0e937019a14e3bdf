"""What an event camera sends while it moves over still images: counts of events in time bins.

Every step of the arithmetic is a single correctly rounded operation or a table look-up, so a sample's
counts are the same bits in whatever batch, on however many threads it is made.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.datasets.camera import BATCH, LEVELS, Camera, corners, positions


def record(
    images: Tensor, chosen: Tensor, orders: Sequence[Sequence[int]], camera: Camera, *, bins: int, stream: str
) -> Tensor:
    """Event counts `[M, bins, 2, size, size]`, uint8; channel 0 is brighter, channel 1 darker.

    images: `[M, H, W]`, intensities in [0, 1].
    chosen: `[M]`, which of `orders` the saccades of each sample follow.
    bins: a divisor of `camera.bins`, the neighbours among which are merged.
    stream: names the noise; the samples of one stream have noise of their own, in order.

    The first n samples are the same whatever comes after them. Raises ValueError for other input.
    """
    if bins < 1 or camera.bins % bins:
        raise ValueError(f"Expected a number of bins that divides {camera.bins}, got {bins}.")
    if images.ndim != 3 or not 0 <= float(images.min()) <= float(images.max()) <= 1:
        raise ValueError(
            f"Expected images [M, H, W] with intensities in [0, 1], got shape {list(images.shape)} "
            f"from {float(images.min()):g} to {float(images.max()):g}."
        )
    counts = torch.empty(len(images), bins, 2, camera.size, camera.size, dtype=torch.uint8)
    lags = first_lags(len(images), camera, stream)
    for number, order in enumerate(orders):
        followers = (chosen == number).nonzero().squeeze(1)
        for start in range(0, len(followers), BATCH):
            members = followers[start : start + BATCH]
            counts[members] = moved(images[members], lags[members], order, camera, bins)
    add_noise(counts, camera, stream)
    return counts


def moved(images: Tensor, lags: Tensor, order: Sequence[int], camera: Camera, bins: int) -> Tensor:
    """The counts `[N, bins, 2, size, size]`, without noise, of images `[N, H, W]` seen along one path.

    lags: `[N, size, size]`, uint8, how far each reference is above its level at first, in 1 / 256 of the
        threshold, from half a threshold below.
    """
    margin = 1 + math.ceil(max(abs(at) for corner in corners(order) for at in corner))
    scene = placed(images, camera, margin)
    table, threshold = camera.levels(), camera.thresholds()
    reference = seen(scene, corners(order)[0], margin, table, camera.size)
    reference.add_(((lags + 0.5) / 256 - 0.5).mul_(camera.threshold))

    def sent_at(path: Iterable[tuple[float, float]]) -> Tensor:
        events = torch.zeros(2, *reference.shape)
        for at in path:
            send(seen(scene, at, margin, table, camera.size), reference, threshold, events)
        require_bytes(events)
        return events.transpose(0, 1).to(torch.uint8)

    for at in positions(camera, order, 1):
        sent_at([at])
    path, width = positions(camera, order, camera.substeps), camera.bins // bins * camera.substeps
    return torch.stack([sent_at(islice(path, width)) for _ in range(bins)], dim=1)


def first_lags(samples: int, camera: Camera, stream: str) -> Tensor:
    """Where the references of each sample's pixels stand at first, `[samples, size, size]`, see `moved`."""
    shape = (samples, camera.size, camera.size)
    return torch.randint(256, shape, generator=seeded(f"{stream} lags", camera), dtype=torch.uint8)


def seeded(purpose: str, camera: Camera) -> torch.Generator:
    """The camera's random numbers for one purpose."""
    return torch.Generator().manual_seed(zlib.crc32(f"{purpose} {camera.seed}".encode()))


def send(level: Tensor, reference: Tensor, threshold: Tensor, events: Tensor) -> None:
    """Adds to `events` `[2, N, S, S]` what pixels at `level` send; moves `reference` after it, in place."""
    change = level.sub_(reference)
    for channel, sign in enumerate((1, -1)):
        sent = change.div(threshold[channel] * sign).floor_().clamp_(min=0)
        events[channel].add_(sent)
        reference.add_(sent.mul_(threshold[channel] * sign))


def placed(images: Tensor, camera: Camera, margin: int) -> Tensor:
    """Images `[N, H, W]` scaled to the camera's image size and centred in the dark, with a margin around."""
    side = camera.image_size
    for dim in (1, 2):
        if images.shape[dim] != side:
            images = resized(images, dim, side)
    before = (camera.size - side) // 2 + margin
    after = camera.size + 2 * margin - side - before
    return functional.pad(images, (before, after, before, after))


def resized(images: Tensor, dim: int, side: int) -> Tensor:
    """`images` with `side` values along `dim`, linearly interpolated between pixel centres."""
    size = images.shape[dim]
    at = ((torch.arange(side) + 0.5) * (size / side) - 0.5).clamp_(0, size - 1)
    low = at.long()
    high = (low + 1).clamp_(max=size - 1)
    weight = (at - low).view([-1 if d == dim else 1 for d in range(images.ndim)])
    return images.index_select(dim, low) * (1 - weight) + images.index_select(dim, high) * weight


def seen(scene: Tensor, at: tuple[float, float], margin: int, table: Tensor, size: int) -> Tensor:
    """Log intensity `[N, size, size]` of each pixel, the camera being at (y, x) over the scene."""
    top, left = (math.floor(offset) for offset in at)
    down, right = at[0] - top, at[1] - left
    view = scene[:, margin + top :][:, : size + 1, margin + left :][:, :, : size + 1]
    rows = (view[:, :-1] * (1 - down)).add_(view[:, 1:] * down)
    pixels = (rows[:, :, :-1] * (1 - right)).add_(rows[:, :, 1:] * right)
    return table.take(pixels.mul_(LEVELS).round_().long())


def add_noise(counts: Tensor, camera: Camera, stream: str) -> None:
    """Adds noise events, in place: a Poisson number each sample, each anywhere in space, time and channel."""
    generator = seeded(f"{stream} noise", camera)
    bins, channels, height, width = counts.shape[1:]
    expected = torch.tensor(camera.noise_rate * camera.bins * camera.bin_seconds * height * width)
    for sample in counts:
        number = int(torch.poisson(expected, generator=generator))
        cells = camera.bins * channels * height * width
        place = torch.randint(cells, (number,), generator=generator)
        pixel, time = place % (channels * height * width), place // (channels * height * width)
        merged = time // (camera.bins // bins) * (channels * height * width) + pixel
        noisy = sample.view(-1) + torch.bincount(merged, minlength=sample.numel())
        require_bytes(noisy)
        sample.view(-1).copy_(noisy)


def require_bytes(counts: Tensor) -> None:
    """Raises ValueError for a count that a byte does not hold."""
    if counts.max() > 255:
        raise ValueError(
            "More than 255 events of a pixel in a bin: use more bins, a larger threshold or a smaller noise_rate."
        )

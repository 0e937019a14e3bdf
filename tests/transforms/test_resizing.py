"""Resizing against PyTorch's and Pillow's, and what it conserves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rheobase.transforms import Resize, TwoChannelResize
from rheobase.transforms.resizing import area_weights, triangle_weights

SIZES = [((128, 128), (48, 48)), ((34, 34), (48, 48)), ((18, 24), (7, 24)), ((9, 30), (20, 11))]


def changed(transform, xs):
    return transform(xs, torch.zeros(xs.shape[1]).long(), torch.Generator())[0]


def events(height, width, rate=0.2, samples=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    rates = torch.full((2, samples, 2, height, width), rate, dtype=dtype)
    return torch.poisson(rates, generator=generator)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bilinear_is_pytorchs_antialiased_interpolation_of_each_channel(source, target):
    xs = events(*source)
    expected = F.interpolate(xs.flatten(0, 1), size=target, mode="bilinear", antialias=True)
    torch.testing.assert_close(
        changed(Resize(target, mode="bilinear"), xs), expected.unflatten(0, (2, 3)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("source", "target"), [((128, 128), (32, 32)), ((24, 36), (6, 12))])
def test_area_is_the_mean_of_blocks_where_the_sizes_divide(source, target):
    xs = events(*source)
    expected = F.interpolate(xs.flatten(0, 1), size=target, mode="area").unflatten(0, (2, 3))
    torch.testing.assert_close(changed(Resize(target), xs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_area_keeps_the_mean_or_the_sum_exactly(source, target):
    xs = events(*source)
    mean, total = changed(Resize(target), xs), changed(Resize(target, keep="sum"), xs)
    torch.testing.assert_close(mean.mean((3, 4)), xs.mean((3, 4)), rtol=0, atol=1e-12)
    torch.testing.assert_close(total.sum((3, 4)), xs.sum((3, 4)), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bilinear_keeps_them_nearly(source, target):
    xs = events(*source, rate=2.0)
    mean, total = (changed(Resize(target, mode="bilinear", keep=keep), xs) for keep in ("mean", "sum"))
    torch.testing.assert_close(mean.mean((3, 4)), xs.mean((3, 4)), rtol=0.05, atol=0)
    torch.testing.assert_close(total.sum((3, 4)), xs.sum((3, 4)), rtol=0.05, atol=0)
    ratio = source[0] * source[1] / (target[0] * target[1])
    torch.testing.assert_close(total, mean * ratio, rtol=0, atol=1e-9)


@pytest.mark.parametrize("weights", [area_weights, triangle_weights])
def test_weights_sum_to_one_and_the_same_size_changes_nothing(weights):
    for source, target in ((128, 48), (34, 48), (5, 5), (7, 1), (1, 4)):
        torch.testing.assert_close(weights(source, target).sum(1), torch.ones(target).double(), rtol=0, atol=1e-12)
    assert torch.equal(weights(9, 9), torch.eye(9).double())


def test_rounded_counts_of_sparse_events_are_mostly_gone():
    xs = events(128, 128, rate=0.02)
    whole, rounded = (changed(Resize(32, mode="bilinear", rounded=r), xs) for r in (False, True))
    assert torch.equal(rounded, whole.round())
    assert float(whole.mean()) == pytest.approx(float(xs.mean()), rel=0.02)
    assert float(rounded.sum()) < 0.05 * float(whole.sum())


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bilinear_is_pillows_on_floating_images(source, target):
    pil = pytest.importorskip("PIL.Image")
    xs = events(*source, dtype=torch.float32)
    result = changed(Resize(target, mode="bilinear"), xs)
    for frame, found in zip(xs.flatten(0, 2), result.flatten(0, 2), strict=True):
        image = pil.fromarray(frame.numpy()).resize((target[1], target[0]), pil.Resampling.BILINEAR)
        torch.testing.assert_close(found, torch.from_numpy(np.array(image)), rtol=0, atol=1e-5)


def through_pillow(xs, target):
    """As torchvision's ToPILImage, Resize and ToTensor do it with Pillow. xs: `[T, N, 2, H, W]`."""
    pil = pytest.importorskip("PIL.Image")
    frames = []
    for frame in xs.flatten(0, 1):
        wrapped = (frame * 255).long().remainder(256).to(torch.uint8).permute(1, 2, 0).contiguous()
        image = pil.frombytes("LA", (frame.shape[2], frame.shape[1]), wrapped.numpy().tobytes())
        resized = np.array(image.resize((target[1], target[0]), pil.Resampling.BILINEAR))
        frames.append(torch.from_numpy(resized).permute(2, 0, 1).to(xs.dtype) / 255)
    return torch.stack(frames).unflatten(0, xs.shape[:2])


@pytest.mark.parametrize("rate", [0.02, 0.3, 2.0, 40.0])
@pytest.mark.parametrize(("source", "target"), [*SIZES, ((48, 48), (48, 48))])
def test_two_channel_resizing_is_pillows_to_the_last_bit(source, target, rate):
    xs = events(*source, rate=rate)
    assert torch.equal(changed(TwoChannelResize(target), xs), through_pillow(xs, target))


def test_two_channel_resizing_of_fractions_is_pillows_too():
    xs = torch.rand(2, 3, 2, 40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    assert torch.equal(changed(TwoChannelResize((12, 13)), xs), through_pillow(xs, (12, 13)))


def test_two_channel_resizing_loses_the_first_channel_where_the_second_is_empty():
    xs = torch.zeros(1, 1, 2, 32, 32)
    xs[:, :, 0, :12] = 1
    xs[:, :, 1, 20:] = 1
    broken, clean = changed(TwoChannelResize(16), xs), changed(Resize(16, mode="bilinear"), xs)
    assert float(broken[:, :, 0].sum()) == 0
    assert float(clean[:, :, 0].sum()) > 90
    torch.testing.assert_close(broken[:, :, 1], clean[:, :, 1], rtol=0, atol=1 / 255)


def test_bytes_of_counts_are_nearly_binary_and_slightly_inverted():
    xs = torch.tensor([0.0, 1, 2, 3, 255, 256, 257]).view(1, 1, 1, 1, 7).expand(1, 1, 2, 1, 7)
    result = changed(TwoChannelResize((1, 7)), xs)[0, 0, 0, 0]
    assert torch.equal((result * 255).round(), torch.tensor([0.0, 255, 254, 253, 1, 0, 255]))

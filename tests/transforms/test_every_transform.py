"""What holds for every transform."""

import pickle
from dataclasses import replace

import pytest
import torch

import rheobase as rb
from rheobase.transforms import (
    AutoAugment,
    Binarise,
    Cutout,
    EventDrop,
    EventFlip,
    EventMix,
    Flip,
    Normalise,
    PixelTransform,
    RandomCrop,
    Resize,
    Roll,
    Scale,
    TorchtoolboxCutout,
    TwoChannelResize,
)

IMAGES = [
    AutoAugment(),
    AutoAugment("rate-bp"),
    Cutout(4),
    Flip(),
    Normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    RandomCrop(12, padding=2),
    Roll(3),
    Roll(3, wrap=False),
    TorchtoolboxCutout(),
]
EVENTS = [
    Binarise(),
    EventDrop(),
    EventFlip(swap=0.5),
    EventMix(4),
    Resize(7),
    Resize((6, 9), mode="bilinear", keep="sum"),
    Scale(),
    TwoChannelResize(7),
]
EVERY = IMAGES + EVENTS
WHOLE = [transform for transform in EVERY if isinstance(transform, PixelTransform)]
RANDOM = [t for t in EVERY if not isinstance(t, (Binarise, Normalise, Resize, Scale, TwoChannelResize))]
TARGET = torch.arange(24) % 4


def frames(transform, steps=3, dtype=torch.float32):
    """Images of bytes / 255 or event counts, `[steps, 24, C, 12, 12]`."""
    generator = torch.Generator().manual_seed(7)
    if transform in IMAGES:
        return torch.randint(0, 256, (steps, 24, 3, 12, 12), generator=generator).to(dtype) / 255
    return torch.poisson(torch.full((steps, 24, 2, 12, 12), 0.7), generator=generator).to(dtype)


def changed(transform, xs, seed=0):
    return transform(xs, TARGET, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_the_input_stays_as_it_is_and_the_type_is_kept(transform):
    for dtype in (torch.float32, torch.float64):
        xs = frames(transform, dtype=dtype)
        before = xs.clone()
        result, _ = changed(transform, xs)
        assert torch.equal(xs, before)
        assert result.dtype == dtype
        assert not torch.equal(result, xs) if result.shape == xs.shape else True


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_both_types_of_numbers_give_the_same_result(transform):
    single, double = (changed(transform, frames(transform, dtype=d))[0] for d in (torch.float32, torch.float64))
    if isinstance(transform, EventDrop):  # the binomial numbers of the two types differ
        transform = replace(transform, scatter=0.0)
        single, double = (changed(transform, frames(transform, dtype=d))[0] for d in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_a_seed_gives_a_result_whatever_was_drawn_elsewhere(transform):
    xs = frames(transform)
    first, target = changed(transform, xs)
    torch.rand(3)
    again, same_target = changed(transform, xs)
    assert torch.equal(first, again)
    assert torch.equal(target, same_target)


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_another_seed_gives_another_result_and_two_equal_samples_differ(transform):
    xs = frames(transform)
    assert not torch.equal(changed(transform, xs)[0], changed(transform, xs, seed=1)[0])
    equal = xs[:, :1].expand(-1, 24, -1, -1, -1).contiguous()
    result, _ = changed(transform, equal)
    if not isinstance(transform, EventMix):  # which mixes a sample with its likes
        assert any(not torch.equal(result[:, 0], result[:, n]) for n in range(1, 24))


@pytest.mark.parametrize("transform", WHOLE, ids=repr)
def test_all_frames_of_a_sample_are_changed_alike(transform):
    xs = frames(transform, steps=1).repeat(3, 1, 1, 1, 1)
    result, target = changed(transform, xs)
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[0], result[2])
    assert target is TARGET


@pytest.mark.parametrize("transform", WHOLE, ids=repr)
def test_a_static_sequence_stays_a_view_and_is_changed_as_its_copy(transform):
    xs = rb.constant(frames(transform, steps=1)[0], steps=5)
    result, _ = changed(transform, xs)
    assert len(result) == 5
    assert result.stride(0) == 0
    assert torch.equal(result, changed(transform, xs.contiguous())[0])


@pytest.mark.parametrize("transform", [EventDrop(), EventMix(4)], ids=repr)
def test_what_changes_events_in_time_takes_a_static_sequence_for_its_copy(transform):
    xs = rb.constant(frames(transform, steps=1)[0], steps=5)
    result, _ = changed(transform, xs)
    assert torch.equal(result, changed(transform, xs.contiguous())[0])
    assert not torch.equal(result[0], result[4])


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_transforms_print_compare_hash_and_pickle(transform):
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert hash(replace(transform)) == hash(transform)
    assert repr(transform).startswith(type(transform).__name__ + "(")
    assert sum(transform == other for other in EVERY) == 1


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_what_is_no_floating_sequence_of_frames_is_refused(transform):
    xs = frames(transform)
    with pytest.raises(ValueError, match=r"expects sequences \[T, N, C, H, W\], got shape \[24,"):
        changed(transform, xs[0])
    with pytest.raises(TypeError, match=r"floating-point sequences, got torch\.uint8"):
        changed(transform, xs.to(torch.uint8))


@pytest.mark.parametrize(
    "transform", [AutoAugment(), Normalise((0, 0, 0), (1, 1, 1)), TorchtoolboxCutout(), TwoChannelResize(4)], ids=repr
)
def test_a_wrong_number_of_channels_is_refused(transform):
    with pytest.raises(ValueError, match=r"expects [23] channels \[T, N, [23], H, W\], got \[1, 1, 4, 5, 5\]"):
        transform(torch.zeros(1, 1, 4, 5, 5), torch.zeros(1).long(), torch.Generator())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoAugment("imagenet"), "imagenet"),
        (lambda: Cutout(0), "size of at least 1, got 0"),
        (lambda: Cutout(4, holes=0), "holes of at least 1"),
        (lambda: Cutout(4, p=1.5), r"probability in \[0, 1\], got 1.5"),
        (lambda: EventDrop(time=0.6, area=0.6), "time \\+ area \\+ scatter"),
        (lambda: EventFlip(swap=-1), "swap to be a probability"),
        (lambda: EventMix(0), "classes of at least 1"),
        (lambda: Flip(2), "p to be a probability"),
        (lambda: Normalise((0.5,), (0.2, 0.2)), "a mean and a std for each channel"),
        (lambda: Normalise((0.5,), (0.0,)), "positive standard deviations"),
        (lambda: RandomCrop(0), "size of at least 1 pixel"),
        (lambda: RandomCrop(4, padding=-1), "padding of at least 0"),
        (lambda: Resize((0, 3)), "size of at least 1 pixel"),
        (lambda: Resize(4, mode="cubic"), 'mode "area" or "bilinear"'),
        (lambda: Resize(4, keep="max"), 'keep "mean" or "sum"'),
        (lambda: Roll(-1), "pixels of at least 0"),
        (lambda: TorchtoolboxCutout(area=(0.4, 0.02)), "area = \\(least, largest\\)"),
        (lambda: TorchtoolboxCutout(aspect=(0.0, 1.0)), "aspect = \\(least, largest\\)"),
        (lambda: TorchtoolboxCutout(fill="blue"), 'fill "random", "red" or "grey"'),
        (lambda: TwoChannelResize(0), "size of at least 1 pixel"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

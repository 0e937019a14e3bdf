"""AutoAugment's operations against Pillow's, and its tables."""

import numpy as np
import pytest
import torch

from rheobase.transforms import AutoAugment, autoaugment
from rheobase.transforms.autoaugment import OPERATIONS, drawn
from rheobase.transforms.policies import CIFAR10, POLICIES, RATE_BP

GREY = (128, 128, 128)
NAMES = list(OPERATIONS)


def by_pillow(name, image, strength):
    """The operation as the papers' code does it. image: a Pillow image."""
    image_ops, enhance, pil = (
        pytest.importorskip("PIL.ImageOps"),
        pytest.importorskip("PIL.ImageEnhance"),
        pytest.importorskip("PIL.Image"),
    )
    width, height = image.size

    def affine(matrix, resample):
        return image.transform(image.size, pil.Transform.AFFINE, matrix, resample, fillcolor=GREY)

    def rotated():
        turned = image.convert("RGBA").rotate(strength)
        return pil.composite(turned, pil.new("RGBA", turned.size, (128,) * 4), turned).convert("RGB")

    nearest, bicubic = pil.Resampling.NEAREST, pil.Resampling.BICUBIC
    return {
        "shear x": lambda: affine((1, strength, 0, 0, 1, 0), bicubic),
        "shear y": lambda: affine((1, 0, 0, strength, 1, 0), bicubic),
        "translate x": lambda: affine((1, 0, strength * width, 0, 1, 0), nearest),
        "translate y": lambda: affine((1, 0, 0, 0, 1, strength * height), nearest),
        "rotate": rotated,
        "rotate left": rotated,
        "color": lambda: enhance.Color(image).enhance(1 + strength),
        "contrast": lambda: enhance.Contrast(image).enhance(1 + strength),
        "brightness": lambda: enhance.Brightness(image).enhance(1 + strength),
        "sharpness": lambda: enhance.Sharpness(image).enhance(1 + strength),
        "posterize": lambda: image_ops.posterize(image, int(strength)),
        "solarize": lambda: image_ops.solarize(image, strength),
        "autocontrast": lambda: image_ops.autocontrast(image),
        "equalize": lambda: image_ops.equalize(image),
        "invert": lambda: image_ops.invert(image),
    }[name]()


def pictures(height=32, width=32):
    """Bytes `[8, 3, H, W]`: noise, narrow noise, few levels, smooth, dark, one level, two levels, one odd pixel."""
    rng = np.random.default_rng(3)
    shape = (3, height, width)
    ramp = np.linspace(0, 255, height * width).reshape(height, width)
    odd = np.full(shape, 200)
    odd[:, 3, 4] = (1, 250, 77)
    return np.stack([
        rng.integers(0, 256, shape), rng.integers(90, 130, shape), rng.integers(0, 4, shape) * 60,
        np.stack([ramp, ramp[::-1], ramp[:, ::-1] / 2]), rng.integers(0, 9, shape), np.full(shape, 77),
        rng.integers(0, 2, shape) * 255, odd,
    ]).astype(np.uint8)  # fmt: skip


@pytest.mark.parametrize("level", [0, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_makes_of_every_picture_what_pillow_makes_of_it(name, level):
    pil = pytest.importorskip("PIL.Image")
    for size in ((32, 32), (13, 20)):
        bytes_ = pictures(*size)
        for sign in (1, -1) if OPERATIONS[name].both_ways else (1,):
            strength = sign * OPERATIONS[name].strength(level)
            images = [pil.fromarray(picture.transpose(1, 2, 0)) for picture in bytes_]
            expected = np.stack([np.asarray(by_pillow(name, image, strength)).transpose(2, 0, 1) for image in images])
            strengths = torch.full((len(bytes_),), strength, dtype=torch.float64)
            found = OPERATIONS[name].change(torch.from_numpy(bytes_).float(), strengths)
            assert torch.equal(found, torch.from_numpy(expected).float())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("autocontrast", "equalize")])
def test_each_operation_changes_a_picture_of_noise(name):
    noise = torch.from_numpy(pictures()[:1]).float()
    found = OPERATIONS[name].change(noise, torch.tensor([OPERATIONS[name].strength(7)], dtype=torch.float64))
    assert not torch.equal(found, noise)


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_of_a_batch_has_its_own_strength(name):
    images = torch.from_numpy(pictures()).float()
    operation = OPERATIONS[name]
    strengths = torch.tensor([operation.strength(n % 8) for n in range(8)], dtype=torch.float64)
    together = operation.change(images, strengths)
    for n in range(8):
        assert torch.equal(together[n : n + 1], operation.change(images[n : n + 1], strengths[n : n + 1]))


def test_a_batch_is_what_its_drawn_pairs_make_of_it_one_after_the_other():
    pil = pytest.importorskip("PIL.Image")
    bytes_ = np.tile(pictures()[:4], (32, 1, 1, 1))
    xs = torch.from_numpy(bytes_)[None].float() / 255
    result, _ = AutoAugment()(xs, torch.zeros(128).long(), torch.Generator().manual_seed(5))
    names, strengths = drawn(CIFAR10, 128, torch.Generator().manual_seed(5))
    seen = set()
    for n in range(128):
        image = pil.fromarray(bytes_[n].transpose(1, 2, 0))
        for place in (0, 1):
            seen.add(names[place][n])
            if names[place][n]:
                image = by_pillow(names[place][n], image, float(strengths[place, n]))
        expected = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()).float() / 255
        assert torch.equal(result[0, n], expected)
    assert len(seen) > 12


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=NAMES)
def test_levels_go_evenly_from_the_weakest_to_the_strongest(operation):
    even = np.linspace(operation.weakest, operation.strongest, 10)
    expected = even.round() if operation.whole else even
    assert [operation.strength(level) for level in range(10)] == expected.tolist()


def test_pairs_come_equally_often_and_operations_with_their_probabilities():
    names, strengths = drawn(CIFAR10, 5000, torch.Generator().manual_seed(0))
    expected = dict.fromkeys(NAMES, 0.0)
    for pair in CIFAR10:
        for name, p, _ in pair:
            expected[name] += p / 25
    for name in NAMES:
        found = sum(given == name for place in names for given in place) / 5000
        assert abs(found - expected[name]) < 0.03
    rotations = strengths[0][torch.tensor([name == "rotate" for name in names[0]])]
    assert rotations.abs().unique().tolist() == [pytest.approx(20 / 3)]
    assert 0.3 < float((rotations > 0).double().mean()) < 0.7


def test_the_table_of_rate_bp_differs_in_its_rotation_and_one_probability():
    differing = [k for k in range(25) if CIFAR10[k] != RATE_BP[k]]
    assert differing == [1, 16]
    assert all(len(policy) == 25 for policy in POLICIES.values())
    assert {name for policy in POLICIES.values() for pair in policy for name, _, _ in pair} == set(NAMES) - {"shear x"}
    strengths = drawn(RATE_BP, 500, torch.Generator().manual_seed(0))
    left = [float(strengths[1][0, n]) for n in range(500) if strengths[0][0][n] == "rotate left"]
    assert left == [pytest.approx(20 / 3)] * len(left)
    assert len(left) > 5


def test_a_sample_that_is_left_alone_keeps_its_exact_values(monkeypatch):
    monkeypatch.setitem(autoaugment.POLICIES, "cifar10", ((("invert", 0.5, 0), ("invert", 0.0, 0)),))
    xs = torch.rand(2, 200, 3, 4, 4, dtype=torch.float64)
    result, _ = AutoAugment()(xs, torch.zeros(200).long(), torch.Generator().manual_seed(0))
    kept = (result == xs).flatten(2).all(2).all(0)
    assert 60 < int(kept.sum()) < 140
    torch.testing.assert_close(result[:, ~kept], 1 - xs[:, ~kept], rtol=0, atol=0.5 / 255 + 1e-9)


def test_images_beyond_the_unit_range_are_refused():
    for wrong in (torch.full((1, 2, 3, 4, 4), 1.5), torch.full((1, 2, 3, 4, 4), -0.5)):
        with pytest.raises(ValueError, match=r"images in \[0, 1\], got values from .* after Scale"):
            AutoAugment()(wrong, torch.zeros(2).long(), torch.Generator())

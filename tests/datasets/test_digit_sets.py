"""Scikit-learn's digits, whole, and a row or a pixel at a time."""

import sys

import pytest
import torch

from rheobase.datasets import digits, load

sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")


def rows_of(part):
    return sorted(map(tuple, torch.cat([part.samples.flatten(1), part.targets[:, None]], dim=1).tolist()))


def test_the_three_parts_are_the_whole_set_once_with_pixels_over_16():
    data = digits()
    assert (len(data.train), len(data.validation), len(data.test)) == (1260, 140, 397)
    assert (data.train.steps, data.train.shape) == (8, (64,))
    found = sklearn_datasets.load_digits()
    expected = [(*(pixels / 16), label) for pixels, label in zip(found.data, found.target, strict=True)]
    assert sorted(rows_of(data.train) + rows_of(data.validation) + rows_of(data.test)) == sorted(expected)


def test_the_seed_never_moves_the_test_part():
    assert digits(steps=1).test.fingerprint() == load("digits", seed=5).test.fingerprint()
    assert digits(steps=1).validation.fingerprint() != load("digits", seed=5).validation.fingerprint()


def test_every_part_has_every_digit_in_its_share():
    data = digits()
    whole = sklearn_datasets.load_digits().target
    shares = torch.from_numpy(whole).bincount() / len(whole)
    for part in (data.train, data.validation, data.test):
        assert ((part.targets.bincount() - shares * len(part)).abs() <= 1.5).all()


@pytest.mark.parametrize(("name", "steps", "width"), [("row-digits", 8, 8), ("pixel-digits", 64, 1)])
def test_the_sequential_digits_are_the_same_pixels_in_reading_order(name, steps, width):
    whole, read = load("digits", limit=20), load(name, limit=20)
    xs, target = next(iter(read.train.batches(20)))
    assert xs.shape == (steps, 20, width)
    assert torch.equal(xs.transpose(0, 1).flatten(1), whole.train.samples)
    assert torch.equal(target, whole.train.targets)
    assert read.name == name


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'rheobase\[digits\]'"):
        digits()

"""Data sets of saccade events: cached under all they depend on, and solvable only in time where so meant."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from rheobase.datasets import Camera, Data, Sequences, Static, load, saccades
from rheobase.datasets.cache import key
from rheobase.datasets.saccade_order import ORDERS, drawn_orders
from rheobase.datasets.saccades import recorded, settings

SMALL = Camera(size=10, image_size=4, bins_per_move=4)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path))
    return tmp_path


def images(count, seed=0, channels=1):
    samples = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return Sequences(samples, torch.arange(count) % 3, Static(1), 3)


def test_events_come_with_their_images_targets_and_are_kept(folder):
    data = Data("squares", images(9), images(4, seed=1), images(5, seed=2))
    first = saccades(data, bins=6, camera=SMALL)
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = saccades(data, bins=6, camera=SMALL)
    assert first.name == "saccade-squares"
    assert len(files) == 3
    assert files == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for source, one, other in zip(
        (data.train, data.validation, data.test),
        (first.train, first.validation, first.test),
        (again.train, again.validation, again.test),
        strict=True,
    ):
        assert torch.equal(one.samples, other.samples)
        assert torch.equal(one.targets, source.targets)
        assert (one.steps, one.shape) == (6, (2, 10, 10))


def test_the_same_images_are_seen_differently_in_another_part():
    data = saccades(Data("squares", images(3), images(3), images(3)), bins=6, camera=SMALL)
    assert not torch.equal(data.train.samples, data.test.samples)


def test_the_key_changes_with_every_setting_of_the_camera():
    still = torch.zeros(3, dtype=torch.int64)
    keys = {key(settings("train", images(3), still, [(0, 1, 2)], SMALL, 6))}
    for field in fields(Camera):
        other = replace(SMALL, **{field.name: getattr(SMALL, field.name) + 1})
        keys.add(key(settings("train", images(3), still, [(0, 1, 2)], other, 6)))
    assert len(keys) == 1 + len(fields(Camera))


def test_the_key_changes_with_the_part_the_images_the_orders_and_the_bins():
    still, moving = torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 0])
    one, two = [(0, 1, 2)], [(0, 1, 2), (2, 1, 0)]
    variants = [
        ("train", images(3), still, one, SMALL, 6),
        ("test", images(3), still, one, SMALL, 6),
        ("train", images(3, seed=1), still, one, SMALL, 6),
        ("train", images(3), still, two, SMALL, 6),
        ("train", images(3), moving, two, SMALL, 6),
        ("train", images(3), still, one, SMALL, 3),
    ]
    assert len({key(settings(*variant)) for variant in variants}) == len(variants)


def test_coloured_images_are_refused():
    with pytest.raises(ValueError, match="grey images"):
        recorded("train", images(3, channels=3), torch.zeros(3, dtype=torch.int64), [(0, 1, 2)], SMALL, 6)


def test_fewer_samples_are_the_beginning_of_more():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    for name in ("saccade-digits", "saccade-order"):
        some, more = (load(name, limit=count, evaluation_limit=6, bins=3) for count in (8, 20))
        assert torch.equal(some.train.samples, more.train.samples[:8])
        assert torch.equal(some.train.targets, more.train.targets[:8])
        assert torch.equal(some.test.samples, more.test.samples)


def test_a_saccade_digit_has_thousands_of_events_of_both_signs():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    data = load("saccade-digits", limit=100, evaluation_limit=1)
    brighter, darker = data.train.samples.sum((1, 3, 4)).double().mean(0).tolist()
    assert 3000 < brighter + darker < 6000
    assert 0.9 < brighter / darker < 1.1


def test_order_labels_are_balanced_in_every_run_of_six_and_begin_alike():
    labels = drawn_orders(100, seed=0)
    assert all(sorted(run.tolist()) == list(range(6)) for run in labels[:96].view(-1, 6))
    assert torch.equal(drawn_orders(31, seed=0), labels[:31])
    assert not torch.equal(drawn_orders(100, seed=1), labels)


def test_order_labels_are_drawn_anew_for_each_part_and_seed():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    first, second = (load("saccade-order", bins=3, limit=30, evaluation_limit=30, seed=s) for s in (0, 1))
    drawn = [part.targets.tolist() for part in (first.train, first.validation, first.test, second.train)]
    assert len(set(map(tuple, drawn))) == 4


def accuracy(train, test, labels):
    """Of ridge regression on standardised features: `train` [M, F] and `test` [K, F], labels of both."""
    mean, spread = train.mean(0), train.std(0) + 1e-3
    train, test = ((x - mean) / spread for x in (train, test))
    gram = train.T @ train + 100.0 * torch.eye(train.shape[1], dtype=train.dtype)
    onehot = torch.nn.functional.one_hot(labels[0], len(ORDERS)).double()
    weight = torch.linalg.solve(gram, train.T @ (onehot - 1 / len(ORDERS)))
    return ((test @ weight).argmax(1) == labels[1]).double().mean().item()


def test_the_order_of_saccades_shows_in_time_and_not_in_the_sum_over_time():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    data = load("saccade-order", limit=900, evaluation_limit=300, bins=3)
    labels = data.train.targets, data.test.targets
    frames = [
        torch.nn.functional.avg_pool2d(part.samples.double().flatten(0, 1), 6).unflatten(0, (-1, 3))
        for part in (data.train, data.test)
    ]
    ordered = accuracy(*(x.flatten(1) for x in frames), labels)
    blind = accuracy(*(x.sum(1).flatten(1) for x in frames), labels)
    assert ordered > 0.95
    # the two triangles can be told apart, their three beginnings cannot: one third, within four deviations
    assert blind < 1 / 3 + 4 * (2 / 9 / len(data.test)) ** 0.5


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)
def test_saccades_over_fashion_mnist_have_the_images_of_its_split(monkeypatch):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    events = load("saccade-fashion-mnist", limit=20, evaluation_limit=10)
    still = load("fashion-mnist", limit=20, evaluation_limit=10)
    assert torch.equal(events.train.targets, still.train.targets)
    seen = events.train.samples.sum((1, 2))[:, 3:31, 3:31].double().flatten(1)
    edges = torch.nn.functional.pad(still.train.samples, (0, 1, 0, 1)).squeeze(1).double()
    edges = (edges.diff(dim=1)[:, :, :-1].abs() + edges.diff(dim=2)[:, :-1].abs()).flatten(1)
    one, other = (torch.nn.functional.normalize(x - x.mean(0)) for x in (seen, edges))
    assert ((one @ other.T).argmax(1) == torch.arange(20)).double().mean() > 0.7

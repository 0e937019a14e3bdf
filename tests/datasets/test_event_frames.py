"""What the event sets share: fixed point, resizing at caching time, keys, completeness, a tenth for the test."""

import numpy as np
import pytest
import torch

from rheobase.datasets.event_frames import (
    FixedPoint,
    found,
    kept,
    layout_of,
    random_parts,
    require_published,
    resized,
)
from rheobase.datasets.layouts import Static, Stored
from rheobase.datasets.sequences import Sequences
from rheobase.transforms import Resize


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def counts(seed, height, width, steps=3):
    return np.random.default_rng(seed).integers(0, 9, (steps, 2, height, width)).astype(np.int32)


def test_fixed_point_gives_multiples_of_its_fraction_time_first():
    stored = torch.arange(2 * 3 * 4, dtype=torch.int16).view(2, 3, 4)
    xs = FixedPoint(256).time_first(stored)
    assert xs.dtype == torch.float32
    assert torch.equal(xs * 256, Stored().time_first(stored))
    assert FixedPoint(256).describe((3, 4)) == (3, (4,))
    assert torch.equal(stored, torch.arange(24, dtype=torch.int16).view(2, 3, 4))
    with pytest.raises(ValueError, match="fraction of at least 1, got 0"):
        FixedPoint(0)


def test_only_fractions_of_counts_need_a_layout_of_their_own():
    assert layout_of(1) == Stored()
    assert layout_of(256) == FixedPoint(256)


@pytest.mark.parametrize("fraction", [1, 256])
def test_resized_counts_are_the_transforms_to_half_a_step_of_the_fraction(fraction):
    frames, change = counts(0, 16, 12), Resize((6, 5), "bilinear")
    exact, _ = change(torch.from_numpy(frames).double().unsqueeze(1), torch.zeros(1), torch.Generator())
    whole = resized(frames, change, fraction)
    assert whole.dtype == np.int32
    error = np.abs(whole / fraction - exact.squeeze(1).numpy()).max()
    assert 0.1 / fraction < error <= 0.5 / fraction + 1e-6


def test_the_key_has_names_and_sizes_of_files_and_all_settings(tmp_path, cache):
    made = []

    def build():
        made.append(1)
        return [np.zeros(2, np.int32)]

    def keep(name, content, settings):
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        kept("set", folder, [folder / name], settings, build, count=1, shape=(2,))
        return len(made)

    first = keep("a", b"123", {"steps": 1})
    assert keep("a", b"456", {"steps": 1}) == first
    assert [keep("a", b"1234", {"steps": 1}), keep("b", b"123", {"steps": 1}), keep("a", b"123", {"steps": 2})] == [
        first + 1,
        first + 2,
        first + 3,
    ]
    assert len(list(cache.glob("*.npy"))) == 4


def test_the_folder_is_the_first_in_which_the_pattern_is_found(tmp_path):
    (tmp_path / "Caltech101" / "ant").mkdir(parents=True)
    (tmp_path / "Caltech101" / "ant" / "image_0001.bin").touch()
    assert found("n-caltech101", "*/*.bin", tmp_path) == tmp_path / "Caltech101"
    with pytest.raises(FileNotFoundError, match=r"\*/\*.aedat of 'n-caltech101'.*garrickorchard"):
        found("n-caltech101", "*/*.aedat", tmp_path)


def test_a_tenth_is_drawn_for_the_test_once_and_for_all():
    whole = Sequences(torch.arange(58.0), torch.arange(58) % 2, Static(1), 2)
    train, test = random_parts(whole)
    again = random_parts(whole)
    assert (len(train), len(test)) == (53, 5)
    assert sorted([*train.samples.tolist(), *test.samples.tolist()]) == list(range(58))
    assert torch.equal(test.samples, again[1].samples)
    assert test.samples.tolist() != list(range(53, 58))


def test_an_incomplete_set_is_refused_with_what_to_do(tmp_path):
    require_published("n-mnist", tmp_path, ".bin files", 3, 3)
    with pytest.raises(ValueError, match=r"the 60000 .bin files that 'n-mnist'.*found 3.*verify=False"):
        require_published("n-mnist", tmp_path, ".bin files", 3, 60000)

"""The HDF5 files of SHD and SSC."""

import builtins

import numpy as np
import pytest
from events.writers import write_spoken

from rheobase.events import SpokenFile, spike_frames

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'rheobase[events]'")


def words(seed, count, dtype):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 60, count)
    times = [np.sort(rng.random(length) * 1.2).astype(dtype) for length in lengths]
    return times, [rng.integers(0, 700, length) for length in lengths]


@pytest.fixture
def path(tmp_path):
    times, units = words(0, 6, np.float16)
    write_spoken(tmp_path / "shd_train.h5", times, units, [3, 1, 4, 1, 5, 9], [0, 0, 1, 1, 2, 2])
    return tmp_path / "shd_train.h5"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_read_is_what_was_written(tmp_path, dtype):
    times, units = words(1, 8, dtype)
    write_spoken(tmp_path / "a.h5", times, units, range(8), dtype=dtype)
    with SpokenFile(tmp_path / "a.h5") as file:
        assert len(file) == 8
        assert file.labels.tolist() == list(range(8))
        assert file.speakers is None
        for index in range(8):
            read_times, read_units = file.spikes(index)
            assert (read_times.dtype, read_units.dtype) == (np.float64, np.int64)
            assert np.array_equal(read_times, times[index])
            assert np.array_equal(read_units, units[index])


def test_speakers_are_those_of_the_file(path):
    with SpokenFile(path) as file:
        assert file.speakers.tolist() == [0, 0, 1, 1, 2, 2]
        assert file.labels.dtype == file.speakers.dtype == np.int64


def test_spikes_out_of_order_are_put_in_order(tmp_path):
    write_spoken(tmp_path / "a.h5", [[0.5, 0.25]], [[7, 9]], [0])
    with SpokenFile(tmp_path / "a.h5") as file:
        times, units = file.spikes(0)
    assert times.tolist() == [0.25, 0.5]
    assert units.tolist() == [9, 7]


def test_frames_count_every_spike_of_the_first_second(path):
    with SpokenFile(path) as file:
        for index in range(len(file)):
            times, units = file.spikes(index)
            frames = spike_frames(times, units, window=0.01, steps=100, channels=700)
            assert frames.sum() == (times < 1 - 5e-7).sum()


def without(name):
    def damage(file):
        del file[name]

    return damage


def replaced(name, values):
    def damage(file):
        del file[name]
        file[name] = values

    return damage


def row(name, index, values):
    def damage(file):
        file[name][index] = values

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("spikes/times"), r"a dataset 'spikes/times', found \[.*'spikes/units'.*\] in the file"),
        (without("labels"), "a dataset 'labels'"),
        (replaced("spikes/units", np.zeros(6)), "'spikes/units' with 1 dimensions .*'O'.* float64"),
        (replaced("labels", np.zeros(6)), "'labels' with 1 dimensions and numbers of kind 'iu'.* float64"),
        (replaced("labels", np.zeros((6, 2), int)), r"got shape \[6, 2\]"),
        (replaced("labels", np.zeros(5, int)), "5 labels but 6 times"),
        (replaced("labels", np.zeros(0, int)), "no words"),
        (replaced("extra/speaker", np.zeros(7, int)), "6 labels but 7 speakers"),
        (replaced("spikes/times", ["a"] * 6), "rows of numbers of kind 'f' in 'spikes/times'"),
    ],
)
def test_another_layout_is_refused_on_opening(path, damage, message):
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(ValueError, match=message) as caught:
        SpokenFile(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (row("spikes/times", 2, np.zeros(3, np.float16)), r"word 2: 3 times but \d+ channels"),
        (row("spikes/times", 2, np.array([0.5, -0.5], np.float16)), "times from 0 s on, got -0.5 at spike 1"),
        (row("spikes/times", 2, np.array([0.5, np.inf], np.float16)), "times from 0 s on, got inf at spike 1"),
        (row("spikes/units", 2, np.array([1, 700], np.uint16)), r"channels in 0 \.\. 699, got 700 at spike 1"),
    ],
)
def test_a_damaged_word_is_named(path, damage, message):
    with h5py.File(path, "a") as file:
        file["spikes/times"][2] = np.array([0.25, 0.5], np.float16)
        if "3 times" not in message:
            file["spikes/units"][2] = np.array([1, 2], np.uint16)
        damage(file)
    with SpokenFile(path) as file:
        file.spikes(1)
        with pytest.raises(ValueError, match=message) as caught:
            file.spikes(2)
    assert str(caught.value).startswith(f"{path}: word 2")


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda _: b"", lambda data: b"\0" * 16 + data[16:]],
    ids=["truncated", "empty", "magic"],
)
def test_what_is_no_complete_hdf5_file_is_refused(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"shd_train\.h5: not a complete HDF5 file"):
        SpokenFile(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        SpokenFile(tmp_path / "none.h5")


def test_without_h5py_the_extra_is_named(path, monkeypatch):
    importing = builtins.__import__

    def refuse(name, *rest):
        if name == "h5py":
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'rheobase\[events\]'"):
        SpokenFile(path)

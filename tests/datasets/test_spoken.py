"""SHD and SSC from files in their format."""

import numpy as np
import pytest
import torch
from events.writers import write_spoken

from rheobase.datasets.samples import in_memory
from rheobase.datasets.splits import Split
from rheobase.datasets.spoken import shd, ssc

pytest.importorskip("h5py", reason="needs h5py")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def words(part, count):
    """Times, channels of each word, of a length of its own, from before to beyond a second."""
    rng = np.random.default_rng([len(part), count])
    times = [np.sort(rng.uniform(0, 1.3, 40 + index)) for index in range(count)]
    return times, [rng.integers(0, 700, len(row)) for row in times]


def write(folder, name, part, count, classes, dtype=np.float16):
    folder.mkdir(exist_ok=True)
    write_spoken(folder / f"{name}_{part}.h5", *words(part, count), np.arange(count) % classes, dtype=dtype)


@pytest.fixture
def root(tmp_path):
    for part, count in (("train", 40), ("test", 21)):
        write(tmp_path / "words", "shd", part, count, 20)
    for part, count in (("train", 70), ("valid", 36), ("test", 35)):
        write(tmp_path / "words", "ssc", part, count, 35, np.float32)
    return tmp_path / "words"


def by_hand(times, units, steps, window, dtype):
    frames = np.zeros((steps, 700), np.int64)
    for t, unit in zip(times.astype(dtype).astype(np.float64), units, strict=True):
        step = int(np.floor(np.round(t, 6) / window + 1e-9))
        if step < steps:
            frames[step, unit] += 1
    return frames


def totals(part):
    return in_memory(part.samples).sum((1, 2)).tolist()


@pytest.mark.parametrize(("load", "dtype"), [(shd, np.float16), (ssc, np.float32)])
def test_a_step_counts_the_spikes_of_each_channel_in_ten_milliseconds_of_the_first_second(root, load, dtype):
    test = load(root=root, verify=False).test
    assert (test.steps, test.shape) == (100, (700,))
    for row, times, units in zip(in_memory(test.samples), *words("test", len(test)), strict=True):
        assert np.array_equal(row.numpy(), by_hand(times, units, 100, 0.01, dtype))
        assert 0 < int(row.sum()) < len(times)


def test_steps_and_window_are_the_callers(root):
    test = shd(root=root, verify=False, steps=26, window=0.05).test
    times, units = words("test", 21)
    assert np.array_equal(in_memory(test.samples)[4].numpy(), by_hand(times[4], units[4], 26, 0.05, np.float16))
    assert int(in_memory(test.samples)[4].sum()) == len(times[4])
    with pytest.raises(ValueError, match="window of whole microseconds"):
        shd(root=root, verify=False, window=1e-7)
    for milliseconds in (10, 10.0):  # they would put every spike into the first step
        with pytest.raises(ValueError, match=r"window in seconds, below 10, got 10\S*: 10 ms are window=0.01"):
            shd(root=root, verify=False, window=milliseconds)


def test_shd_has_twenty_classes_and_validation_out_of_its_train_part(root):
    data = shd(root=root, verify=False, split=Split(validation=0.5))
    assert data.test.classes == 20
    assert data.test.targets.tolist() == [*range(20), 0]
    assert [part.targets.bincount().tolist() for part in (data.train, data.validation)] == [[1] * 20] * 2


def test_ssc_validates_with_the_published_part(root):
    data = ssc(root=root, verify=False, split=Split(limit=35, evaluation_limit=36))
    assert (data.train.classes, len(data.train), len(data.validation), len(data.test)) == (35, 35, 36, 35)
    assert data.train.targets.bincount().tolist() == [1] * 35
    other = ssc(root=root, verify=False, split=Split(limit=35, seed=1))
    assert totals(other.train) != totals(data.train)
    whole = ssc(root=root, verify=False)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (70, 36, 35)
    assert whole.validation.targets.tolist() == [*range(35), 0]
    assert torch.equal(in_memory(whole.train.select(torch.arange(35)).samples), in_memory(data.train.samples))
    expected = by_hand(*(column[7] for column in words("valid", 36)), 100, 0.01, np.float32)
    assert np.array_equal(in_memory(whole.validation.samples)[7].numpy(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.2}, "published validation part: leave out validation=0.2"),
        ({"limit": 71}, "from 1 to 70, got 71"),
        ({"evaluation_limit": 37}, "36 validation and 35 test"),
    ],
)
def test_a_split_that_ssc_does_not_have_is_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        ssc(root=root, verify=False, split=Split(**options))


def test_counts_are_found_again_without_the_files_content_and_made_anew_for_other_settings(root, cache):
    before = shd(root=root, verify=False).train.fingerprint()
    for path in root.glob("shd*"):
        path.write_bytes(b"?" * path.stat().st_size)
    assert shd(root=root, verify=False).train.fingerprint() == before
    for options in ({"steps": 50}, {"window": 0.02}):
        with pytest.raises(ValueError, match=r"shd_train.h5"):
            shd(root=root, verify=False, **options)
    assert len(list(cache.iterdir())) == 2 * 2 + 2


def test_a_damaged_word_is_named_and_its_part_is_not_kept(root, cache):
    times, units = words("test", 3)
    units[1] = units[1] + 600
    write_spoken(root / "shd_test.h5", times, units, [0, 1, 2])
    with pytest.raises(ValueError, match=r"shd_test.h5: word 1: expected channels in 0 .. 699"):
        shd(root=root, verify=False)
    assert len(list(cache.glob("shd-*.npy"))) == 1
    assert not list(cache.glob(".*"))


def test_missing_files_are_asked_for_and_an_incomplete_set_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"shd_train.h5 of 'shd'.*rheobase data fetch shd"):
        shd(root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"the 8156 words.*found 40"):
        shd(root=root)
    (root / "ssc_valid.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"ssc_valid.h5 of 'ssc'"):
        ssc(root=root, verify=False)

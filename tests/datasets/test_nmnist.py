"""N-MNIST from files in its format."""

import numpy as np
import pytest
import torch
from events.writers import recording, write_bin

from rheobase.datasets.nmnist import n_mnist
from rheobase.datasets.samples import in_memory
from rheobase.datasets.splits import Split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def events_of(part, digit, index):
    return recording([part == "Test", digit, index], 100 + 10 * digit + index, height=34, width=34)


@pytest.fixture
def root(tmp_path):
    for part, count in (("Train", 4), ("Test", 2)):
        for digit in range(10):
            folder = tmp_path / "sets" / part / str(digit)
            folder.mkdir(parents=True)
            for index in range(count):
                write_bin(folder / f"{index:05d}.bin", events_of(part, digit, index))
    return tmp_path / "sets"


def load(root, **options):
    return n_mnist(root=root, verify=False, **{"split": Split(validation=0.25), **options})


def test_the_test_part_is_the_published_one_class_by_class(root):
    data = load(root)
    assert (data.test.steps, data.test.shape) == (12, (2, 34, 34))
    assert data.test.targets.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 20)
    for number, row in enumerate(in_memory(data.test.samples)):
        events = events_of("Test", number // 2, number % 2)
        assert row.dtype == torch.uint8
        assert int(row.sum()) == len(events)
        assert int(row[:, 0].sum()) == int(events.p.sum())


def test_train_and_validation_share_the_published_train_part(root):
    data = load(root)
    seen = [int(row.sum()) for part in (data.train, data.validation) for row in in_memory(part.samples)]
    assert sorted(seen) == sorted(100 + 10 * digit + index for digit in range(10) for index in range(4))


def test_frames_are_of_equal_duration_or_of_equal_counts(root):
    events = events_of("Test", 3, 0)
    by_time, by_count = (in_memory(load(root, framing=f, steps=5).test.samples)[6] for f in ("time", "count"))
    elapsed = (events.t - events.t[0]) / (events.t[-1] - events.t[0])
    bounds = np.histogram(elapsed, np.linspace(0, 1, 6))[0]
    assert by_time.sum((1, 2, 3)).tolist() == bounds.tolist()
    assert by_count.sum((1, 2, 3)).tolist() == [26] * 5


def test_frames_are_found_again_without_the_files_content_and_made_anew_for_other_settings(root, cache):
    before = load(root).test.fingerprint()
    assert len(list(cache.glob("*.npy"))) == 2
    for path in root.rglob("*.bin"):
        path.write_bytes(b"\xff" * path.stat().st_size)
    assert load(root).test.fingerprint() == before
    for options in ({"steps": 3}, {"framing": "count"}, {"sort": True}):
        with pytest.raises(ValueError, match=r"expected x in 0 .. 33, got 255 at offset 0"):
            load(root, **options)
    assert len(list(cache.iterdir())) == 4


def test_a_file_of_no_whole_number_of_events_is_named_and_nothing_is_kept(root, cache):
    path = root / "Test" / "9" / "00001.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"00001.bin: truncated at offset"):
        load(root)
    assert len(list(cache.glob("*.npy"))) == 1
    assert not list(cache.glob("*.part"))


def test_events_out_of_order_are_refused_unless_told_to_sort(root):
    path = root / "Train" / "0" / "00000.bin"
    data = path.read_bytes()
    path.write_bytes(data[-5:] + data[:-5])
    with pytest.raises(ValueError, match=r"out of order.*sort=True"):
        load(root)
    assert load(root, sort=True).test.fingerprint()


def test_missing_files_are_asked_for_and_an_incomplete_set_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="'n-mnist'"):
        n_mnist(root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"the 60000 .bin files.*found 40"):
        n_mnist(root=root)
    with pytest.raises(ValueError, match="Unknown framing 'window'"):
        load(root, framing="window")

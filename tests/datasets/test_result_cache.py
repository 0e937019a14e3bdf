"""Kept results: found again, never mistaken, never half written."""

import errno
import hashlib
import multiprocessing
import shutil
import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch

from rheobase.datasets.cache import cached, cached_rows, key, watched
from rheobase.datasets.row_file import RowFile
from rheobase.datasets.samples import in_memory


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return torch.arange(100, dtype=torch.uint8).view(4, 25)


def test_a_result_is_built_once_for_the_same_settings(folder):
    build = Builder()
    first, second = (cached("thing", {"a": 1}, build) for _ in range(2))
    assert build.calls == 1
    assert torch.equal(first, second)
    cached("thing", {"a": 2}, build)
    assert build.calls == 2


def test_the_key_does_not_depend_on_the_order_of_settings():
    assert key({"a": 1, "b": [2]}) == key({"b": [2], "a": 1}) != key({"a": 1, "b": [3]})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-7],
        lambda data: data[:-7] + bytes([data[-7] ^ 1]) + data[-6:],
        lambda _: b"",
        lambda data: b"\xff" * len(data),
    ],
    ids=["truncated", "one bit", "empty", "overwritten"],
)
def test_a_damaged_file_is_built_again_with_a_warning(folder, damage):
    build = Builder()
    expected = cached("thing", {"a": 1}, build)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged .* made anew"):
        assert torch.equal(cached("thing", {"a": 1}, build), expected)
    assert build.calls == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cached("thing", {"a": 1}, build)
    assert build.calls == 2


def test_a_file_under_another_results_name_is_not_taken_for_it(folder):
    cached("thing", {"a": 1}, Builder())
    (path,) = folder.iterdir()
    path.rename(folder / f"thing-{key({'a': 2})[:20]}.safetensors")
    with pytest.warns(UserWarning, match="made with other settings"):
        cached("thing", {"a": 2}, Builder())


def test_where_nothing_can_be_kept_the_result_comes_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="Could not keep .* RHEOBASE_CACHE"):
        assert torch.equal(cached("thing", {}, Builder()), Builder()())


class Rows:
    """`rows` one by one; counts how often they are asked for."""

    def __init__(self, rows):
        self.rows, self.calls = rows, 0

    def __call__(self):
        self.calls += 1
        yield from self.rows


def kept(build, settings=None, count=None):
    rows = build.rows
    return cached_rows("frames", settings or {"a": 1}, build, count=count or len(rows), shape=rows[0].shape)


def counts(high, rows=5):
    found = np.random.default_rng(0).integers(0, 9, (rows, 2, 3, 4))
    found[rows // 2, 1, 2, 3] = high
    return found


def test_rows_are_built_once_for_the_same_settings(folder):
    build = Rows(counts(200))
    first, second = kept(build), kept(build)
    assert build.calls == 1
    assert torch.equal(in_memory(first), in_memory(second))
    assert np.array_equal(in_memory(first).numpy(), build.rows)
    assert first.read(torch.tensor([3, 1])).tolist() == build.rows[[3, 1]].tolist()
    kept(build, {"a": 2})
    assert build.calls == 2


@pytest.mark.parametrize(
    ("high", "dtype"),
    [(255, torch.uint8), (256, torch.int16), (32767, torch.int16), (32768, torch.int32), (-1, torch.int16)],
)
def test_whole_numbers_are_kept_as_the_narrowest_type_that_holds_all(folder, high, dtype):
    rows = counts(high)
    samples = kept(Rows(rows))
    assert (samples.dtype, samples.shape) == (dtype, rows.shape)
    assert np.array_equal(in_memory(samples).numpy(), rows)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npy"]


def test_a_row_that_does_not_fit_may_come_after_another(folder, monkeypatch):
    monkeypatch.setattr("rheobase.datasets.row_file.CHUNK", 32)
    rows = counts(5, rows=40)
    rows[20, 0], rows[30, 0] = 300, 70000
    assert np.array_equal(in_memory(kept(Rows(rows))).numpy(), rows)


def test_rows_of_float32_stay_as_they_are(folder):
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    samples = kept(Rows(rows))
    assert samples.dtype == torch.float32
    assert np.array_equal(in_memory(samples).numpy(), rows)
    with pytest.raises(TypeError, match="one kind, got row 5 of int64 after float32"):
        kept(Rows([*rows, np.arange(3)]), {"a": 2})
    with pytest.raises(TypeError, match="whole numbers or float32, got float64"):
        kept(Rows(rows.astype(np.float64)), {"a": 3})


def test_the_digest_is_the_hash_of_the_file(folder):
    digest = kept(Rows(counts(7))).digest()
    (path,) = folder.glob("*.npy")
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == kept(Rows(counts(7))).digest()
    assert kept(Rows(counts(8)), {"a": 2}).digest() != digest


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".npy", lambda data: data[:-1]),
        (".npy", lambda data: data + b"\0"),
        (".npy", lambda data: b"\0" + data[1:]),
        (".npy", lambda data: data.replace(b"|u1", b"|i1")),
        (".npy", lambda _: None),
        (".json", lambda data: data[:-9]),
        (".json", lambda _: b""),
        (".json", lambda _: b"[]"),
        (".json", lambda data: data.replace(b"|u1", b"<f8")),
    ],
    ids=["truncated", "longer", "magic", "type", "gone", "half json", "no json", "a list", "another type"],
)
def test_damaged_rows_are_built_again_with_a_warning(folder, suffix, damage):
    build = Rows(counts(9))
    kept(build)
    (path,) = folder.glob(f"*{suffix}")
    data = damage(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.warns(UserWarning, match="is damaged .* made anew"):
        assert np.array_equal(in_memory(kept(build)).numpy(), build.rows)
    kept(build)
    assert build.calls == 2


def test_rows_under_another_results_name_are_not_taken_for_it(folder):
    kept(Rows(counts(1)))
    for path in list(folder.iterdir()):
        path.rename(folder / f"frames-{key({'a': 2})[:20]}{path.suffix}")
    with pytest.warns(UserWarning, match="made with other settings"):
        kept(Rows(counts(1)), {"a": 2})


def test_rows_without_their_json_file_are_built_again(folder):
    build = Rows(counts(1))
    kept(build)
    next(folder.glob("*.json")).unlink()
    kept(build)
    assert build.calls == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([np.zeros(3, int)] * 4, "Expected 5 rows, got 4"),
        ([np.zeros(3, int)] * 6, r"5 rows of shape \[3\], got row 5 of shape \[3\]"),
        ([np.zeros(3, int), np.zeros(4, int)], r"got row 1 of shape \[4\]"),
        ([np.full(3, 2**31)] * 5, "32 bits hold"),
    ],
)
def test_other_rows_than_announced_are_refused_and_leave_nothing(folder, rows, message):
    with pytest.raises(ValueError, match=message):
        kept(Rows(rows), count=5)
    assert list(folder.iterdir()) == []


def test_an_empty_result_is_refused(folder):
    with pytest.raises(ValueError, match=r"at least 1 row.* got 0 of shape \[3\]"):
        cached_rows("frames", {}, list, count=0, shape=(3,))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, FileNotFoundError])
def test_what_interrupts_the_building_passes_and_leaves_nothing(folder, kind):
    def build():
        yield np.zeros(3, int)
        yield np.full(3, 1000)
        assert any(folder.iterdir())
        raise kind("half-way")

    with pytest.raises(kind, match=r"^half-way$"):
        cached_rows("frames", {}, build, count=3, shape=(3,))
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_built(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
    build = Rows(counts(1))
    with pytest.raises(
        OSError, match=r"Could not write .*frames-.*\.npy.* RHEOBASE_CACHE to a folder with room"
    ) as caught:
        kept(build)
    assert caught.value.errno == errno.ENOSPC
    assert build.calls == 0
    assert list(folder.iterdir()) == []


def test_a_disk_that_gets_full_leaves_nothing(folder, monkeypatch):
    def full(self, data):
        if self.rows == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowFile, "_put", full)
    with pytest.raises(OSError, match=r"Could not write .* \(No space left on device\)"):
        kept(Rows(counts(1)))
    assert list(folder.iterdir()) == []


def test_rows_need_a_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"Could not write .* RHEOBASE_CACHE"):
        kept(Rows(counts(1)))


def write_together(barrier, sums):
    def build():
        barrier.wait(timeout=30)
        return torch.full((3_000_000,), 7, dtype=torch.uint8)

    def rows():
        barrier.wait(timeout=30)
        for _ in range(30):
            yield np.full(100_000, 7)

    sums.put(int(cached("shared", {"a": 1}, build).sum()))
    sums.put(int(in_memory(cached_rows("rows", {"a": 1}, rows, count=30, shape=(100_000,))).sum()))


def test_two_processes_may_write_the_same_results_at_once(folder):
    context = multiprocessing.get_context("spawn")
    barrier, sums = context.Barrier(2), context.Queue()
    writers = [context.Process(target=write_together, args=(barrier, sums)) for _ in range(2)]
    for writer in writers:
        writer.start()
    assert [sums.get(timeout=60) for _ in range(4)] == [21_000_000] * 4
    for writer in writers:
        writer.join()
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npy", ".safetensors"]
    build = Builder()
    assert int(cached("shared", {"a": 1}, build).sum()) == 21_000_000
    assert build.calls == 0


def test_a_terminal_sees_how_many_rows_are_made(monkeypatch, capsys):
    made = [np.full((2,), i) for i in range(3)]
    assert [row.tolist() for row in watched(iter(made), 3, "events")] == [row.tolist() for row in made]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(watched(iter(made), 3, "events"))
    assert "Making events" in capsys.readouterr().err

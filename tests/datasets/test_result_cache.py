"""Kept results: found again, never mistaken, never half written."""

import multiprocessing
import warnings

import pytest
import torch

from rheobase.datasets.cache import cached, key


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


def write_together(barrier, sums):
    def build():
        barrier.wait(timeout=30)
        return torch.full((3_000_000,), 7, dtype=torch.uint8)

    sums.put(int(cached("shared", {"a": 1}, build).sum()))


def test_two_processes_may_write_the_same_result_at_once(folder):
    context = multiprocessing.get_context("spawn")
    barrier, sums = context.Barrier(2), context.Queue()
    writers = [context.Process(target=write_together, args=(barrier, sums)) for _ in range(2)]
    for writer in writers:
        writer.start()
    assert [sums.get(timeout=60) for _ in writers] == [21_000_000] * 2
    for writer in writers:
        writer.join()
    assert len(list(folder.iterdir())) == 1
    build = Builder()
    assert int(cached("shared", {"a": 1}, build).sum()) == 21_000_000
    assert build.calls == 0

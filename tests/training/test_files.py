import errno
import json
import os
import resource
import shutil
import stat
import subprocess

import pytest
import torch

from rheobase.training.files import (
    CHECKPOINT,
    CONFIG,
    PREVIOUS,
    DiskError,
    append_line,
    claim,
    read_json,
    read_lines,
    read_weights,
    require_writable,
    write_aside,
    write_json,
    write_lines,
    write_weights,
)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_writing_leaves_the_old_file_and_no_half_one(tmp_path, error):
    path = tmp_path / "config.json"
    write_json(path, {"a": 1})

    def half(aside):
        aside.write(b'{"a": ')
        raise error

    with pytest.raises(error):
        write_aside(path, half)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_tied_weights_are_written_without_complaint(tmp_path):
    weight = torch.ones(2, 3)
    write_weights(tmp_path / "w.safetensors", {"a": weight, "b": weight.t()})
    assert (tmp_path / "w.safetensors").is_file()


def test_a_folder_with_content_is_claimed_only_to_overwrite_and_keeps_what_is_not_of_a_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for name in (
        "metrics.jsonl",
        "report.html",
        "curves.png",
        PREVIOUS,
        f".{CHECKPOINT}.0123abcd",
        ".git.diff.0123abcd",
        ".report.html.0123abcd",
    ):  # as kills leave them
        (tmp_path / name).write_text("old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        claim(tmp_path, overwrite=False)
    claim(tmp_path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_never_overwritten(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        claim(tmp_path / "a", overwrite=True)


def test_a_missing_or_damaged_config_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="rheobase train"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="no JSON"):
        read_json(tmp_path / "config.json")


def test_damaged_weights_are_told_by_name(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, {"a": torch.ones(3)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{path} is no whole safetensors file"):
        read_weights(path)


def test_the_rights_of_a_file_are_those_that_the_user_gives_to_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def words_of(path):
    words = []
    return read_lines(path, words.append), words


def test_a_last_line_cut_short_is_left_out_with_a_word_and_replaced_by_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    write_lines(path, [{"batch": 1}, {"text": "é" * 50_000}])
    append_line(path, {"batch": 3})
    whole = path.read_bytes()
    assert words_of(path) == ([{"batch": 1}, {"text": "é" * 50_000}, {"batch": 3}], [])
    for cut in (1, 5, 12):
        path.write_bytes(whole[:-cut])
        found, words = words_of(path)
        assert [record.get("batch") for record in found] == [1, None]
        assert str(path) in words[0]
        assert "line 3" in words[0]
        append_line(path, {"batch": 3})
        assert path.read_bytes() == whole
    path.write_bytes(whole[:300_000])  # most of one long line, without its end
    append_line(path, {"batch": 2})
    assert words_of(path) == ([{"batch": 1}, {"batch": 2}], [])


def test_a_damaged_line_elsewhere_is_told_by_its_number(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"a": 1}\n\xff\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl, line 2 is no JSON"):
        words_of(tmp_path / "log.jsonl")


def test_a_folder_with_room_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "a" / "b", 10**6)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_too_little_room_is_told_before_the_run(tmp_path):
    with pytest.raises(DiskError, match=rf"{tmp_path / CHECKPOINT}: No space left.*no checkpoint") as caught:
        require_writable(tmp_path, 10**18)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="Not a directory"):
        require_writable(tmp_path / "file" / "run", 1)
    with pytest.raises(DiskError, match="Not a directory"):
        claim(tmp_path / "file" / "run", overwrite=False)


def limited(size, work):
    """The message of the DiskError that `work` ends in where no file may be larger than `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(DiskError) as caught:
            work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    return str(caught.value)


WRITERS = {
    CONFIG: lambda path: write_json(path, {"a": "a" * 2000}),
    "metrics.jsonl": lambda path: write_lines(path, [{"a": "a" * 2000}]),
    "weights.safetensors": lambda path: write_weights(path, {"a": torch.ones(2000)}),
    "log.jsonl": lambda path: append_line(path, {"a": "a" * 2000}),
    "room": lambda path: require_writable(path.parent, 2000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_of_the_size_is_told_in_one_line_and_nothing_half_is_left(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'{"a": 1}\n' * 20)
    before = path.read_bytes()
    message = limited(1000, lambda: WRITERS[name](path))
    assert message.startswith(f"Could not write {tmp_path}/")
    assert "File too large" in message
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 kB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_in_one_line_and_nothing_half_is_left(small_disk):
    with pytest.raises(DiskError, match="No space left on device"):
        require_writable(small_disk, 100_000)
    write_json(small_disk / CONFIG, {"a": 1})
    append_line(small_disk / "log.jsonl", {"a": 1})
    (small_disk / CHECKPOINT).write_bytes(b"")
    with pytest.raises(DiskError, match=f"No space left on device.*rheobase resume {small_disk}"):
        write_json(small_disk / CONFIG, {"a": "a" * 100_000})
    with pytest.raises(DiskError, match="No space left on device"):
        append_line(small_disk / "log.jsonl", {"a": "a" * 100_000})
    assert read_json(small_disk / CONFIG) == {"a": 1}
    assert words_of(small_disk / "log.jsonl") == ([{"a": 1}], [])
    assert len(list(small_disk.iterdir())) == 3


def test_a_disk_that_is_for_reading_alone_is_told_in_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for work in (lambda: require_writable(small_disk, 1), lambda: write_json(small_disk / CONFIG, {"a": 1})):
        with pytest.raises(DiskError, match="Read-only file system"):
            work()

"""Recordings of one's own in a folder for each class."""

import os

import numpy as np
import pytest
import torch
from events.writers import recording

from rheobase.cli import main
from rheobase.datasets import load
from rheobase.datasets.samples import in_memory
from rheobase.events import frames_by_count, frames_by_time, frames_by_window, write_bin, write_npz
from rheobase.training import Experiment

SIZE = {"height": 20, "width": 30}
CLASSES = ("fall", "jump", "walk")
COUNTS = {"train": 8, "test": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def events_of(part, label, index):
    return recording([part == "test", label, index], 100 + 10 * label + index, **SIZE)


def write_part(folder, part):
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(COUNTS[part]):
            write = write_npz if index % 2 else write_bin
            write(folder / name / f"{index:02}.{'npz' if index % 2 else 'bin'}", events_of(part, label, index))
        (folder / name / ".hidden").touch()


@pytest.fixture
def root(tmp_path):
    for part in COUNTS:
        write_part(tmp_path / "mine" / part, part)
    return tmp_path / "mine"


def mine(root, **options):
    return load("event-folder", root=root, **{**SIZE, "steps": 4, "validation": 0.25, **options})


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({}, lambda events: frames_by_time(events, 4)),
        ({"framing": "count"}, lambda events: frames_by_count(events, 4)),
        ({"framing": "window", "window": 50_000}, lambda events: frames_by_window(events, 50_000, 4)),
    ],
    ids=["time", "count", "window"],
)
def test_a_sample_is_the_frames_of_a_file_and_its_class_the_folder(root, options, frames):
    data = mine(root, **options)
    assert (data.test.steps, data.test.shape, data.test.classes) == (4, (2, 20, 30), 3)
    assert data.test.targets.tolist() == [label for label in range(3) for _ in range(4)]
    for number, row in enumerate(in_memory(data.test.samples)):
        assert np.array_equal(row, frames(events_of("test", *divmod(number, 4))))
    assert (len(data.train), len(data.validation)) == (18, 6)
    seen = [int(row.sum()) for part in (data.train, data.validation) for row in in_memory(part.samples)]
    if not options:
        assert sorted(seen) == sorted(100 + 10 * label + index for label in range(3) for index in range(8))


def test_without_train_and_test_a_tenth_of_each_class_is_drawn_for_the_test(tmp_path):
    for part in COUNTS:
        write_part(tmp_path / part, part)
    data = mine(tmp_path / "train")
    assert len(data.test) == 2
    assert len(data.test.targets.unique()) == 2
    assert len(data.test) + len(data.validation) + len(data.train) == 24
    all_rows = torch.cat([in_memory(part.samples) for part in (data.train, data.validation, data.test)])
    assert len(all_rows.flatten(1).unique(dim=0)) == 24
    assert mine(tmp_path / "train", seed=5).test.fingerprint() == data.test.fingerprint()


def test_pixels_that_are_merged_have_all_their_events(root):
    whole, few = (in_memory(mine(root, **options).test.samples) for options in ({}, {"merge": 8}))
    assert few.shape[-2:] == (3, 4)
    padded = torch.nn.functional.pad(whole.long(), (0, 2, 0, 4))
    assert torch.equal(few.long(), padded.unflatten(-1, (4, 8)).unflatten(-3, (3, 8)).sum((-1, -3)))


def test_frames_are_found_again_until_a_file_changes(root, cache):
    before = mine(root).test.fingerprint()
    path = root / "test" / "walk" / "00.bin"
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(b"\xff" * len(data))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert mine(root).test.fingerprint() == before
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"00.bin: expected x in 0 .. 29, got 255"):
        mine(root)
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda root: (root / "test" / "walk").rename(root / "test" / "run"),
            "classes of .*train, fall, jump, walk, got",
        ),
        (lambda root: (root / "other").mkdir(), "train/ and test/ and nothing beside them, got other, test, train"),
        (lambda root: (root / "train" / "walk" / "a.txt").touch(), "a.txt: expected a file of events"),
        (lambda root: [path.unlink() for path in (root / "test" / "fall").glob("*.*")], "fall: expected at least one"),
    ],
    ids=["classes", "beside", "suffix", "empty"],
)
def test_what_is_wrong_with_the_folder_is_named(root, break_it, message):
    break_it(root)
    with pytest.raises(ValueError, match=message):
        mine(root)


def test_no_folder_and_an_empty_one_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No folder .*nowhere: root= is that of your recordings"):
        mine(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="a folder for each class in it, or train/ and test/"):
        mine(tmp_path / "mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": 0}, "merge of at least 1"),
        ({"window": 5}, "framing='window' has a window"),
        ({"framing": "window"}, "framing='window' has a window"),
        ({"framing": "counts"}, "Did you mean 'count'"),
    ],
)
def test_options_without_sense_are_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        mine(root, **options)


def test_what_it_cannot_do_without_is_asked_for_before_anything_is_done():
    with pytest.raises(ValueError, match=r"'event-folder' needs root, height, width: write event-folder\(root=value"):
        load("event-folder")
    with pytest.raises(ValueError, match="needs width"):
        Experiment(data="event-folder(root=mine, height=20)")


def test_own_recordings_train_a_network_on_the_command_line(root, tmp_path, capsys):
    data = f"event-folder(root='{root}', height=20, width=30, steps=3, merge=2)"
    arguments = ["--data", data, "--model", "convnet(channels=[4])", "--rule", "sltt", "--epochs", "1"]
    assert main(["train", *arguments, "--batch-size", "8", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert "of epoch 1" in capsys.readouterr().out
    assert main(["train", "--data", f"event-folder(root={root})"]) == 2
    assert "a path in quotes of its own" in " ".join(capsys.readouterr().err.split())

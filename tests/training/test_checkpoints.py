import io
import os
import resource
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from training.killing import apart, die, in_child, killed_at_line

from rheobase.training import checkpoints
from rheobase.training.checkpoints import Checkpoints, packed
from rheobase.training.files import CHECKPOINT, PREVIOUS, DiskError


def state(number):
    return {"number": number, "weights": {"a": torch.full((50,), float(number)), "b": torch.zeros(0)}, "none": None}


def written(folder, *numbers):
    checkpoints = Checkpoints(folder)
    for number in numbers:
        checkpoints.write(state(number))
    return checkpoints


def silent(_):
    pass


def newest(folder):
    return Checkpoints(Path(folder)).read(silent)["number"]


def test_what_is_read_is_what_was_written(tmp_path):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.randn(3))])
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    whole = state(1) | {
        "optimizer": optimizer.state_dict(), "random": torch.get_rng_state(), "nan": float("nan"), "betas": (0.9, 0.99),
        "half": torch.randn(4).bfloat16(), "records": [{"epoch": 1, "text": "é", "is": True}],
    }  # fmt: skip
    Checkpoints(tmp_path).write(whole)
    words = []
    found = Checkpoints(tmp_path).read(words.append)
    assert not words
    assert found.keys() == whole.keys()
    assert repr(found) == repr(whole)
    assert torch.equal(found["random"], whole["random"])
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_the_two_newest_are_kept_and_the_newest_is_read(tmp_path):
    written(tmp_path, 1, 2, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == [PREVIOUS, CHECKPOINT]
    assert newest(tmp_path) == 3
    (tmp_path / CHECKPOINT).unlink()
    assert newest(tmp_path) == 2


def test_any_damaged_byte_is_noticed_and_the_one_before_read_with_a_word(tmp_path):
    written(tmp_path, 1, 2)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    header = whole.index(b"\n") + 1
    places = [*range(header), *torch.randint(header, len(whole), (60,)).tolist(), len(whole) - 1]
    for place in places:
        for bit in (1, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            (tmp_path / CHECKPOINT).write_bytes(damaged)
            words = []
            assert Checkpoints(tmp_path).read(words.append)["number"] == 1
            assert len(words) == 1
            assert str(tmp_path / CHECKPOINT) in words[0]
            assert str(tmp_path / PREVIOUS) in words[0]
            assert "damaged" in words[0]


def test_a_checkpoint_cut_short_or_longer_is_noticed(tmp_path):
    written(tmp_path, 1, 2)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for damaged in (b"", *(whole[:at] for at in torch.randint(len(whole), (40,)).tolist()), whole + b"\0"):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        assert newest(tmp_path) == 1


def test_with_no_readable_checkpoint_the_error_says_what_is_wrong_with_each(tmp_path):
    with pytest.raises(FileNotFoundError, match="rheobase train"):
        Checkpoints(tmp_path).read(silent)
    written(tmp_path, 1, 2)
    (tmp_path / CHECKPOINT).write_bytes(b"\x7fELF")
    (tmp_path / PREVIOUS).write_bytes((tmp_path / PREVIOUS).read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{CHECKPOINT} is damaged or not from Rheobase.*{PREVIOUS} is damaged: "):
        Checkpoints(tmp_path).read(silent)


def test_a_damaged_newest_one_does_not_take_the_place_of_the_good_one_before(tmp_path):
    written(tmp_path, 1, 2)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    going_on = Checkpoints(tmp_path)
    assert going_on.read(silent)["number"] == 1
    for again in (going_on, Checkpoints(tmp_path)):  # also where nothing was read first
        again.write(state(3))
        assert newest(tmp_path) == 3
        (tmp_path / CHECKPOINT).write_bytes(b"damaged")
        assert newest(tmp_path) == 1


def each_line(folder, prepare, work):
    """A folder for each line of the code that saves at which `work` was killed."""
    for line in count():
        here = folder / str(line)
        here.mkdir(parents=True)
        prepare(here)
        if not killed_at_line(line, lambda here=here: work(here)):
            break
        yield here


def prepare(folder):
    written(folder, 1, 2)


def prepare_damaged(folder):
    written(folder, 1, 2)
    (folder / CHECKPOINT).write_bytes(b"damaged")


def die_with_half_the_bytes(folder):
    def half(value):
        header, content = packed(value)
        (folder / f".{CHECKPOINT}.01234567").write_bytes(header + content[:1000])
        die()

    checkpoints.packed = half
    write_third(folder)


def write_third(folder):
    Checkpoints(folder).write(state(3))


def write_third_with_a_limit(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    try:
        write_third(folder)
    except DiskError as error:
        (folder / "message").write_text(str(error))


def files(folder):
    return sorted(file.name for file in folder.iterdir())


def accidents(folder):
    """What was readable after each, and after the next write."""
    folder, found = Path(folder), {"kills": [], "kills over a damaged one": []}
    for here in each_line(folder / "kills", prepare, write_third):
        found["kills"].append([newest(here), newest(written(here, 4).newest.parent), files(here)])
    for here in each_line(folder / "damaged", prepare_damaged, write_third):
        found["kills over a damaged one"].append(newest(here))
    for name, work in (("half", die_with_half_the_bytes), ("limit", write_third_with_a_limit)):
        here = folder / name
        here.mkdir()
        prepare(here)
        in_child(lambda here=here, work=work: work(here))
        found[name] = [files(here), newest(here), newest(written(here, 4).newest.parent), files(here)]
    return found


@pytest.fixture(scope="module")
def after(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accidents")
    return apart(__name__, "accidents", folder) | {"folder": folder}


def test_wherever_writing_is_killed_the_newest_or_the_one_before_is_whole_and_nothing_stays_behind(after):
    numbers = [found for found, _, _ in after["kills"]]
    assert len(numbers) > 25
    assert numbers == sorted(numbers)
    assert set(numbers) == {2, 3}
    for _, following, names in after["kills"]:
        assert following == 4
        assert CHECKPOINT in names
        assert set(names) <= {CHECKPOINT, PREVIOUS}


def test_wherever_writing_over_a_damaged_one_is_killed_the_good_one_is_still_there(after):
    assert set(after["kills over a damaged one"]) == {1, 3}


def test_a_half_written_checkpoint_is_not_read_and_is_removed_by_the_next(after):
    names, found, following, left = after["half"]
    assert len(names) == 3
    assert (found, following) == (2, 4)
    assert left == [PREVIOUS, CHECKPOINT]


def test_a_checkpoint_that_finds_no_room_says_so_and_leaves_the_last_two(after):
    names, found, following, _ = after["limit"]
    assert names == [PREVIOUS, CHECKPOINT, "message"]
    assert (found, following) == (2, 4)
    folder = after["folder"] / "limit"
    message = (folder / "message").read_text()
    assert message.startswith(f"Could not write {folder / CHECKPOINT}: File too large.")
    assert message.endswith(f"`rheobase resume {folder}` goes on from it afterwards.")


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_write_returns(tmp_path, monkeypatch):
    written(tmp_path, 1)
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(f"{a} -> {b}"), replace(a, b)))
    written(tmp_path, 2)
    aside = done[0]
    assert aside.startswith(f"{tmp_path}/.{CHECKPOINT}.")
    newest, previous = tmp_path / CHECKPOINT, tmp_path / PREVIOUS
    assert done[1:] == [f"{newest} -> {previous}", f"{aside} -> {newest}", str(tmp_path)]


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def test_a_checkpoint_that_would_run_code_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    written(tmp_path, 1)
    monkeypatch.setattr(checkpoints, "require_plain", lambda value, where: None)
    buffer = io.BytesIO()
    torch.save({"epoch": Evil(str(canary))}, buffer)
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert canary.is_dir()  # it would run
    canary.rmdir()
    Checkpoints(tmp_path).write({"epoch": Evil(str(canary))})
    words = []
    assert Checkpoints(tmp_path).read(words.append)["number"] == 1
    assert "tensors and plain values" in words[0]
    assert not canary.exists()


def test_a_checkpoint_of_another_format_names_the_version_that_wrote_it(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 7)
    monkeypatch.setattr(checkpoints, "__version__", "9.8.7")
    Checkpoints(tmp_path).write(state(1))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"written by Rheobase 9\.8\.7 in format 7.*pip install rheobase==9\.8\.7"):
        Checkpoints(tmp_path).read(silent)


def test_a_checkpoint_from_before_there_was_a_header_says_so(tmp_path):
    torch.save(state(1), tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=r"written by Rheobase 0\.1\.0 before checkpoints had one"):
        Checkpoints(tmp_path).read(silent)


@pytest.mark.parametrize("value", [{1}, np.float64(1), torch.float32, Evil("")])
def test_what_could_not_be_read_again_is_not_written(tmp_path, value):
    with pytest.raises(TypeError, match=rf"got {type(value).__name__} in state\['a'\]\[1\]"):
        Checkpoints(tmp_path).write({"a": [0, value]})
    assert files(tmp_path) == []

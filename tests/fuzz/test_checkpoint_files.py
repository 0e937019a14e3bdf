"""Whatever is in a checkpoint or a file of weights, it is read whole or refused by name; nothing in it is run."""

import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path

import pytest
import torch
from fuzz.cases import damaged, outcome, tries
from hypothesis import assume, given
from hypothesis import strategies as st

from rheobase.training.checkpoints import Checkpoints, packed, sealed, unpacked
from rheobase.training.files import CHECKPOINT, PREVIOUS, read_weights, write_weights

STATE = {"epoch": 3, "model": {"w": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}, "loss": [0.5, None, "text"]}
WHOLE = b"".join(packed(STATE))
CONTENT = WHOLE[WHOLE.index(b"\n") + 1 :]
PATH = Path("checkpoint.pt")


def records(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def saved(parts):
    """As `torch.save` writes it: an archive, nothing compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PARTS = records(CONTENT)
PICKLE = next(name for name in PARTS if name.endswith("data.pkl"))


@tries(400)
@given(st.binary(max_size=400) | damaged(WHOLE) | st.binary(max_size=100).map(lambda data: WHOLE[:110] + data))
def test_any_change_of_a_checkpoint_is_refused_by_name(data):
    assume(data != WHOLE)
    state, fault = outcome(unpacked, data, PATH)
    assert state is None
    assert fault.startswith("checkpoint.pt ")


@tries(400)
@given(
    st.binary(max_size=400)
    | damaged(CONTENT)
    | damaged(PARTS[PICKLE]).map(lambda data: saved(PARTS | {PICKLE: data}))
    | damaged(PARTS[PICKLE])
    | st.tuples(st.sampled_from(sorted(PARTS)), st.binary(max_size=30)).map(lambda pair: saved(PARTS | dict([pair])))
    | st.sampled_from(sorted(PARTS)).map(lambda left: saved({k: v for k, v in PARTS.items() if k != left}))
)
def test_what_has_the_right_hash_and_a_wrong_content_is_a_dictionary_or_refused_by_name(content):
    state, fault = outcome(unpacked, sealed(content) + content, PATH)
    assert isinstance(state, dict) or fault.startswith(("checkpoint.pt ", "Expected a dictionary in checkpoint.pt"))


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["archive", "pickle alone", "with a stop before it"])
def test_no_pickle_in_a_checkpoint_runs_what_it_names(tmp_path, protocol, form):
    canary = tmp_path / "canary"
    for call in (
        Call(os.mkdir, str(canary)), Call(os.system, f"mkdir {canary}"), Call(eval, f"open({str(canary)!r}, 'w')"),
        Call(getattr, Call(__import__, "os"), "mkdir"), Call(torch.load, str(canary)), Call(exec, "1"),
    ):  # fmt: skip
        evil = pickle.dumps({"epoch": call}, protocol)
        content = {
            "archive": saved(PARTS | {PICKLE: evil}),
            "pickle alone": evil,
            "with a stop before it": pickle.dumps(0, protocol) + evil,
        }[form]
        state, fault = outcome(unpacked, sealed(content) + content, PATH)
        assert state is None
        assert fault
        assert outcome(unpacked, content, PATH)[0] is None
    assert not canary.exists()


def test_the_archives_of_these_tests_are_loaded_and_would_run_what_they_name(tmp_path):
    content = saved(PARTS)
    assert repr(unpacked(sealed(content) + content, PATH)) == repr(STATE)
    evil = saved(PARTS | {PICKLE: pickle.dumps({"epoch": Call(os.mkdir, str(tmp_path / "canary"))}, 2)})
    torch.load(io.BytesIO(evil), weights_only=False)
    assert (tmp_path / "canary").exists()


@tries(150)
@given(st.data())
def test_no_combination_of_opcodes_runs_anything(data):
    marks = [opcode.code.encode("latin1") for opcode in pickletools.opcodes if opcode.arg is None]
    names = [
        b"cos\nmkdir\n",
        b"cbuiltins\neval\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
    ]
    call = b"X\x07\0\0\0canary!\x85R"
    pieces = st.sampled_from(
        [*marks, *names, *(name + call for name in names), b"K\x01", b"(", b"\x85", b"R", b"}", b"b"]
    )
    evil = b"\x80\x02" + b"".join(data.draw(st.lists(pieces, min_size=1, max_size=20))) + b"."
    content = saved(PARTS | {PICKLE: evil})
    state, fault = outcome(unpacked, sealed(content) + content, PATH)
    assert isinstance(state, dict) or fault
    assert not Path("canary!").exists()


@tries(150)
@given(st.binary(max_size=300) | damaged(WHOLE))
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_with_a_word(tmp_path_factory, data):
    assume(data != WHOLE)
    folder, words = tmp_path_factory.getbasetemp(), []
    (folder / PREVIOUS).write_bytes(WHOLE)
    (folder / CHECKPOINT).write_bytes(data)
    assert Checkpoints(folder).read(words.append)["epoch"] == 3
    assert len(words) == 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    write_weights(path, {"a": torch.arange(6.0), "b": torch.ones(2, 2)})
    return path, path.read_bytes()


@tries(400)
@given(st.data())
def test_a_damaged_file_of_weights_is_read_or_refused_by_name(weights, data):
    path, whole = weights
    path.write_bytes(data.draw(st.binary(max_size=300) | damaged(whole)))
    found, fault = outcome(read_weights, path)
    assert isinstance(found, dict) or fault.startswith(f"{path} is no whole safetensors file")

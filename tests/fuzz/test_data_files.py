"""Whatever is in a file of images or a kept result, it is read whole or refused with a reason; nothing in it is run."""

import gzip
import json
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.writers import images, python_batch, records
from fuzz.cases import damaged, outcome, tries, values
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rheobase.datasets import cache
from rheobase.datasets.cifar import FORMS, read_pickle, read_records
from rheobase.datasets.idx import content, parse
from rheobase.datasets.row_file import RowFile, told
from rheobase.datasets.samples import Mapped

PATH = Path("some.file")
IDX = struct.pack(">4B3I", 0, 0, 8, 3, 4, 5, 6) + bytes(range(120))
BATCH = python_batch(images(2, 0), [3, 9], "labels", "data_batch_1")
sizes = st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@tries(300)
@given(
    damaged(IDX)
    | st.binary(max_size=80)
    | st.tuples(sizes, sizes, sizes, st.binary(max_size=30)).map(
        lambda drawn: struct.pack(">4B3I", 0, 0, 8, 3, *drawn[:3]) + drawn[3]
    )
)
def test_an_idx_file_is_an_array_of_its_size_or_refused_by_name(data):
    array, fault = outcome(lambda: parse(data, PATH, dimensions=3))
    if array is None:
        assert fault.startswith("some.file: ")
    else:
        assert array.dtype == torch.uint8
        assert array.numel() == len(data) - 16


@tries(200)
@given(damaged(gzip.compress(IDX, mtime=0)) | st.binary(max_size=60))
def test_a_compressed_file_is_read_or_refused_by_name(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "some.gz"
    path.write_bytes(data)
    found, fault = outcome(content, path)
    assert found is not None or fault.startswith(f"{path}: ")


@st.composite
def pickles(draw):
    marks = [opcode.code.encode("latin1") for opcode in pickletools.opcodes if opcode.arg is None]
    names = [b"cos\nmkdir\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n"]
    call = b"X\x07\0\0\0canary!\x85R"
    more = [b"U\x04data", b"U\x06labels", b"K\x01", b"]", b"}", b"(", b"\x85", b"\x86", b"\x87", b"R", b"b", b"t", b"u"]
    big = [b"\x8e" + struct.pack("<Q", 2**62), b"T" + struct.pack("<i", 2**31 - 1), b"r" + struct.pack("<I", 2**32 - 1)]
    pieces = st.sampled_from([*marks, *names, *(name + call for name in names), *more, *big])
    return b"\x80\x02" + b"".join(draw(st.lists(pieces, max_size=25))) + b"."


@tries(500)
@given(damaged(BATCH) | pickles() | st.binary(max_size=60) | values().map(pickle.dumps))
def test_a_batch_of_cifar_is_read_or_refused_by_name_and_runs_nothing(data):
    found, fault = outcome(read_pickle, data, PATH, FORMS["cifar10"])
    if found is None:
        assert fault.startswith("some.file: ")
    else:
        assert found[0].shape == (len(found[1]), 3072)
        assert found[0].dtype == np.uint8
    assert not Path("canary!").exists()


def test_a_pickle_of_the_pieces_above_would_run_what_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(b"\x80\x02cos\nmkdir\nX\x07\0\0\0canary!\x85R.")
    assert os.listdir() == ["canary!"]


@tries(100)
@given(damaged(records(images(2, 0), [[3, 9]])) | st.binary(max_size=40))
def test_a_binary_file_of_cifar_is_read_or_refused_by_name(data):
    found, fault = outcome(read_records, data, PATH, FORMS["cifar10"])
    assert fault.startswith("some.file: ") or found[0].shape == (len(data) // 3073, 3072)


ROWS = [np.full((2, 3), number, np.int16) for number in (1, 300, -5)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = RowFile(tmp_path_factory.mktemp("rows") / "rows.npy", 3, (2, 3))
    for row in ROWS:
        file.append(row)
    file.finish("key")
    file.discard()
    return file.path, file.path.read_bytes(), file.path.with_suffix(".json").read_bytes()


def mapped(path):
    told(path, "key", (3, 2, 3))
    return Mapped(path, "").read(torch.arange(3))


@tries(200)
@given(st.data())
@example(None)
def test_kept_rows_are_read_in_their_shape_or_refused(rows, data):
    path, array, note = rows
    deep = b"[" * 100_000
    if data is None:
        path.write_bytes(array)
        path.with_suffix(".json").write_bytes(note)
        assert torch.equal(mapped(path), torch.from_numpy(np.stack(ROWS)))
        return
    said = st.dictionaries(st.sampled_from([*json.loads(note), "more"]), values(), max_size=6).map(
        lambda found: json.dumps(json.loads(note) | found).encode()
    )
    path.write_bytes(data.draw(st.just(array) | damaged(array) | st.binary(max_size=40)))
    path.with_suffix(".json").write_bytes(data.draw(st.just(note) | damaged(note) | said | st.just(deep)))
    found, fault = outcome(mapped, path)
    assert fault or found.shape == (3, 2, 3)


@tries(300)
@given(st.data())
def test_a_kept_result_is_what_was_written_or_refused(tmp_path_factory, data):
    path, result = tmp_path_factory.getbasetemp() / "kept.safetensors", torch.arange(12).view(3, 4)
    cache.write(path, "key", result)
    whole = path.read_bytes()
    changed = data.draw(damaged(whole) | st.binary(max_size=60))
    assume(changed != whole)
    path.write_bytes(changed)
    found, fault = outcome(cache.read, path, "key")
    assert fault or torch.equal(found, result)

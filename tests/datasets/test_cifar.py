"""CIFAR: what is read is what was written, nothing in a pickle is run, every kind of damage is named."""

import gzip
import hashlib
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets.writers import array, images, numbers, pickled, python_batch, text, write_cifar10, write_cifar100

from rheobase.datasets import Split, cifar10, cifar100, load
from rheobase.datasets.cifar_augmentation import STATISTICS
from rheobase.datasets.published import PUBLISHED
from rheobase.datasets.source import File
from rheobase.transforms import Cutout, Normalise, TorchtoolboxCutout

MAKERS = {"cifar10": (cifar10, write_cifar10), "cifar100": (cifar100, write_cifar100)}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    write_cifar10(tmp_path)
    return tmp_path


def read(root, **options):
    return cifar10(root=root, verify=False, **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:dtype")
def test_numpy_itself_reads_the_files_that_the_tests_write(root):
    batch = pickle.loads((root / "data_batch_2").read_bytes(), encoding="latin1")
    assert np.array_equal(batch["data"], images(20, 1))
    assert batch["labels"] == np.roll(np.arange(20) % 10, 1).tolist()
    assert (batch["batch_label"], len(batch["filenames"])) == ("data_batch_2", 20)


def test_images_are_the_bytes_channel_by_channel_in_the_files_order(root):
    test = read(root).test
    assert test.samples.dtype == torch.uint8
    assert np.array_equal(test.samples.numpy(), images(20, 5).reshape(20, 3, 32, 32))
    assert test.targets.tolist() == np.roll(np.arange(20) % 10, 5).tolist()


def test_train_and_validation_are_the_five_batches_once(root):
    data = read(root, split=Split(validation=0.2))
    found = torch.cat([data.train.samples, data.validation.samples]).flatten(1)
    assert len(data.validation) == 20
    expected = np.concatenate([images(20, seed) for seed in range(5)])
    assert sorted(map(bytes, found.numpy())) == sorted(map(bytes, expected))


def test_a_batch_is_normalised_and_the_same_at_every_step(root):
    xs, _ = next(iter(read(root, steps=3, augment="none").test.batches(4)))
    assert xs.shape == (3, 4, 3, 32, 32)
    assert xs.stride(0) == 0
    raw = torch.from_numpy(images(20, 5)[:4].reshape(4, 3, 32, 32)).double() / 255
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in STATISTICS["cifar10"])
    torch.testing.assert_close(xs[2].double(), (raw - mean) / std, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_the_binary_version_and_compressed_files_give_the_same(tmp_path, name):
    make, write = MAKERS[name]
    forms = tmp_path / "python", tmp_path / "binary", tmp_path / "packed"
    for folder, form in zip(forms, ("python", "binary", "python"), strict=True):
        write(folder, form=form)
    for path in forms[2].iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    prints = [make(root=folder, verify=False).train.fingerprint() for folder in forms]
    assert prints[0] == prints[1] == prints[2]


def test_cifar100_has_the_fine_labels(tmp_path):
    for form in ("python", "binary"):
        write_cifar100(tmp_path / form, form=form)
        data = cifar100(root=tmp_path / form, verify=False)
        assert data.test.targets.tolist() == list(range(100))
        assert data.train.classes == 100


@pytest.mark.parametrize(("name", "inner"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-binary")])
def test_the_folder_above_the_unpacked_archive_will_do(tmp_path, name, inner, monkeypatch):
    make, write = MAKERS[name]
    write(tmp_path / name / inner, form="binary" if inner.endswith("binary") else "python")
    assert len(make(root=tmp_path / name, verify=False).test) in (20, 100)
    monkeypatch.setenv("RHEOBASE_DATA", str(tmp_path))
    assert len(make(verify=False).test) in (20, 100)


def test_missing_files_are_asked_for_with_how_to_get_them(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`rheobase data fetch cifar10`, or get cifar-10-python\.tar\.gz"):
        cifar10(root=tmp_path / "nothing")
    (root / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_3 \(or data_batch_3\.gz\)"):
        read(root)


class Runs:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_nothing_that_a_pickle_names_is_run(root):
    (root / "test_batch").write_bytes(pickle.dumps({"data": Runs(), "labels": []}, protocol=2))
    with pytest.raises(ValueError, match=r"test_batch.*names (builtins|__builtin__)\.exec"):
        read(root)


@pytest.mark.parametrize(
    "made",
    [
        b"cos\nsystem\nU\x04true\x85R.",
        b"cnumpy.core.multiarray\n_reconstruct\nN}U\x01aNs\x86b.",
        b"cnumpy\nndarray\n}U\x01aNsb.",
        b"(U\x04truei__builtin__\neval\n.",
        b"\x80\x02cnumpy\nload\n.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x82\x01.",
        b"Pname\n.",
    ],
    ids=["system", "state of a function", "state of a class", "instance", "other numpy", "dotted", "extension", "id"],
)
def test_what_no_batch_holds_is_refused_whatever_opcode_asks_for_it(root, made):
    (root / "test_batch").write_bytes(made)
    with pytest.raises(ValueError, match=r"test_batch: (not a batch of CIFAR's Python version|expected)"):
        read(root)


PIXELS, LABELS = images(20, 5), list(range(10)) * 2


def batch_with(**changed):
    entries = {"data": array(PIXELS), "labels": numbers(LABELS)} | changed
    return lambda _: pickled({key: value for key, value in entries.items() if value is not None})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "Python version .*Ran out of input"),
        (lambda data: data[:-1], "not a batch of CIFAR's Python version"),
        (lambda data: data[:1000], "not a batch of CIFAR's Python version"),
        (lambda data: b"\x80\x09" + data[2:], "unsupported pickle protocol: 9"),
        (lambda _: b"N.", "expected a dictionary, got NoneType"),
        (lambda _: numbers([1]) + b".", "expected a dictionary, got list"),
        (batch_with(labels=None), "expected the key 'labels', found data"),
        (batch_with(data=None), "expected the key 'data', found labels"),
        (batch_with(data=array(PIXELS.astype("<i2"), kind="i2")), r"array \[n, 3072\] of bytes"),
        (batch_with(data=array(PIXELS[:, :-1])), r"array \[20, 3071\] of 61420 bytes"),
        (batch_with(data=array(PIXELS, shape=(21, 3072))), r"array \[21, 3072\] of 61440 bytes"),
        (batch_with(data=array(PIXELS[:0])), r"array \[0, 3072\] of 0 bytes"),
        (batch_with(data=text("pixels")), "under the key 'data'"),
        (batch_with(labels=numbers(LABELS[1:])), "20 images but 19 labels"),
        (batch_with(labels=numbers([*LABELS[:-1], 10])), r"labels in 0 \.\. 9, got 10 for image 19"),
        (batch_with(labels=numbers([-1, *LABELS[1:]])), r"labels in 0 \.\. 9, got -1 for image 0"),
        (batch_with(labels=b"](" + b"G" + b"\0" * 8 + b"e"), "list of whole numbers"),
        (batch_with(labels=b"](" + b"\x8a\x09" + b"\xff" * 8 + b"\1" + b"e" * 1), "20 images but 1 labels"),
        (batch_with(labels=b"](" + b"\x8a\x09" + b"\xff" * 8 + b"\1" + b"K\0" * 19 + b"e"), "far outside"),
        (batch_with(labels=text("labels")), "list of whole numbers"),
    ],
)
def test_damage_of_the_python_version_is_named_with_its_file(root, damage, message):
    path = root / "test_batch"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read(root)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "records of 3073 bytes, got 0"),
        (lambda data: data[:-1], "ends 3072 bytes into record 19"),
        (lambda data: data + b"\0", "ends 1 bytes into record 20"),
        (lambda data: data[:3073] + b"\x0a" + data[3074:], "got 10 for image 1"),
    ],
)
def test_damage_of_the_binary_version_is_named_with_its_file(tmp_path, damage, message):
    write_cifar10(tmp_path, form="binary")
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path)
    assert str(path) in str(caught.value)


def published_as(root, monkeypatch, names, checksums=True):
    files = []
    for name in names:
        data = (root / name).read_bytes()
        files.append(File(name, len(data), f"md5:{hashlib.md5(data).hexdigest()}" if checksums else None))
    changed = {"files": tuple(files)} if checksums else {"instead": tuple(files)}
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(PUBLISHED["cifar10"], **changed))


BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data + b"\0", "data_batch_5: not the published file: expected [0-9]+ bytes.*verify=False"),
        (lambda data: data[:-9] + b"\7" + data[-8:], "data_batch_5: not the published file: expected MD5"),
        (lambda _: pickle.dumps(Runs(), protocol=2), "data_batch_5: not the published file"),
    ],
)
def test_what_is_not_the_published_file_is_refused_before_it_is_unpickled(root, monkeypatch, damage, message):
    published_as(root, monkeypatch, BATCHES)
    assert len(cifar10(root=root).test) == 20
    path = root / "data_batch_5"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        cifar10(root=root)


def test_files_of_another_size_than_published_are_refused(root):
    with pytest.raises(ValueError, match="data_batch_1: not the published file: expected 31035704 bytes"):
        cifar10(root=root)


def test_a_binary_set_with_a_class_too_often_is_not_the_published_one(tmp_path, monkeypatch):
    write_cifar10(tmp_path, form="binary")
    published_as(tmp_path, monkeypatch, [f"{name}.bin" for name in BATCHES], checksums=False)
    assert len(cifar10(root=tmp_path).test) == 20
    path = tmp_path / "test_batch.bin"
    data = path.read_bytes()
    path.write_bytes(bytes([(data[0] + 1) % 10]) + data[1:])
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}: not the published set: expected 2 images of each")):
        cifar10(root=tmp_path)


@pytest.mark.parametrize(
    ("augment", "pipeline"),
    [("basic", "clean"), *((augment, which) for augment in ("sltt", "ottt", "rate") for which in ("clean", "paper"))],
)
def test_only_the_train_part_is_augmented_and_the_seed_repeats_it(root, augment, pipeline):
    data = read(root, augment=augment, pipeline=pipeline)
    plain = read(root, augment="none")

    def batch(part, seed):
        return next(iter(part.batches(8, generator=torch.Generator().manual_seed(seed))))[0]

    for part in ("validation", "test"):
        assert torch.equal(batch(getattr(data, part), 1), batch(getattr(plain, part), 1))
    assert torch.equal(batch(data.train, 1), batch(data.train, 1))
    assert batch(data.train, 1).shape == (6, 8, 3, 32, 32)
    assert not torch.equal(batch(data.train, 1), batch(plain.train, 1))


def places(data, kind):
    return [number for number, transform in enumerate(data.train.transforms) if isinstance(transform, kind)]


def test_rate_bp_cuts_before_normalising_in_the_paper_and_after_it_in_clean(root):
    for pipeline, is_before in (("paper", True), ("clean", False)):
        data = read(root, augment="rate", pipeline=pipeline)
        assert (places(data, Cutout) < places(data, Normalise)) == is_before


def test_only_the_papers_cutout_is_red(root):
    for augment in ("sltt", "ottt"):
        for pipeline, fill in (("paper", "red"), ("clean", "random")):
            (place,) = places(read(root, augment=augment, pipeline=pipeline), TorchtoolboxCutout)
            assert read(root, augment=augment, pipeline=pipeline).train.transforms[place].fill == fill


def test_only_the_papers_ottt_normalises_cifar100_with_the_statistics_of_cifar10(tmp_path):
    write_cifar100(tmp_path)
    for augment, pipeline, whose in (
        ("ottt", "paper", "cifar10"), ("ottt", "clean", "cifar100"), ("sltt", "paper", "cifar100"),
    ):  # fmt: skip
        data = cifar100(root=tmp_path, verify=False, augment=augment, pipeline=pipeline)
        for part in (data.train, data.test):
            (normalise,) = [transform for transform in part.transforms if isinstance(transform, Normalise)]
            assert (normalise.mean, normalise.std) == STATISTICS[whose]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "slt"}, "Unknown augmentation 'slt'. Did you mean 'sltt'"),
        ({"pipeline": "papers"}, "Unknown pipeline 'papers'. Did you mean 'paper'"),
        ({"pipeline": "paper"}, "no effect with augment='basic'"),
        ({"pipeline": "paper", "augment": "none"}, "no effect with augment='none'"),
        ({"steps": 0}, "steps of at least 1"),
    ],
)
def test_an_option_that_means_nothing_is_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        read(root, **options)


def test_it_is_loaded_by_name_with_its_options(root):
    data = load("cifar10", root=root, verify=False, steps=2, augment="rate", limit=10, evaluation_limit=10)
    assert (data.name, data.train.steps, len(data.train), data.train.shape) == ("cifar10", 2, 10, (3, 32, 32))


def test_a_batch_written_by_python_3_in_the_same_protocol_is_read(root):
    kept = python_batch(PIXELS, LABELS, "labels", "x").replace(b"U\x04data", b"X\x04\0\0\0data")
    (root / "test_batch").write_bytes(kept.replace(b"U\x06labels", b"X\x06\0\0\0labels"))
    assert read(root).test.targets.tolist() == LABELS

"""Writes small image sets in the exact format of the published ones."""

import struct
from pathlib import Path

import numpy as np
from events.writers import recording, write_aedat3

PIXELS = 3 * 32 * 32


def images(count, seed):
    """Random images, `[count, 3072]` of bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, PIXELS), np.uint8)


def write_cifar10(folder, per_batch=20, form="python"):
    """Five train batches and a test batch; each class alike where `per_batch` is a multiple of 10."""
    labels = np.arange(per_batch) % 10
    for number in range(6):
        name = "test_batch" if number == 5 else f"data_batch_{number + 1}"
        pixels, own = images(per_batch, number), np.roll(labels, number).tolist()
        if form == "binary":
            write(folder / f"{name}.bin", records(pixels, [own]))
        else:
            write(folder / name, python_batch(pixels, own, "labels", name))


def write_cifar100(folder, train=200, test=100, form="python"):
    """A train and a test file; the coarse label is the fine one over 5."""
    for number, (name, count) in enumerate((("train", train), ("test", test))):
        fine = (np.arange(count) % 100).tolist()
        coarse = [label // 5 for label in fine]
        pixels = images(count, number)
        if form == "binary":
            write(folder / f"{name}.bin", records(pixels, [coarse, fine]))
        else:
            write(folder / name, python_batch(pixels, fine, "fine_labels", name, {"coarse_labels": coarse}))


def write_imagenet(folder, classes=("n01440764", "n01443537"), per_class=6, size=(40, 48)):
    """train/ and val/ with random JPEG files of height and width `size`, a folder for each class."""
    from PIL import Image

    for seed, part in enumerate(("train", "val")):
        for number, label in enumerate(classes):
            for index in range(per_class):
                rng = np.random.default_rng((seed, number, index))
                coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
                path = Path(folder, part, label, f"{label}_{index}.JPEG")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(coarse).resize(size[::-1]).save(path, quality=95)


def write_recordings(folder, classes=("left", "right"), per_class=90, events=30):
    """Random .aedat files of a DVS128, a folder for each class."""
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True)
        for index in range(per_class):
            write_aedat3(folder / label / f"{index:03}.aedat", recording((number, index), events))


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def records(pixels, labels):
    """The binary version: the labels of an image, then its pixels."""
    return np.concatenate([*(np.array(own, np.uint8)[:, None] for own in labels), pixels], axis=1).tobytes()


def python_batch(pixels, labels, key, batch_label, more=None):
    """The Python version, a protocol-2 pickle as Python 2 and the NumPy of 2009 wrote it."""
    entries = {"batch_label": text(batch_label), key: numbers(labels)}
    entries |= {other: numbers(own) for other, own in (more or {}).items()}
    entries |= {"data": array(pixels), "filenames": listed([text(f"image_{n}.png") for n in range(len(labels))])}
    return pickled(entries)


def pickled(entries):
    """A dictionary with text keys and values that are pickled already."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u."


def text(value):
    return b"U" + bytes([len(value)]) + value.encode()


def number(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)


def listed(items):
    return b"](" + b"".join(items) + b"e"


def numbers(values):
    return listed([number(value) for value in values])


def array(values, kind="u1", shape=None):
    """An array as NumPy pickles it: made empty, then given its version, shape, dtype, order and bytes."""
    rows, columns = shape or values.shape
    dtype = b"cnumpy\ndtype\n" + text(kind) + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text("|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text("b") + b"\x87R"
    content = values.tobytes()
    state = number(1) + number(rows) + number(columns) + b"\x86" + dtype + b"\x89"
    return made + b"(" + state + b"T" + struct.pack("<i", len(content)) + content + b"tb"

"""Strict reading of idx files, the format of MNIST and its kin, plain or gzip-compressed."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rheobase.explained import explained

UNSIGNED_BYTE = 0x08


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed where its name ends in .gz.

    Raises ValueError where the compressed stream is damaged.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise explained(
            ValueError(f"{path}: the gzip stream is damaged ({error}). Fetch the file again."), "data-files"
        ) from error


def parse(data: bytes, path: Path, *, dimensions: int) -> Tensor:
    """The array in the bytes of an idx file, uint8 with `dimensions` dimensions.

    The format: two zero bytes, a type code, the number of dimensions, each size as a big-endian
    32-bit number, then the values. `path` is for the messages.

    Raises ValueError naming the file, the offset and what is wrong there.
    """
    header = 4 + 4 * dimensions
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(
            f"{path}: not an idx file: expected 4 bytes 00 00 TYPE DIMENSIONS at offset 0, "
            f"got {data[:4].hex(' ') or 'an empty file'}."
        )
    if data[2] != UNSIGNED_BYTE:
        raise ValueError(f"{path}: expected data type 0x08 (unsigned byte) at offset 2, got 0x{data[2]:02x}.")
    if data[3] != dimensions:
        raise ValueError(f"{path}: expected {dimensions} dimensions at offset 3, got {data[3]}.")
    if len(data) < header:
        raise ValueError(f"{path}: truncated in the header: {len(data)} of {header} bytes.")
    sizes = [int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4)]
    if 0 in sizes:
        raise ValueError(f"{path}: expected sizes of at least 1 from offset 4 on, got {sizes}.")
    expected = header + math.prod(sizes)
    if len(data) < expected:
        raise explained(
            ValueError(f"{path}: truncated at offset {len(data)}: sizes {sizes} need {expected} bytes."), "data-files"
        )
    if len(data) > expected:
        raise ValueError(f"{path}: {len(data) - expected} bytes too many: sizes {sizes} end at offset {expected}.")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(sizes).copy())


def check_pair(images: Tensor, labels: Tensor, where: tuple[Path, Path], *, classes: int) -> None:
    """Raises ValueError unless each image has a label in 0 .. classes - 1.

    where: the files of the images and of the labels, for the messages.
    """
    if len(images) != len(labels):
        raise ValueError(
            f"{where[0]} has {len(images)} images but {where[1]} has {len(labels)} labels: "
            "they are not of the same set."
        )
    wrong = (labels >= classes).nonzero()
    if len(wrong):
        first = int(wrong[0])
        raise ValueError(
            f"{where[1]}: expected labels in 0 .. {classes - 1}, got {int(labels[first])} at offset {8 + first}."
        )

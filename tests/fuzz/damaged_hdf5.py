"""Reads damaged HDF5 files, each in a child with little time: libhdf5 is C, and no exception ends what hangs there."""

import os
import random
import resource
from collections import Counter
from pathlib import Path

import numpy as np
from events.writers import recording, write_mvsec, write_spoken
from training.killing import in_child

from rheobase.events import MvsecFile, SpokenFile

FILES = 100
SECONDS = 10
READ, REFUSED, OTHER = 0, 3, 4


def read_mvsec(data, truth):
    with MvsecFile(data, truth) as file:
        for image in range(len(file) - 1):
            file.image(image)
            file.events(image, image + 1)
            if file.has_flow(image, image + 1):
                file.flow(image, image + 1)


def read_spoken(path):
    with SpokenFile(path) as file:
        for word in range(len(file)):
            file.spikes(word)


def damaged(whole, draw):
    """One to four bytes changed, more often those that are not 0, or the end cut off."""
    data = bytearray(whole)
    full = [at for at, byte in enumerate(whole) if byte]
    for _ in range(draw.randint(1, 4)):
        at = draw.choice(full) if draw.random() < 0.7 else draw.randrange(len(data))
        data[at] = draw.choice([0, 0xFF, data[at] ^ 1 << draw.randrange(8), draw.randrange(256)])
    return data[: draw.randrange(len(data))] if draw.random() < 0.1 else data


def outcomes(folder):
    """For each kind of file, how often reading a damaged one ended with which exit code, or minus a signal."""
    folder, draw = Path(folder), random.Random(0)
    images, times = np.zeros((3, 8, 12), np.uint8), [0.001, 0.1, 0.2]
    flows = np.ones((3, 2, 8, 12)), [0.0, 0.1, 0.3]
    data, truth = write_mvsec(folder, "scene", recording(0, 200, height=8, width=12), images, times, *flows)
    spoken = folder / "shd.h5"
    write_spoken(spoken, [[0.5, 0.1]] * 20, [[3, 4]] * 20, range(20), [1] * 20)
    readers = {data: (read_mvsec, data, truth), truth: (read_mvsec, data, truth), spoken: (read_spoken, spoken)}
    found = {}
    for path, reader in readers.items():
        whole, codes = path.read_bytes(), Counter()
        for _ in range(FILES):
            path.write_bytes(damaged(whole, draw))
            codes[in_child(lambda reader=reader, path=path: limited(*reader, named=path))] += 1
        path.write_bytes(whole)
        found[path.name] = dict(codes)
    return found


def limited(read, *paths, named):
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        read(*paths)
    except ValueError as error:
        os._exit(REFUSED if str(error).startswith(f"{named}: ") else OTHER)

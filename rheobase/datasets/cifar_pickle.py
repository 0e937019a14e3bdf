"""Reading a batch file of CIFAR's Python version, a pickle, without running what a pickle can run."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from rheobase.explained import explained

PIXELS = 3 * 32 * 32


def read_batch(data: bytes, path: Path, labels: str) -> tuple[np.ndarray, list[int]]:
    """The pixels `[n, 3072]`, uint8, and the n labels under the key `labels` in a batch file's bytes.

    The unpickler knows three names, those that NumPy's arrays of that time are stored with, and in their place it
    has passive records: no function outside this file is called, whatever the pickle says. `path` is for the messages.

    Raises ValueError naming the file and what is wrong in it.
    """
    try:
        batch = _Passive(io.BytesIO(data), encoding="bytes").load()
    except MemoryError as error:
        raise ValueError(f"{path}: the pickle asks for more memory than there is: it is damaged.") from error
    except Exception as error:  # damaged pickles raise errors of any kind
        raise explained(
            ValueError(f"{path}: not a batch of CIFAR's Python version ({error}). Fetch it again."), "data-files"
        ) from error
    entries = named_entries(batch, path)
    for key in ("data", labels):
        if key not in entries:
            raise ValueError(f"{path}: expected the key {key!r}, found {', '.join(sorted(entries)) or 'none'}.")
    pixels = as_pixels(entries["data"], path)
    return pixels, as_labels(entries[labels], len(pixels), path)


class _Kind:
    """Stands for `numpy.dtype`: its name and the state that the pickle gives it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array:
    """Stands for an array: the state that the pickle gives it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Passive(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which such a file does not hold")
        return _NAMES[module, name]


def named_entries(batch: Any, path: Path) -> dict[str, Any]:
    """The batch with its keys as text, whichever Python wrote it."""
    if not isinstance(batch, dict):
        raise ValueError(f"{path}: expected a dictionary, got {type(batch).__name__}.")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()}


def as_pixels(stored: Any, path: Path) -> np.ndarray:
    """The array `[n, 3072]` of bytes in what the pickle holds of one."""
    match getattr(stored, "state", None):
        case (int(), (int(rows), int(columns)), _Kind(arguments=(b"u1" | "u1", *_)), False, bytes(content)):
            if columns != PIXELS or rows < 1 or len(content) != rows * columns:
                raise ValueError(
                    f"{path}: expected {PIXELS} bytes for each of n images, got an array [{rows}, {columns}] "
                    f"of {len(content)} bytes."
                )
            return np.frombuffer(content, np.uint8).reshape(rows, columns)
    raise ValueError(f"{path}: expected an array [n, {PIXELS}] of bytes, row by row, under the key 'data'.")


def as_labels(stored: Any, count: int, path: Path) -> list[int]:
    """The list of `count` whole numbers."""
    if not isinstance(stored, list) or any(type(label) is not int for label in stored):
        raise ValueError(f"{path}: expected a list of whole numbers as labels.")
    if len(stored) != count:
        raise ValueError(f"{path}: {count} images but {len(stored)} labels.")
    return stored

"""Results kept on disk under a name made of everything they depend on."""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rheobase.datasets.row_file import RowFile, told
from rheobase.datasets.samples import Mapped


def folder() -> Path:
    """Where results are kept: $RHEOBASE_CACHE, else ~/.cache/rheobase."""
    return Path(os.environ.get("RHEOBASE_CACHE") or "~/.cache/rheobase").expanduser()


def key(settings: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that differ whenever one of `settings` (values as in JSON) does."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def cached(name: str, settings: Mapping[str, Any], build: Callable[[], Tensor]) -> Tensor:
    """`build()`, or what it returned when it was last called with the same settings.

    The file is written aside and renamed, so processes may do this at once. A damaged file is built again
    with a warning; where the folder cannot be written, the result is not kept, with a warning.
    """
    path = folder() / f"{name}-{key(settings)[:20]}.safetensors"
    if path.is_file():
        try:
            return read(path, key(settings))
        except ValueError as error:
            warnings.warn(f"{path} is damaged ({error}); it is made anew.", stacklevel=2)
    result = build()
    try:
        write(path, key(settings), result)
    except OSError as error:
        warnings.warn(f"Could not keep {path} ({error}); set RHEOBASE_CACHE to a folder.", stacklevel=2)
    return result


def cached_rows(
    name: str,
    settings: Mapping[str, Any],
    build: Callable[[], Iterable[np.ndarray[Any, Any]]],
    *,
    count: int,
    shape: tuple[int, ...],
) -> Mapped:
    """The `count` rows of `shape` that `build()` yields, or did when it was last called with the same settings.

    They are in a .npy file and stay there; one row at a time is in memory while they are made. Whole numbers
    are kept as uint8, int16 or int32, the narrowest that holds all; float32 as it is.

    The file is written aside and renamed together with a .json file that tells its key, hash, shape, type and
    size, so processes may do this at once, and what stops half-way leaves nothing under these names. A file
    that is not as the .json file tells is made anew with a warning; the rows are not hashed again to see that.

    Raises ValueError where `build` yields other rows, OSError where there is no room for them: they may be too
    large for memory, so they are not handed back without a file.
    """
    if count < 1 or min(shape, default=1) < 1:
        raise ValueError(f"Expected at least 1 row of at least 1 number, got {count} of shape {list(shape)}.")
    path = folder() / f"{name}-{key(settings)[:20]}.npy"
    if path.with_suffix(".json").is_file():
        try:
            return Mapped(path, told(path, key(settings), (count, *shape)))
        except ValueError as error:
            warnings.warn(f"{path} is damaged ({error}); it is made anew.", stacklevel=2)
    needed = count * math.prod(shape)
    with room(path, needed):
        file = RowFile(path, count, shape)
    try:
        with room(path, needed):
            if shutil.disk_usage(path.parent).free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for row in watched(build(), count, name):
            with room(path, needed):
                file.append(row)
        with room(path, needed):
            return Mapped(path, file.finish(key(settings)))
    finally:
        file.discard()


def watched(rows: Iterable[np.ndarray[Any, Any]], count: int, name: str) -> Iterable[np.ndarray[Any, Any]]:
    """The rows, with a bar on a terminal that tells how many are made: the first time may take minutes."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(rows, f"Making {name}", total=count, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def room(path: Path, needed: int) -> Iterator[None]:
    """An OSError inside says what to do; `needed` is the least number of bytes of the file at `path`."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not write {path}, at least {needed / 1e6:.1f} MB ({error.strerror}); "
            "set RHEOBASE_CACHE to a folder with room",
        ) from error


def read(path: Path, expected_key: str) -> Tensor:
    """The tensor in a file of ours; ValueError where the file is not what was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensor: Tensor = file.get_tensor("tensor").clone()
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if metadata.get("key") != expected_key:
        raise ValueError("it was made with other settings")
    if metadata.get("sha256") != digest(tensor):
        raise ValueError("its content does not have the hash written with it")
    return tensor


def write(path: Path, written_key: str, tensor: Tensor) -> None:
    """Keeps `tensor` at `path`: the file appears complete or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    os.close(handle)
    try:
        save_file({"tensor": tensor}, aside, metadata={"key": written_key, "sha256": digest(tensor)})
        os.replace(aside, path)
    finally:
        Path(aside).unlink(missing_ok=True)


def digest(tensor: Tensor) -> str:
    """SHA-256 of the values of a contiguous tensor, hexadecimal."""
    return hashlib.sha256(tensor.view(-1).view(torch.uint8).numpy().data).hexdigest()

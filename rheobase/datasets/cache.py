"""Results kept on disk under a name made of everything they depend on."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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

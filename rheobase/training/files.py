"""The files of a run: written aside and renamed, so that none is ever half there."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

CONFIG, METRICS, WEIGHTS, CHECKPOINT, RESULT = (
    "config.json", "metrics.jsonl", "weights.safetensors", "checkpoint.pt", "result.json",
)  # fmt: skip


def write_aside(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary path in the same folder, then renames it to `path`.

    When `write` fails or is interrupted, `path` is as it was and the temporary file is gone.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    aside = Path(name)
    try:
        write(aside)
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2) + "\n"
    write_aside(path, lambda aside: ignore(aside.write_text(text)))


def write_lines(path: Path, values: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    text = "".join(json.dumps(value) + "\n" for value in values)
    write_aside(path, lambda aside: ignore(aside.write_text(text)))


def ignore(_: object) -> None:
    return None


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    separate = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    write_aside(path, lambda aside: save_file(separate, aside))


def read_weights(path: Path) -> dict[str, Tensor]:
    require_file(path)
    return load_file(path)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    write_aside(path, lambda aside: torch.save(dict(state), aside))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in `path`; nothing but tensors and plain values is ever loaded from it."""
    require_file(path)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_json(path: Path) -> dict[str, Any]:
    require_file(path)
    try:
        value = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object in {path}, got {type(value).__name__}.")
    return value


def require_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}: is {path.parent} the folder of a run made by `rheobase train`?")


def claim(folder: Path, *, overwrite: bool) -> None:
    """Makes `folder`, empty of an earlier run.

    Raises FileExistsError when it holds anything, unless `overwrite`, which removes the files of a run alone.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name another folder.")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{folder} is not empty: name another folder, or overwrite it with --overwrite.")
        for name in (CONFIG, METRICS, WEIGHTS, CHECKPOINT, RESULT):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)

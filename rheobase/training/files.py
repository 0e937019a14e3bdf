"""The files of a run: written aside and renamed, so that none is ever half there."""

import errno
import json
import math
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from rheobase.explained import explained

CONFIG, METRICS, WEIGHTS, CHECKPOINT, PREVIOUS, RESULT = (
    "config.json", "metrics.jsonl", "weights.safetensors", "checkpoint.pt", "checkpoint.previous.pt", "result.json",
)  # fmt: skip
COMPARISON = "comparison.json"
DIFFS = ("git.diff", "rheobase.diff")
PICTURES = tuple(
    f"{name}.png" for name in ("curves", "confusion", "raster", "rates", "potentials", "frames", "filters")
)
REPORT, RESULTS = "report.html", "results.json"
OF_COMPARISON = (COMPARISON, RESULTS, "compare.png")
FILES = (CONFIG, METRICS, WEIGHTS, CHECKPOINT, PREVIOUS, RESULT)


class DiskError(OSError):
    """A file could not be written; the message says which, why, and what is safe."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """An OSError inside becomes a DiskError about `path` that says how to go on."""
    try:
        yield
    except OSError as error:
        folder = path.parent
        if any((folder / name).is_file() for name in (CHECKPOINT, PREVIOUS)):
            again = f"rheobase resume {shlex.quote(str(folder))}"
            advice = f"The last good checkpoint is untouched: `{again}` goes on from it afterwards"
        else:
            advice = "There is no checkpoint to go on from yet"
        reason = error.strerror or str(error)
        raise DiskError(
            f"Could not write {path}: {reason}. See to the room and the rights there. {advice}.", error.errno
        ) from error


def write_aside(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a temporary file in the same folder, then renames it to `path`, on the disk for good.

    When `write` fails or is interrupted, `path` is as it was and the temporary file is gone. Raises DiskError.
    """
    with disk_errors(path), written_aside(path, write) as aside:
        aside.replace(path)
        sync_folder(path.parent)


@contextmanager
def written_aside(path: Path, write: Callable[[IO[bytes]], object]) -> Iterator[Path]:
    """The path of a complete temporary file beside `path`, to be renamed inside."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """What was renamed in `folder` stays so through a power cut."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network folders cannot
            raise
    finally:
        os.close(handle)


def clear_leftovers(folder: Path) -> None:
    """Removes the temporary files of a run that was killed while it wrote them."""
    for file in folder.glob(".*.????????"):
        if file.name[1:-9] in (*FILES, *DIFFS, REPORT):
            file.unlink(missing_ok=True)


def require_writable(folder: Path, needed: int) -> None:
    """Raises DiskError unless `folder`, made where it is missing, has room for `needed` more bytes; leaves nothing."""
    probe = folder / f".{CHECKPOINT}.{secrets.token_hex(4)}"
    try:
        with disk_errors(folder / CHECKPOINT):
            folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder).free < needed:
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {needed / 1e6:.1f} MB are needed")
            with probe.open("xb") as file:
                file.write(b"rheobase")
                if sys.platform == "linux":
                    os.posix_fallocate(file.fileno(), 0, max(needed, 1))  # quotas and limits are seen only so
                file.flush()
                os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2) + "\n"
    write_aside(path, lambda file: file.write(text.encode()))


def plain(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON has not."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_lines(path: Path, values: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    text = "".join(json.dumps(value) + "\n" for value in values)
    write_aside(path, lambda file: file.write(text.encode()))


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Adds one JSON object as a line, in one write; what a kill left of a line before it is cut off.

    Raises DiskError; the lines before are kept then, and no part of this one.
    """
    line = (json.dumps(value) + "\n").encode()
    with disk_errors(path), path.open("ab+", buffering=0) as file:
        end = whole_lines(file)
        file.truncate(end)
        try:
            while line:
                line = line[file.write(line) :]  # what is left of it says why it was cut
        except OSError:
            file.truncate(end)
            raise


def whole_lines(file: IO[bytes]) -> int:
    """How many bytes of `file` are complete lines."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 2**16)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def read_lines(path: Path, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """The JSON objects in `path`; a last line cut short is left out with a word.

    Raises ValueError for any other line that is no JSON object.
    """
    require_file(path)
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        warn(f"{path} ends in the middle of line {len(lines) + 1}, as a kill leaves it: that line is left out.")
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    separate = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    content = safetensors.torch.save(separate)  # in memory: `save_file` tells a full disk as no OSError
    write_aside(path, lambda file: file.write(content))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in `path`. Raises ValueError where it is no whole safetensors file."""
    require_file(path)
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({error}).") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`."""
    require_file(path)
    return json_object(path.read_bytes(), str(path))


def json_object(text: str | bytes, source: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object in {source}, got {type(value).__name__}.")
    return value


def require_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}: is {path.parent} the folder of a run made by `rheobase train`?")


def claim(folder: Path, *, overwrite: bool) -> None:
    """Makes `folder`, empty of an earlier run or comparison.

    Raises FileExistsError when it holds anything, unless `overwrite`, which removes the files of those alone.
    """
    clear(prepared(folder, overwrite=overwrite))


def prepared(folder: Path, *, overwrite: bool) -> Path:
    """`folder`, made, of which nothing is removed yet. Raises what `claim` raises."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: name another folder.")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise explained(
            FileExistsError(f"{folder} is not empty: name another folder, or overwrite it with --overwrite."), "resume"
        )
    with disk_errors(folder / CONFIG):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear(folder: Path) -> None:
    for name in (*FILES, *PICTURES, REPORT, *OF_COMPARISON):
        (folder / name).unlink(missing_ok=True)
    clear_leftovers(folder)

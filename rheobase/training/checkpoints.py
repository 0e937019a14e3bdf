"""The last two checkpoints of a run: one of them is whole at every instant."""

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rheobase.explained import explained
from rheobase.training.files import CHECKPOINT, PREVIOUS, clear_leftovers, disk_errors, sync_folder, written_aside
from rheobase.version import __version__

FORMAT = 1
MAGIC = b"rheobase-checkpoint"
_HEADER = re.compile(rb"(rheobase-checkpoint (\d{1,9}) (\S{1,99}) (\d{1,18})) ([0-9a-f]{64})\n")
_LONGEST = 256
_PLAIN = (type(None), bool, int, float, str, bytes)


class Checkpoints:
    """The newest and the previous checkpoint in `folder`, checkpoint.pt and checkpoint.previous.pt.

    A file is one line, `rheobase-checkpoint FORMAT VERSION BYTES SHA256`, and then BYTES bytes as `torch.save` writes
    them. The hash is of the line up to it and of those bytes.

    A new one is complete on the disk before the newest becomes the previous, and takes its name after that; a newest
    one that is damaged does not become the previous.
    """

    def __init__(self, folder: Path) -> None:
        self.newest, self.previous = folder / CHECKPOINT, folder / PREVIOUS
        self._newest_is_whole: bool | None = None

    def write(self, state: Mapping[str, Any]) -> None:
        """Makes `state`, tensors and plain values, the newest.

        Raises DiskError, with those before untouched; TypeError for what could not be read again.
        """
        require_plain(state, "state")
        header, content = packed(state)
        clear_leftovers(self.newest.parent)
        with (
            disk_errors(self.newest),
            written_aside(self.newest, lambda file: file.writelines((header, content))) as aside,
        ):
            if self._keeps_newest():
                self.newest.replace(self.previous)
            aside.replace(self.newest)
            sync_folder(self.newest.parent)
        self._newest_is_whole = True

    def read(self, warn: Callable[[str], None]) -> dict[str, Any]:
        """The newest state that is whole, on the CPU; one that is not is told to `warn`.

        Raises FileNotFoundError where there is none, ValueError where none can be read, saying what is wrong with each.
        """
        faults: list[str] = []
        for path in (self.newest, self.previous):
            if not path.is_file():
                continue
            try:
                state = unpacked(path.read_bytes(), path)
            except ValueError as error:
                faults.append(str(error))
                continue
            for fault in faults:
                warn(f"{fault} Going on from {path}, the one before.")
            self._newest_is_whole = path == self.newest
            return state
        if faults:
            raise explained(ValueError(" ".join(faults) + " There is no other checkpoint to go on from."), "resume")
        raise explained(
            FileNotFoundError(
                f"No checkpoint in {self.newest.parent}: it is no folder of a run made by `rheobase train`, or of one "
                "that was stopped before its first batch, which loses nothing: start it again."
            ),
            "resume",
        )

    def _keeps_newest(self) -> bool:
        if self._newest_is_whole is None:
            try:
                verified(self.newest.read_bytes(), self.newest)
                self._newest_is_whole = True
            except (ValueError, FileNotFoundError):
                self._newest_is_whole = False
        return self._newest_is_whole and self.newest.is_file()


def require_plain(value: Any, where: str) -> None:
    """Raises TypeError, naming the place, for anything but tensors and plain values."""
    if type(value) in (dict, OrderedDict):
        for key, each in value.items():
            require_plain(key, f"the keys of {where}")
            require_plain(each, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, each in enumerate(value):
            require_plain(each, f"{where}[{index}]")
    elif not isinstance(value, Tensor) and type(value) not in _PLAIN:
        raise TypeError(f"A checkpoint holds tensors and plain values alone, got {type(value).__name__} in {where}.")


def packed(state: Mapping[str, Any]) -> tuple[bytes, memoryview]:
    """The header and the content."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    return sealed(content), content


def sealed(content: bytes | memoryview) -> bytes:
    """The header of `content`."""
    beginning = b"%s %d %s %d" % (MAGIC, FORMAT, __version__.encode(), len(content))
    return b"%s %s\n" % (beginning, digest(beginning, content))


def unpacked(data: bytes, path: Path) -> dict[str, Any]:
    """The state in `data`; nothing but tensors and plain values is ever loaded.

    Raises ValueError for what is damaged, of another format or from elsewhere, naming `path`.
    """
    content = verified(data, path)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can raise errors of any kind
        raise ValueError(
            f"{path} is whole, but holds something else than tensors and plain values: it is not loaded."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"Expected a dictionary in {path}, got {type(state).__name__}.")
    return state


def verified(data: bytes, path: Path) -> memoryview:
    """The content, whose hash is as the header says."""
    match = _HEADER.match(data[:_LONGEST])
    if match is None:
        raise ValueError(_foreign(data, path))
    content = memoryview(data)[match.end() :]
    if len(content) != int(match[4]):
        raise ValueError(f"{path} is damaged: {len(content)} bytes of {int(match[4])}.")
    if digest(match[1], content) != match[5]:
        raise ValueError(f"{path} is damaged: its hash is not the one written with it.")
    if int(match[2]) != FORMAT:
        version = match[3].decode("ascii", "replace")
        raise ValueError(
            f"{path} was written by Rheobase {version} in format {int(match[2])}; this is {__version__}, which goes on "
            f"from format {FORMAT} alone. Resume with `pip install rheobase=={version}`, or start "
            "a new run from its weights with --weights."
        )
    return content


def _foreign(data: bytes, path: Path) -> str:
    if data.startswith(b"PK\x03\x04"):
        return (
            f"{path} has no header: it was written by Rheobase 0.1.0 before checkpoints had one, or not by Rheobase. "
            "Resume with that version, or start a new run from the weights with --weights."
        )
    fault = "its header is damaged" if data.startswith(MAGIC[:8]) else "it does not begin as a checkpoint does"
    return f"{path} is damaged or not from Rheobase: {fault}."


def digest(beginning: bytes, content: bytes | memoryview) -> bytes:
    found = hashlib.sha256(beginning)
    found.update(content)
    return found.hexdigest().encode()

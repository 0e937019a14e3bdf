"""A file of rows that is written row by row and appears complete or not at all."""

import hashlib
import io
import json
import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

WIDTHS = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.int32))
REAL = np.dtype(np.float32)
CHUNK = 2**24


class RowFile:
    """A .npy file `[count, *shape]` being written beside `path`, and NAME.json, which tells what is in it.

    Whole numbers are kept in the narrowest of uint8, int16 and int32 that holds all rows: the file begins as
    uint8, and where a row does not fit, what is written so far is copied to a wider one. Rows of float32 stay
    float32; then all must be.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, (count, *shape)
        self.rows = 0
        self.dtype = WIDTHS[0]
        self._asides: list[Path] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._begin()

    def append(self, row: np.ndarray[Any, Any]) -> None:
        """Writes one row.

        Raises ValueError for a row too many, of another shape, or that int32 does not hold; TypeError for
        another type than whole numbers or float32, and where the two are mixed.
        """
        if self.rows == self.shape[0] or row.shape != self.shape[1:]:
            raise ValueError(
                f"Expected {self.shape[0]} rows of shape {list(self.shape[1:])}, "
                f"got row {self.rows} of shape {list(row.shape)}."
            )
        dtype = holding(row)
        if self.rows and "f" in (dtype.kind, self.dtype.kind) and dtype != self.dtype:
            raise TypeError(f"Expected rows of one kind, got row {self.rows} of {row.dtype} after {self.dtype}.")
        if dtype.itemsize > self.dtype.itemsize:
            self._widen(dtype)
        self._put(np.ascontiguousarray(row, self.dtype).data.cast("B") if row.size else b"")
        self.rows += 1

    def finish(self, written_key: str) -> str:
        """Puts both files in their places; the SHA-256 of the .npy file. ValueError where rows are missing."""
        if self.rows != self.shape[0]:
            raise ValueError(f"Expected {self.shape[0]} rows, got {self.rows}.")
        size = self._file.tell()
        self._file.close()
        digest = self._digest.hexdigest()
        note = {"key": written_key, "sha256": digest, "shape": list(self.shape), "dtype": self.dtype.str, "bytes": size}
        handle, aside = self._new_aside()
        with handle:
            handle.write(json.dumps(note, indent=1).encode())
        os.replace(self._asides[0], self.path)
        os.replace(aside, self.path.with_suffix(".json"))
        return digest

    def discard(self) -> None:
        """Removes what is not in its place."""
        with suppress(OSError):  # what is still to be written may not fit
            self._file.close()
        for aside in self._asides:
            aside.unlink(missing_ok=True)

    def _new_aside(self) -> tuple[IO[bytes], Path]:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.stem}-", suffix=".part")
        self._asides.append(Path(name))
        return os.fdopen(handle, "w+b"), Path(name)

    def _begin(self) -> IO[bytes]:
        file, _ = self._new_aside()
        beginning = header(self.dtype, self.shape)
        file.write(beginning)
        self._digest = hashlib.sha256(beginning)
        return file

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        narrow, old = self.dtype, self._file
        self.dtype = dtype
        self._file = self._begin()
        with old:
            old.seek(len(header(narrow, self.shape)))
            left = self.rows * math.prod(self.shape[1:]) * narrow.itemsize
            while left:
                part = np.frombuffer(old.read(min(CHUNK, left)), narrow)
                self._put(part.astype(dtype).data.cast("B"))
                left -= part.nbytes
        self._asides.pop(0).unlink()


def holding(row: np.ndarray[Any, Any]) -> np.dtype[Any]:
    """The type that a row is kept in, were it the only one."""
    if row.dtype == REAL:
        return REAL
    if row.dtype.kind not in "biu":
        raise TypeError(f"Expected rows of whole numbers or float32, got {row.dtype}.")
    low, high = (int(row.min()), int(row.max())) if row.size else (0, 0)
    for dtype in WIDTHS:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    raise ValueError(f"Expected numbers that 32 bits hold, got {low} .. {high}.")


def header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What a .npy file of that type and shape begins with."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def told(path: Path, expected_key: str, shape: tuple[int, ...]) -> str:
    """The SHA-256 written with the rows at `path`; ValueError where the files are not what was written.

    Looks at the size and the header of the .npy file, not at the rows.
    """
    note = noted(path.with_suffix(".json"))
    if not isinstance(note, dict) or set(note) != {"key", "sha256", "shape", "dtype", "bytes"}:
        raise ValueError(f"{path.with_suffix('.json').name} does not tell what is in it")
    if note["key"] != expected_key or note["shape"] != list(shape):
        raise ValueError("it was made with other settings")
    if note["dtype"] not in [dtype.str for dtype in (*WIDTHS, REAL)]:
        raise ValueError(f"{note['dtype']!r} is no type that rows are kept in")
    if not path.is_file() or path.stat().st_size != note["bytes"]:
        raise ValueError(f"expected {note['bytes']} bytes, got {path.stat().st_size if path.is_file() else 'no file'}")
    expected = header(np.dtype(note["dtype"]), shape)
    if len(expected) + math.prod(shape) * np.dtype(note["dtype"]).itemsize != note["bytes"]:
        raise ValueError(f"{note['bytes']} bytes are not those of shape {list(shape)}")
    with path.open("rb") as file:
        if file.read(len(expected)) != expected:
            raise ValueError("its header is not the one written with it")
    return str(note["sha256"])


def noted(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error

"""Downloading one file: resumed where it stopped, checked before it gets its name."""

import os
import ssl
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rheobase.datasets.integrity import BLOCK, inspect_file
from rheobase.datasets.source import File
from rheobase.version import __version__

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes so far, and all of its bytes where that is known."""

TRIES = 5
SECONDS_BETWEEN_TRIES = 2.0
TIMEOUT = 60.0
_NETWORK = (URLError, ConnectionError, TimeoutError, HTTPException, ssl.SSLError)
_PASSING = (408, 416, 425, 429, 500, 502, 503, 504)


class FetchError(RuntimeError):
    """A download that did not succeed."""


def download(file: File, folder: Path, progress: Progress) -> Path:
    """The path of `file` in `folder`, fetched unless the published one is there already.

    What has come so far is kept under the name with .part added, and gone on with, by this call or a later one;
    where the server cannot, it starts anew. It is renamed once size and checksum are the published ones.

    Raises FetchError; the .part file stays, unless it is not what was published.
    """
    target, part = folder / file.path, folder / f"{file.path}.part"
    if target.is_file() and inspect_file(file, target).fault is None:
        return target
    part.parent.mkdir(parents=True, exist_ok=True)
    receive_all(file, part, progress)
    fault = inspect_file(file, part).fault
    if fault is not None:
        part.unlink()
        raise FetchError(f"{file.url} is not the published file ({fault}); it was deleted. Run it again, or by hand.")
    os.replace(part, target)
    return target


def receive_all(file: File, part: Path, progress: Progress) -> None:
    """Makes `part` complete; gives up after several tries in a row that brought nothing."""
    fruitless = 0
    while True:
        before = size_of(part)
        try:
            receive(file, part, progress)
            return
        except HTTPError as error:
            fault: Exception = error
            if error.code not in _PASSING:
                raise FetchError(f"{file.url}: the server answers {error.code} {error.reason}.") from error
        except _NETWORK as error:
            fault = error
        except OSError as error:
            raise FetchError(f"Cannot write {part} ({error}).") from error
        fruitless = 0 if size_of(part) > before else fruitless + 1
        if fruitless == TRIES:
            raise FetchError(
                f"{file.url}: stopped at {size_of(part)} bytes ({fault}). Run it again to go on."
            ) from fault
        time.sleep(SECONDS_BETWEEN_TRIES * fruitless)


def receive(file: File, part: Path, progress: Progress) -> None:
    """Appends to `part` what it lacks; ConnectionError where the transfer ends before its end."""
    start = size_of(part)
    if start and start == file.size:
        return
    try:
        response = opened(file, start)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return
            part.unlink()
        raise
    with response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
        length = response.headers.get("Content-Length")
        store(response, part, start, None if length is None else start + int(length), file, progress)


def opened(file: File, start: int) -> HTTPResponse:
    """The server's answer to a request for the file from byte `start` on."""
    headers = {"User-Agent": f"rheobase/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    response: HTTPResponse = urlopen(Request(file.url or "", headers=headers), timeout=TIMEOUT)
    return response


def store(response: HTTPResponse, part: Path, start: int, total: int | None, file: File, progress: Progress) -> None:
    """Writes the answer to `part` from byte `start` on."""
    so_far, end = start, file.size if total is None else total
    with part.open("ab" if start else "wb") as out:
        while block := response.read(BLOCK):
            out.write(block)
            so_far += len(block)
            progress(file.path, so_far, end)
    if end is not None and so_far < end:
        raise ConnectionError(f"the connection ended after {so_far} of {end} bytes")


def size_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0

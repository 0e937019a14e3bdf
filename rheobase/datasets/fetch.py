"""Getting a published data set: download, check, unpack."""

import json
import os
from pathlib import Path

from rheobase.datasets.download import FetchError, Progress, download
from rheobase.datasets.integrity import inspected, is_sound
from rheobase.datasets.published import destination, folders, how_to_get, published
from rheobase.datasets.source import Source
from rheobase.datasets.unpacking import is_archive, unpack

FETCHED = ".fetched.json"


def fetch(name: str, to: str | Path | None = None, progress: Progress = lambda *_: None) -> Path:
    """The folder with the files of the set called `name`, fetched unless they are there.

    An archive is unpacked once its size and checksum are the published ones, then deleted. What was stopped is
    gone on with by the next call.

    to: the folder to fill; else $RHEOBASE_DATA/name, ~/.cache/rheobase/name.

    Raises FetchError for a set that cannot be had without a browser or a login, saying where it is, and for a
    download that fails; ValueError for a damaged archive.
    """
    source, folder = published(name), destination(name, to)
    if not source.downloadable:
        raise FetchError(f"{name!r} cannot be fetched by a program ({source.licence}). {how_to_get(name)}.")
    places = folders(name, folder)
    is_marked = fetched(folder).keys() >= {archive.path for archive in source.archives}
    if folder.is_dir() and (is_marked or not fetched(folder)):
        if is_sound(source, places):
            return folder
        mark(folder, {})
    folder.mkdir(parents=True, exist_ok=True)
    get_archives(source, folder, progress)
    faults = [f"{finding.what}: {finding.fault}" for finding in inspected(source, places) if finding.fault]
    if faults:
        raise FetchError(f"{name!r} is fetched, but in {folder} is wrong: {'; '.join(faults)}.")
    return folder


def get_archives(source: Source, folder: Path, progress: Progress) -> None:
    """Downloads and unpacks the archives that are not marked as done."""
    for archive in source.archives:
        done = fetched(folder)
        if archive.path in done:
            continue
        path = download(archive, folder, progress)
        try:
            if is_archive(path.name):
                unpack(path, folder)
        except OSError as error:
            raise FetchError(f"Cannot unpack {path} ({error}).") from error
        mark(folder, {**done, archive.path: archive.checksum})
        if is_archive(path.name):
            path.unlink()


def fetched(folder: Path) -> dict[str, str | None]:
    """The archives that were unpacked in `folder`, with their checksums."""
    try:
        found = json.loads((folder / FETCHED).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def mark(folder: Path, done: dict[str, str | None]) -> None:
    """Writes down which archives are unpacked; the file appears complete or not at all."""
    aside = folder / f"{FETCHED}.part"
    aside.write_text(json.dumps(done, indent=1))
    os.replace(aside, folder / FETCHED)

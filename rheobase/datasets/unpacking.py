"""Unpacking archives from elsewhere: nothing outside the folder is written, no file is ever half there."""

import errno
import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


def unpack(archive: Path, folder: Path) -> None:
    """Puts what is in a .tar, .tar.gz, .tgz, .zip or .gz file into `folder`, over what is there.

    All of it is unpacked aside first, then moved file by file.

    Raises ValueError for a damaged archive and, before anything is moved, for one that holds links, devices or
    names that lead out of the folder.
    """
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        unpacker_of(archive)(archive, aside)
        for file in sorted(path for path in aside.rglob("*") if path.is_file()):
            target = folder / file.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    except _DAMAGE as error:
        raise ValueError(f"{archive}: the archive is damaged ({error}). Fetch it again.") from error
    finally:
        shutil.rmtree(aside)


def unpacker_of(archive: Path) -> Callable[[Path, Path], None]:
    """The function for an archive of this name."""
    for ending, unpacker in _UNPACKERS.items():
        if archive.name.endswith(ending):
            return unpacker
    raise ValueError(f"{archive}: expected a name that ends in {', '.join(_UNPACKERS)}.")


def is_archive(name: str) -> bool:
    """A file of this name can be unpacked."""
    return name.endswith(tuple(_UNPACKERS))


def unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            target = inside(archive, folder, member.name)
            if member.isdir():
                continue
            content = opened.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(refusal(archive, member.name, "is no plain file"))
            with content:
                copy(content, target, member.size)


def unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            target = inside(archive, folder, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(refusal(archive, member.filename, "is no plain file"))
            if not member.is_dir():
                with opened.open(member) as content:
                    copy(content, target, member.file_size)


def unpack_gzip(archive: Path, folder: Path) -> None:
    with gzip.open(archive) as content:
        copy(content, folder / archive.name.removesuffix(".gz"))


_UNPACKERS: dict[str, Callable[[Path, Path], None]] = {
    ".tar": unpack_tar,
    ".tar.gz": unpack_tar,
    ".tgz": unpack_tar,
    ".zip": unpack_zip,
    ".gz": unpack_gzip,
}


def inside(archive: Path, folder: Path, name: str) -> Path:
    """The path of a member below `folder`; ValueError for a name that leads elsewhere, on whatever system."""
    if not name:
        raise ValueError(refusal(archive, name, "is no name"))
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            raise ValueError(refusal(archive, name, "leads out of the folder"))
    return folder / name


def refusal(archive: Path, name: str, fault: str) -> str:
    return f"{archive}: refused, because {name!r} in it {fault}. Nothing was unpacked."


def copy(content: IO[bytes] | gzip.GzipFile, target: Path, size: int = 0) -> None:
    """Writes what is in `content` to `target`; OSError, before anything is written, where `size` bytes have no room."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(target.parent).free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size} bytes unpacked", str(target))
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)

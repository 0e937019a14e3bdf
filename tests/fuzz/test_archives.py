"""Whatever is in an archive, its files are put into the folder or none is; nothing outside changes."""

import gzip
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from io import BytesIO

import pytest
from datasets.test_fetch import CONTENTS, tar_of, zip_of
from fuzz.cases import damaged, tries
from hypothesis import given
from hypothesis import strategies as st

from rheobase.datasets.unpacking import unpack

WHOLE = {
    "x.tar": tar_of(CONTENTS, "w"), "x.tar.gz": tar_of(CONTENTS), "x.tgz": tar_of(CONTENTS), "x.zip": zip_of(CONTENTS),
    "x.gz": gzip.compress(b"one", mtime=0),
}  # fmt: skip
PARTS = st.sampled_from(
    ["..", "/", "\\", "C:", "a", "b", ".", "~", " ", "é", "\n", "\0", "x" * 300, "//", "...", "-rf"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("".join)
TYPES = st.sampled_from([tarfile.REGTYPE] * 4 + [
    tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE,
    tarfile.GNUTYPE_SPARSE, b"?",
])  # fmt: skip
KINDS = st.sampled_from([0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, 0xF000])


@st.composite
def tars(draw):
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for _ in range(draw(st.integers(1, 5))):
            member, content = tarfile.TarInfo(draw(NAMES)), draw(st.binary(max_size=20))
            member.type, member.linkname, member.size = draw(TYPES), draw(NAMES), len(content)
            member.mode = draw(st.sampled_from([0o644, 0o4777, 0]))
            archive.addfile(member, BytesIO(content))
    return file.getvalue()


@st.composite
def zips(draw):
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.split("\0")[0])):
            member = zipfile.ZipInfo("a")
            member.filename, member.external_attr = name, draw(KINDS) << 16
            archive.writestr(member, draw(st.binary(max_size=20)))
    return file.getvalue()


def outside(top):
    return sorted(path.relative_to(top) for path in top.rglob("*") if "folder" not in path.relative_to(top).parts)


@tries(500)
@given(st.data())
def test_an_archive_is_unpacked_into_the_folder_alone_or_not_at_all(tmp_path_factory, data):
    top = tmp_path_factory.mktemp("top")
    folder, name = top / "folder" / "deep", data.draw(st.sampled_from(sorted(WHOLE)))
    folder.mkdir(parents=True)
    crafted = {"x.zip": zips(), "x.gz": st.binary(max_size=40)}.get(name, tars())
    (top / name).write_bytes(data.draw(damaged(WHOLE[name]) | crafted))
    before = outside(top)
    try:
        unpack(top / name, folder)
    except (ValueError, OSError):  # what `fetch` shows in one line
        assert not any(folder.iterdir())
    assert outside(top) == before
    assert sorted(path.name for path in (top / "folder").iterdir()) == ["deep"]
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or (path.is_file() and not path.stat().st_mode & 0o7111)
    shutil.rmtree(top)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip"])
def test_an_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path, monkeypatch, name):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(1000))
    bomb = {"a": b"\0" * 10**6}
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bomb["a"])
    (tmp_path / name).write_bytes(tar_of(bomb) if name == "x.tar.gz" else file.getvalue())
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="No space left on device: 1000000 bytes unpacked"):
        unpack(tmp_path / name, tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())

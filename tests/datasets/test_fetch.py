"""Downloads: resumed, verified, unpacked; never half a file under its name, never one outside the folder."""

import gzip
import hashlib
import io
import json
import stat
import tarfile
import zipfile

import pytest
from datasets.web import serving

from rheobase.datasets import download as downloading
from rheobase.datasets.download import FetchError, download
from rheobase.datasets.fetch import fetch
from rheobase.datasets.published import PUBLISHED
from rheobase.datasets.source import File, Source
from rheobase.datasets.unpacking import unpack

BODY = bytes(range(256)) * 40
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


def quiet(*_):
    pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloading, "SECONDS_BETWEEN_TRIES", 0.0)
    with serving() as running:
        running.files["/x"] = BODY
        yield running


def described(server, **changed):
    return File(**{"path": "x", "size": len(BODY), "checksum": MD5, "url": f"{server.address}/x", **changed})


def test_a_file_comes_whole_with_its_progress(server, tmp_path):
    seen = []
    path = download(described(server), tmp_path, lambda *step: seen.append(step))
    assert path.read_bytes() == BODY
    assert seen[-1] == ("x", len(BODY), len(BODY))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "x").write_bytes(BODY)
    download(described(server), tmp_path, quiet)
    assert not server.requests


def test_a_wrong_file_under_the_name_is_replaced(server, tmp_path):
    (tmp_path / "x").write_bytes(BODY[:-1] + b"!")
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, tmp_path, size):
    server.plan = ["cut 1000", "cut 3000"]
    assert download(described(server, size=size), tmp_path, quiet).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-", "bytes=4000-"]


def test_what_a_stopped_call_left_is_gone_on_with_by_the_next(server, tmp_path):
    server.plan = ["cut 100", "cut 200", *["cut 0"] * downloading.TRIES]
    with pytest.raises(FetchError, match=r"stopped at 300 bytes .*ended after 300 of 10240 bytes\)\. Run it again"):
        download(described(server), tmp_path, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["x.part"]
    server.requests.clear()
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY
    assert server.requests == [("/x", "bytes=300-")]


def test_a_server_that_always_breaks_off_and_knows_no_ranges_is_given_up(server, tmp_path):
    server.plan = ["whole 100"] * 50
    with pytest.raises(FetchError, match="stopped at 100 bytes"):
        download(described(server), tmp_path, quiet)
    assert len(server.requests) == 1 + downloading.TRIES


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_server_that_knows_no_ranges_sends_it_from_the_beginning(server, tmp_path, size):
    server.plan = ["cut 1000", "whole"]
    assert download(described(server, size=size), tmp_path, quiet).read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_part_that_is_complete_needs_no_more(server, tmp_path):
    (tmp_path / "x.part").write_bytes(BODY)
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY
    assert not server.requests
    (tmp_path / "x").rename(tmp_path / "x.part")
    assert download(described(server, size=None), tmp_path, quiet).read_bytes() == BODY
    assert len(server.requests) == 1


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_part_that_is_longer_than_the_file_is_begun_anew(server, tmp_path, size):
    (tmp_path / "x.part").write_bytes(BODY + b"more")
    assert download(described(server, size=size), tmp_path, quiet).read_bytes() == BODY


def test_where_the_server_does_not_say_how_much_comes_the_published_size_does(server, tmp_path):
    server.plan = ["silent 1000"]
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-"]


def test_a_transfer_of_unknown_length_that_breaks_off_is_not_taken_for_the_file(server, tmp_path):
    server.plan = ["silent"]
    assert download(described(server, size=None), tmp_path, quiet).read_bytes() == BODY
    (tmp_path / "x").unlink()
    server.files["/x"], server.plan = BODY[:-1], ["silent"]
    with pytest.raises(FetchError, match="not the published file"):
        download(described(server, size=None), tmp_path, quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("body", "fault"),
    [(BODY[:-1] + b"!", "expected MD5"), (BODY + b"!", "10241 bytes, expected 10240"), (b"<html>", "6 bytes")],
)
def test_what_is_not_the_published_file_never_gets_its_name(server, tmp_path, body, fault):
    server.files["/x"] = body
    with pytest.raises(FetchError, match=fault):
        download(described(server), tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_a_part_of_another_file_is_found_out_by_the_checksum(server, tmp_path):
    (tmp_path / "x.part").write_bytes(b"\1" * 1000)
    with pytest.raises(FetchError, match="expected MD5"):
        download(described(server), tmp_path, quiet)
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY


def test_a_busy_server_is_asked_again_and_a_refusing_one_is_not(server, tmp_path):
    server.plan = ["503", "429"]
    assert download(described(server), tmp_path, quiet).read_bytes() == BODY
    server.requests.clear()
    server.plan = ["404"]
    with pytest.raises(FetchError, match="answers 404"):
        download(described(server, path="y"), tmp_path, quiet)
    assert len(server.requests) == 1


def test_no_server_is_an_error_with_its_address(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(downloading, "SECONDS_BETWEEN_TRIES", 0.0)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9/x: stopped at 0 bytes"):
        download(File("x", url="http://127.0.0.1:9/x"), tmp_path, quiet)


def test_a_folder_that_cannot_be_written_is_said_at_once(server, tmp_path):
    (tmp_path / "x.part").mkdir()
    with pytest.raises(FetchError, match="Cannot write"):
        download(described(server), tmp_path, quiet)
    assert len(server.requests) <= 1


def tar_of(members, mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def zip_of(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def link(kind, target):
    info = tarfile.TarInfo("inner/link")
    info.type, info.linkname = kind, target
    return info


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CONTENTS = {"inner/a": b"one", "inner/deep/b": b"two"}


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.tar.gz", tar_of(CONTENTS), CONTENTS),
        ("x.tgz", tar_of(CONTENTS), CONTENTS),
        ("x.tar", tar_of(CONTENTS, "w"), CONTENTS),
        ("x.zip", zip_of(CONTENTS), CONTENTS),
        ("x.gz", gzip.compress(b"one", mtime=0), {"x": b"one"}),
    ],
)
def test_an_archive_gives_its_files_over_those_there(tmp_path, name, data, expected):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a").write_bytes(b"old")
    (tmp_path / name).write_bytes(data)
    unpack(tmp_path / name, folder)
    assert files_in(folder).items() >= expected.items()
    assert not list(folder.glob(".unpack*"))


DEVICE = tarfile.TarInfo("inner/device")
DEVICE.type = tarfile.CHRTYPE
SYMBOLIC = zipfile.ZipInfo("link")
SYMBOLIC.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("x.tar.gz", tar_of({"a": b"1", "../out": b"2"}), "'../out' in it leads out"),
        ("x.tar.gz", tar_of({"a": b"1", "b/../../out": b"2"}), "leads out"),
        ("x.tar.gz", tar_of({"a": b"1", "/out": b"2"}), "'/out' in it leads out"),
        ("x.tar.gz", tar_of({"a": b"1", "C:\\out": b"2"}), "leads out"),
        ("x.tar.gz", tar_of({"a": b"1", "..\\out": b"2"}), "leads out"),
        ("x.tar.gz", tar_of({"a": b"1", "l": link(tarfile.SYMTYPE, "../..")}), "'inner/link' in it is no plain file"),
        ("x.tar.gz", tar_of({"a": b"1", "l": link(tarfile.LNKTYPE, "/etc/passwd")}), "is no plain file"),
        ("x.tar.gz", tar_of({"a": b"1", "l": link(tarfile.SYMTYPE, "a"), "inner/link/b": b""}), "is no plain file"),
        ("x.tar.gz", tar_of({"a": b"1", "d": DEVICE}), "is no plain file"),
        ("x.zip", zip_of({"a": b"1", "../out": b"2"}), "leads out"),
        ("x.zip", zip_of({"a": b"1", "/out": b"2"}), "leads out"),
        ("x.zip", zip_of({"a": b"1", SYMBOLIC: b"/etc"}), "'link' in it is no plain file"),
    ],
)
def test_an_archive_that_leads_out_of_the_folder_is_refused_whole(tmp_path, name, data, fault):
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=fault):
        unpack(tmp_path / name, folder)
    assert set(files_in(tmp_path)) == {name}
    assert not list(folder.iterdir())


NOISY = {"a": bytes((i * 7919) % 251 for i in range(5000))}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar.gz", tar_of(NOISY)[:-60]),
        ("x.tar.gz", b"no archive at all"),
        ("x.tar", tar_of(NOISY, "w")[:2000]),
        ("x.zip", zip_of(NOISY)[:-10]),
        ("x.zip", zip_of(NOISY).replace(NOISY["a"][:50], b"\0" * 50)),
        ("x.gz", gzip.compress(NOISY["a"], mtime=0)[:-9]),
        ("x.gz", b"no gzip"),
    ],
)
def test_a_damaged_archive_is_named_and_gives_nothing(tmp_path, name, data):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name}: the archive is damaged"):
        unpack(tmp_path / name, folder)
    assert not list(folder.iterdir())


def test_an_archive_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ends in \.tar"):
        unpack(tmp_path / "x.rar", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.rar"]


ARCHIVES = {"one.zip": zip_of({"inner/a": b"one"}), "two.tar.gz": tar_of({"inner/b": b"two"}), "three": b"three"}


@pytest.fixture
def toy(server, monkeypatch):
    """A set of two archives and a plain file, on the server."""
    server.files |= {f"/{name}": data for name, data in ARCHIVES.items()}
    archives = tuple(
        File(name, len(data), f"md5:{hashlib.md5(data).hexdigest()}", f"{server.address}/{name}")
        for name, data in ARCHIVES.items()
    )
    files = File("a", 3), File("b", 3), File("three", 5)
    source = Source("toy", "none", "ask", files=files, archives=archives, inner=("inner",))
    monkeypatch.setitem(PUBLISHED, "toy", source)
    return server


def test_a_set_is_fetched_unpacked_and_its_archives_deleted(toy, tmp_path):
    folder = fetch("toy", tmp_path / "new" / "toy")
    assert folder == tmp_path / "new" / "toy"
    found = files_in(folder)
    assert json.loads(found.pop(".fetched.json")).keys() == ARCHIVES.keys()
    assert found == {"inner/a": b"one", "inner/b": b"two", "three": b"three"}


def test_a_set_that_is_there_is_not_asked_for(toy, tmp_path):
    fetch("toy", tmp_path)
    toy.requests.clear()
    fetch("toy", tmp_path)
    (tmp_path / ".fetched.json").unlink()
    fetch("toy", tmp_path)
    assert not toy.requests


def test_what_was_fetched_of_a_set_before_a_failure_is_kept(toy, tmp_path):
    toy.plan = ["cut", "404"]
    with pytest.raises(FetchError, match="404"):
        fetch("toy", tmp_path)
    assert (tmp_path / "inner" / "a").read_bytes() == b"one"
    toy.requests.clear()
    fetch("toy", tmp_path)
    assert [path for path, _ in toy.requests] == ["/two.tar.gz", "/three"]


def test_a_set_with_a_file_that_went_bad_is_fetched_again(toy, tmp_path):
    fetch("toy", tmp_path)
    (tmp_path / "inner" / "a").write_bytes(b"broken")
    fetch("toy", tmp_path)
    assert (tmp_path / "inner" / "a").read_bytes() == b"one"


def test_a_set_whose_archives_lack_a_file_is_not_called_complete(toy, tmp_path, monkeypatch):
    source = PUBLISHED["toy"]
    lacking = Source("toy", "none", "ask", (*source.files, File("c")), archives=source.archives, inner=source.inner)
    monkeypatch.setitem(PUBLISHED, "toy", lacking)
    with pytest.raises(FetchError, match="c: missing"):
        fetch("toy", tmp_path)


@pytest.mark.parametrize(
    ("name", "where"), [("imagenet", r"image-net\.org"), ("dvs128-gesture", "ibm"), ("mvsec", "daniilidis")]
)
def test_a_set_behind_a_licence_says_where_it_is_and_fetches_nothing(tmp_path, name, where):
    with pytest.raises(FetchError, match=f"cannot be fetched by a program.*{where}"):
        fetch(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()

"""What is known of the published sets: complete, well formed, and found where it should be."""

import gzip
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rheobase.datasets.integrity import inspected, is_sound, whereabouts
from rheobase.datasets.published import PUBLISHED, destination, find, folders, missing, published
from rheobase.datasets.source import File, Source, Tree

NAMES = [
    "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet", "cifar10-dvs", "dvs128-gesture", "n-mnist",
    "n-caltech101", "shd", "ssc", "mvsec",
]  # fmt: skip
DIGITS = {"md5": 32, "sha256": 64}


def md5(data):
    return f"md5:{hashlib.md5(data).hexdigest()}"


def test_every_set_of_the_papers_is_there():
    assert list(PUBLISHED) == NAMES


@pytest.mark.parametrize("source", PUBLISHED.values(), ids=list(PUBLISHED))
def test_paths_stay_inside_and_checksums_and_addresses_are_well_formed(source):
    known = [*source.files, *source.instead, *source.archives]
    assert len({file.path for file in known}) == len(known)
    for file in known:
        assert not Path(file.path).is_absolute()
        assert ".." not in Path(file.path).parts
        assert file.size is None or file.size > 0
        if file.checksum is not None:
            kind, digits = file.checksum.split(":")
            assert re.fullmatch(f"[0-9a-f]{{{DIGITS[kind]}}}", digits)
        assert file.url is None or re.match("https?://", file.url)
    assert source.files or source.trees
    assert source.licence


def test_what_is_downloaded_has_a_checksum():
    for source in PUBLISHED.values():
        if source.downloadable:
            assert all(archive.checksum for archive in source.archives), source.name


def test_no_checksum_stands_twice():
    checksums = [
        file.checksum for source in PUBLISHED.values() for file in (*source.files, *source.archives) if file.checksum
    ]
    assert len(set(checksums)) == len(checksums)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_file_is_asked_for_with_where_it_was_looked_for_and_how_to_get_it(name, tmp_path):
    message = str(missing(name, "the file", folders(name, tmp_path)))
    assert str(tmp_path) in message
    assert f"$RHEOBASE_DATA/{name}" in message
    assert ("`rheobase data fetch" in message) == published(name).downloadable
    assert re.search(r"[a-z]\.(org|com|io|edu|net)\b|npm", message)


def test_the_environment_comes_first_and_a_folder_that_is_named_is_the_only_one(monkeypatch, tmp_path):
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    usual = folders("fashion-mnist", None)
    assert usual[:2] == [Path("/usr/share/datasets/fashion-mnist"), Path("data/fashion-mnist")]
    monkeypatch.setenv("RHEOBASE_DATA", str(tmp_path))
    assert folders("fashion-mnist", None) == [tmp_path / "fashion-mnist", *usual]
    assert folders("fashion-mnist", "x") == [Path("x")]
    assert folders("cifar10", "x")[:2] == [Path("x"), Path("x/cifar-10-batches-py")]


def test_what_is_fetched_goes_where_it_will_be_found(monkeypatch, tmp_path):
    for home in (None, tmp_path):
        if home:
            monkeypatch.setenv("RHEOBASE_DATA", str(home))
        else:
            monkeypatch.delenv("RHEOBASE_DATA", raising=False)
        for name in PUBLISHED:
            assert destination(name) in folders(name, None)
    assert destination("shd", "y") == Path("y")


def test_an_unknown_set_is_answered_with_the_near_ones():
    with pytest.raises(ValueError, match=r"Unknown published data set 'cifar-10'\. Did you mean 'cifar10'"):
        folders("cifar-10", None)


def test_a_compressed_file_is_found_in_the_first_place_that_has_it(tmp_path):
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    (places[1] / "x").write_text("plain")
    assert find("mnist", "x", places) == places[1] / "x"
    (places[0] / "x.gz").write_bytes(b"")
    assert find("mnist", "x", places) == places[0] / "x.gz"


CONTENT = b"content of the file"


@pytest.fixture
def source():
    return Source(
        "toy", licence="none", advice="ask", files=(File("a", len(CONTENT), md5(CONTENT)), File("b")),
        instead=(File("a.bin", 3),), trees=(Tree("*/*.jpg", 2),),
    )  # fmt: skip


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(b"anything")
    (tmp_path / "class").mkdir()
    for number in range(2):
        (tmp_path / "class" / f"{number}.jpg").write_bytes(b"")
    return tmp_path


def faults(source, place):
    return [finding.fault for finding in inspected(source, [place])]


def test_a_set_as_published_has_no_fault_also_compressed(source, place):
    assert is_sound(source, [place])
    (place / "a").unlink()
    (place / "a.gz").write_bytes(gzip.compress(CONTENT))
    assert is_sound(source, [place])
    notes = [finding.note for finding in inspected(source, [place])]
    assert notes == [
        f"{len(CONTENT)} bytes, MD5 {md5(CONTENT)[4:]}", "8 bytes; no checksum is published",
        "2 files; no checksums are published",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda place: (place / "a").unlink(), "missing"),
        (lambda place: (place / "a").write_bytes(CONTENT[:-1]), "18 bytes, expected 19"),
        (lambda place: (place / "a").write_bytes(CONTENT[:-1] + b"!"), f"expected MD5 {md5(CONTENT)[4:]}"),
        (lambda place: (place / "class" / "1.jpg").unlink(), "1 files, expected 2"),
        (lambda place: [path.unlink() for path in (place / "class").iterdir()], "missing"),
    ],
)
def test_every_fault_is_found(source, place, damage, fault):
    damage(place)
    (found,) = [found for found in faults(source, place) if found]
    assert fault in found
    assert not is_sound(source, [place])


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda _: b"no gzip", lambda data: data[:20] + b"\xff" * 9 + data[29:]]
)
def test_a_damaged_compressed_file_is_a_fault(source, place, damage):
    (place / "a").unlink()
    (place / "a.gz").write_bytes(damage(gzip.compress(CONTENT * 9)))
    assert any("unreadable" in (fault or "") for fault in faults(source, place))


def test_the_other_version_of_the_files_does_as_well(source, place):
    for name in ("a", "b"):
        (place / name).unlink()
    assert faults(source, place)[:2] == ["missing", "missing"]
    (place / "a.bin").write_bytes(b"123")
    assert faults(source, place) == [None, None]
    assert whereabouts(source, [place]) == place
    (place / "a.bin").write_bytes(b"damaged")
    assert faults(source, place) == ["7 bytes, expected 3", None]
    for name in ("a", "b"):
        (place / name).write_bytes(CONTENT)
    assert faults(source, place) == [None, None, None]


def test_a_set_is_found_where_all_of_its_files_are(source, place, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert whereabouts(source, [other, place]) == place
    (other / "a").write_bytes(CONTENT)
    assert whereabouts(source, [other, place]) == place
    (place / "b").unlink()
    assert whereabouts(source, [other, place]) is None
    assert whereabouts(replace(source, files=source.files[:1]), [place]) == place

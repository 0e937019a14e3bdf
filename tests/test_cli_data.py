"""`rheobase data`: what it prints and the codes it exits with."""

import hashlib

import pytest
from datasets.web import serving
from datasets.writers import write_cifar10

from rheobase.cli import main
from rheobase.datasets.published import PUBLISHED
from rheobase.datasets.source import File, Source


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine without data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RHEOBASE_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


def lines_of(capsys):
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}


def test_the_list_has_every_set_with_size_licence_and_folder(home, capsys):
    write_cifar10(home / "sets" / "cifar10" / "cifar-10-batches-py")
    assert main(["data", "list"]) == 0
    lines = lines_of(capsys)
    assert lines.keys() >= PUBLISHED.keys()
    assert "162.6 MiB" in lines["cifar10"]
    assert str(home / "sets" / "cifar10" / "cifar-10-batches-py") in lines["cifar10"]
    assert "after registration" in lines["imagenet"]
    for name in ("imagenet", "cifar100", "shd"):
        assert lines[name].endswith("not found")


def test_a_check_names_every_wrong_file_and_exits_with_1(home, capsys):
    folder = home / "mine"
    write_cifar10(folder)
    (folder / "data_batch_3").unlink()
    assert main(["data", "check", "cifar10", "--root", str(folder)]) == 1
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["wrong"] * 6
    assert "data_batch_3  missing" in said.out
    assert "expected 31035704" in said.out
    assert f"6 files are missing or wrong in {folder}" in said.err
    assert "rheobase data fetch cifar10" in said.err


def test_a_check_of_a_sound_set_exits_with_0(home, capsys, monkeypatch):
    data = b"all of it"
    file = File("x", len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
    monkeypatch.setitem(PUBLISHED, "toy", Source("toy", "none", "ask", (file,)))
    (home / "sets" / "toy").mkdir(parents=True)
    (home / "sets" / "toy" / "x").write_bytes(data)
    assert main(["data", "check", "toy"]) == 0
    assert f"9 bytes, SHA-256 {file.checksum[7:]}" in capsys.readouterr().out
    (home / "sets" / "toy" / "x").write_bytes(b"ALL of it")
    assert main(["data", "check", "toy"]) == 1


def test_a_set_is_fetched_to_where_it_is_found(home, capsys, monkeypatch):
    data = b"all of it"
    with serving() as server:
        server.files["/x"] = data
        file = File("x", len(data), f"md5:{hashlib.md5(data).hexdigest()}", f"{server.address}/x")
        monkeypatch.setitem(PUBLISHED, "toy", Source("toy", "none", "ask", (file,), archives=(file,)))
        assert main(["data", "fetch", "toy"]) == 0
        assert str(home / "sets" / "toy") in capsys.readouterr().out
        assert main(["data", "check", "toy"]) == 0
        assert main(["data", "fetch", "toy", "--to", str(home / "there")]) == 0
    assert (home / "there" / "x").read_bytes() == data


def test_a_failed_fetch_is_one_line_and_code_1(home, capsys, monkeypatch):
    with serving() as server:
        server.files["/x"], server.plan = b"", ["404"]
        file = File("x", None, None, f"{server.address}/x")
        monkeypatch.setitem(PUBLISHED, "toy", Source("toy", "none", "ask", (file,), archives=(file,)))
        assert main(["data", "fetch", "toy"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "404" in error
    assert error.count("\n") == 1


def test_a_set_behind_a_licence_is_told_where_to_get_and_code_1(home, capsys):
    assert main(["data", "fetch", "imagenet"]) == 1
    assert "image-net.org" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["check", "fetch"])
def test_an_unknown_set_is_code_2_with_the_near_ones(home, action, capsys):
    assert main(["data", action, "cifar-10"]) == 2
    assert "Did you mean 'cifar10'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["data"], ["data", "chek"], ["data", "list", "--to", "x"], ["data", "fetch"]])
def test_a_command_that_is_not_complete_is_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err

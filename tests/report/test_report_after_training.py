"""A run that ends has its page, which says what its files say."""

import json
import sys

import pytest
from report.reading import headline, tables

from rheobase.cli import main
from rheobase.cli.commands import evaluate, go_on

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'rheobase[digits]'")
SMALL = [
    "--data", "digits(limit=80, evaluation_limit=40)", "--steps", "2", "--model", "mlp(hidden=[8])", "--epochs", "2",
    "--device", "cpu", "--threads", "1",
]  # fmt: skip


@pytest.fixture
def trained(tmp_path, capsys):
    """The folder of a run, and what was said."""
    folder = tmp_path / "run"
    assert main(["train", *SMALL, "--out", str(folder)]) == 0
    return folder, capsys.readouterr()


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_training_ends_with_the_page_of_the_run_and_says_where_it_is(trained):
    folder, said = trained
    assert said.out.splitlines()[-1] == f"Report: {folder / 'report.html'}"
    page = (folder / "report.html").read_text()
    assert headline(page).startswith(f"bptt reaches {100 * result(folder)['test_score']:.2f} % test accuracy")
    rows = next(found for caption, found in tables(page).items() if caption.startswith("Each epoch"))
    assert list(rows) == ["1", "2"]


def test_the_page_needs_no_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["train", *SMALL, "--out", str(tmp_path / "run")]) == 0
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("command", [evaluate, go_on])
def test_a_run_that_is_evaluated_or_gone_on_with_gets_its_page_anew(trained, capsys, command):
    folder, _ = trained
    fresh = (folder / "report.html").read_text()
    (folder / "report.html").write_text("of an older version")
    assert command(folder) == 0
    assert (folder / "report.html").read_text() == fresh
    assert f"Report: {folder / 'report.html'}" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_takes_nothing_from_the_run(trained, capsys):
    folder, _ = trained
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "report.html"}
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    assert evaluate(folder) == 0
    said = capsys.readouterr()
    assert f"test accuracy {100 * result(folder)['test_score']:.2f} %" in said.out
    assert "has no page: Could not write" in said.err
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before

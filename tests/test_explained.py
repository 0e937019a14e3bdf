"""Errors that name a page, and the pages."""

import ast
import re
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn

import rheobase as rb
from rheobase.cli import main
from rheobase.cli.completing import flags_of
from rheobase.cli.dispatch import COMMANDS
from rheobase.explained import TOPICS, explained, explanation

PACKAGE = Path(rb.__file__).parent
LEAST = 10  # places that name a page


def named_topics() -> list[str]:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "explained":
                _, topic = node.args
                assert isinstance(topic, ast.Constant), path
                found.append(topic.value)
    return found


def test_the_topics_are_those_that_errors_name_and_each_has_a_page() -> None:
    assert set(named_topics()) == set(TOPICS) == {path.stem for path in (PACKAGE / "explanations").iterdir()}
    assert len(named_topics()) > LEAST
    assert list(TOPICS) == sorted(TOPICS)


def test_the_link_is_the_last_line_of_the_traceback_and_no_part_of_the_sentence() -> None:
    model = nn.Sequential(nn.Linear(4, 5), rb.SequenceBatchNorm1d(5), rb.LIF(), nn.Linear(5, 3))
    with pytest.raises(ValueError, match="normalises over") as found:
        rb.SLTT().backward(model, torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=rb.losses.cross_entropy)
    assert traceback.format_exception(found.value)[-1] == "Explained by: rheobase explain sequence-norms\n"
    assert "rheobase explain" not in str(found.value)


def test_on_the_command_line_the_link_ends_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.txt").touch()
    assert main(["train", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.endswith("Explained by: rheobase explain resume\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("link", [True, False])
def test_an_explained_error_is_one_line_whatever_its_type(
    link: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError("The weather changed.")

    def fails(arguments: object) -> int:
        raise explained(error, "numbers") if link else error

    monkeypatch.setattr("rheobase.cli.dispatch.dispatch", fails)
    if link:
        assert main(["train"]) == 2
        assert capsys.readouterr().err.startswith("error: The weather changed. Explained by")
        with pytest.raises(RuntimeError, match="weather"):
            main(["train", "--traceback"])
    else:
        with pytest.raises(RuntimeError, match="weather"):  # a fault of ours, which the traceback helps to find
            main(["train"])


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_printed_with_nothing_cut_off(
    topic: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", topic]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert shown.startswith(explanation(topic).partition("\n")[0].strip("# ").replace("`", ""))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_names_only_commands_flags_and_names_that_exist(topic: str) -> None:
    page = explanation(topic)
    assert "](" not in page  # a link would lead nowhere in a terminal
    for command in re.findall(r"`rheobase (\w+)", page):
        assert command in COMMANDS
    flags = {flag for command in ("train", "plan", "export") for flag in flags_of(command)} | {"--from"}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", page)) <= flags
    for name in re.findall(r"\brb\.(\w+)", page):
        assert name in rb.__all__
    for other in re.findall(r"rheobase explain ([a-z][\w-]*)", page):
        assert other in TOPICS


def test_the_pages_are_listed_with_their_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(TOPICS)
    assert all(len(line.split()) > 2 for line in lines)


def test_an_unknown_topic_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "layuot"]) == 2
    assert "Did you mean 'layout'" in capsys.readouterr().err

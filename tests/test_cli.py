import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime

import pytest

from rheobase.cli import comparing, flags, main
from rheobase.cli.completing import flags_of
from rheobase.cli.dispatch import COMMANDS
from rheobase.rules import RULES
from rheobase.training import Silent, loop
from rheobase.version import __version__

SMALL = [
    "--data", "digits(limit=120, evaluation_limit=60)", "--steps", "3", "--model", "mlp(hidden=[12])",
    "--epochs", "2", "--device", "cpu",
]  # fmt: skip


def test_a_run_is_trained_evaluated_and_resumed_to_the_same_accuracy(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main(["train", *SMALL, "--rule", "truncated-bptt(horizon=1)", "--out", folder]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["experiment"]["rule"] == "truncated-bptt(horizon=1)"
    assert config["experiment"]["data"] == "digits(limit=120, evaluation_limit=60, steps=3)"
    for command in ("evaluate", "resume"):
        capsys.readouterr()
        assert main([command, folder]) == 0
        assert f"test accuracy {100 * result['test_score']:.2f} %" in capsys.readouterr().out


def test_a_comparison_prints_a_table_and_writes_json_and_a_picture(tmp_path, capsys):
    folder = tmp_path / "c"
    assert main(["compare", "bptt", "truncated-bptt(horizon=1)", *SMALL, "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "truncated-bptt(horizon=1)" in out
    assert [row["rule"] for row in json.loads((folder / "results.json").read_text())["rules"]] == [
        "bptt", "truncated-bptt(horizon=1)",
    ]  # fmt: skip
    assert (folder / "compare.png").stat().st_size > 10_000


def test_where_every_rule_refuses_a_comparison_says_why(tmp_path, capsys):
    asked = ["compare", "truncated-bptt(horizon=1)", *SMALL, "--chunk", "4", "--out", str(tmp_path)]
    assert main(asked) == 0
    assert "got chunk=4" in " ".join(capsys.readouterr().out.split())
    assert "got chunk=4" in (tmp_path / "report.html").read_text()


class Terminated(Silent):
    """Sends SIGTERM in the second epoch of the second rule."""

    def __init__(self, console, title, lines):
        self.title = title

    def batch(self, epoch, batch, loss, samples_per_second):
        if epoch == 2 and self.title != "bptt":
            os.kill(os.getpid(), signal.SIGTERM)


def scores(folder):
    rules = json.loads((folder / "results.json").read_text())["rules"]
    return [(row["rule"], run["test_score"], run["agreement_after"]) for row in rules for run in row["runs"]]


def test_a_comparison_that_is_terminated_goes_on_with_resume_to_the_same_results(tmp_path, capsys, monkeypatch):
    asked, stopped, whole = ["compare", "bptt", "sltt", *SMALL], tmp_path / "stopped", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(comparing, "ConsoleProgress", Terminated)
        assert main([*asked, "--out", str(stopped)]) == 128 + signal.SIGTERM
    assert f"go on with `rheobase resume {stopped}`" in " ".join(capsys.readouterr().err.split())
    assert not (stopped / "results.json").exists()
    assert main(["resume", str(stopped)]) == 0
    assert main([*asked, "--out", str(whole)]) == 0
    assert scores(stopped) == scores(whole)
    assert (stopped / "report.html").is_file()


def test_an_overwritten_comparison_takes_up_nothing_of_the_old_one(tmp_path):
    assert main(["compare", "bptt", *SMALL, "--out", str(tmp_path)]) == 0
    assert main(["compare", "bptt", *SMALL, "--learning-rate", "0.02", "--out", str(tmp_path), "--overwrite"]) == 0
    config = json.loads((tmp_path / "bptt-seed0" / "config.json").read_text())
    assert config["experiment"]["learning_rate"] == 0.02


@pytest.mark.parametrize(
    "wrong", [["slt"], ["bptt", "--data", "mnist(root='nowhere')"], ["bptt", "--model", "convnet"],
              ["bptt", "--weights", "nowhere"]],
)  # fmt: skip
def test_a_refused_comparison_leaves_no_folder_and_takes_nothing_from_one(wrong, tmp_path, capsys):
    folder = tmp_path / "c"
    assert main(["compare", *wrong, "--out", str(folder)]) == 2
    assert not folder.exists()
    folder.mkdir()
    (folder / "comparison.json").write_text("{}")
    assert main(["compare", *wrong, "--out", str(folder), "--overwrite"]) == 2
    assert (folder / "comparison.json").read_text() == "{}"


def test_a_run_in_place_of_a_comparison_is_what_resume_goes_on_with(tmp_path, capsys):
    for name in ("comparison.json", "results.json", "compare.png"):
        (tmp_path / name).write_text("{}")
    assert main(["train", *SMALL, "--out", str(tmp_path), "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["resume", str(tmp_path)]) == 0
    assert "test accuracy" in capsys.readouterr().out


def test_commands_that_start_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    class Noon(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 12, 0, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flags, "datetime", Noon)
    for seed in ("0", "1", "2"):
        assert main(["train", *SMALL, "--seed", seed]) == 0
    runs = {folder.name: json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "runs").iterdir()}
    assert {name: config["experiment"]["seed"] for name, config in runs.items()} == {
        "20260102-120000-digits-bptt": 0, "20260102-120000-digits-bptt-2": 1, "20260102-120000-digits-bptt-3": 2,
    }  # fmt: skip


def test_a_folder_that_looks_like_markup_is_shown_and_advised_as_it_is(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "a [red]b[" / "]"
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["train", *SMALL, "--out", str(folder)]) == 130
    said = capsys.readouterr()
    assert said.out.rstrip().endswith(f"mlp(hidden=[12]): {folder}")
    assert f"go on with `rheobase resume '{folder}'`" in said.err
    assert main(["resume", str(folder)]) == 0
    assert f"Written to {folder}." in capsys.readouterr().out


def test_without_matplotlib_a_comparison_still_has_its_table_and_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["compare", "bptt", *SMALL, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "bptt" in said.out
    assert "rheobase[plot]" in said.err
    assert (tmp_path / "results.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--rule", "slt"], "Did you mean 'sltt'"),
        (["train", "--data", "digit"], "'digits'"),
        (["train", "--momentum", "0.5"], "no effect"),
        (["train", "--data", "digits(steps=2)", "--steps", "3"], "twice"),
        (["train", "--threads", "0"], "threads"),
        (["train", *SMALL, "--model", "convnet", "--out", "{folder}/new"], "expects steps of shape (C, H, W)"),
        (["train", *SMALL, "--out", "{folder}"], "--overwrite"),
        (["compare", "slt", *SMALL, "--out", "{folder}/new"], "Did you mean 'sltt'"),
        (["compare", "--seeds", "0"], "seeds"),
        (["evaluate", "{folder}"], "config.json"),
        (["resume", "{folder}/new"], "config.json"),
    ],
)
def test_a_mistake_is_one_clean_line_and_code_2(arguments, message, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_traceback_is_there_when_asked_for():
    with pytest.raises(ValueError, match="slt"):
        main(["train", "--rule", "slt", "--traceback"])


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["train", "--lerning-rate", "3"], "--learning-rate"),
        (["list", "rule"], "'rules'"),
    ],
)
def test_an_unknown_flag_or_choice_is_code_2_and_names_what_is_near(arguments, near, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert near in capsys.readouterr().err


@pytest.mark.parametrize(("word", "near"), [("trian", "train"), ("evalute", "evaluate"), ("plott", "plot")])
def test_an_unknown_command_names_the_nearest(word, near, capsys):
    assert main([word]) == 2
    assert f"Unknown command {word!r}. Did you mean {near!r}" in capsys.readouterr().err


def test_ctrl_c_leaves_a_run_that_can_go_on_and_code_130(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["train", *SMALL, "--out", str(tmp_path)]) == 130
    assert f"rheobase resume {tmp_path}" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 0


def test_every_rule_is_listed_with_a_description(capsys):
    assert main(["list", "rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in RULES:
        (line,) = [line for line in lines if line.split()[0] == name]
        assert len(line.split()) > 4


def test_everything_is_listed_and_described_by_default(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for heading in ("rules", "models", "datasets", "neurons", "surrogates", "losses"):
        assert f"\n{heading}\n" in f"\n{out}"
    entries = [line for line in out.splitlines() if line.startswith("  ")]
    assert all(len(line.split()) > 1 for line in entries)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_the_first_screen_names_every_command_and_fits_80_columns_and_24_lines(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[3 : lines.index("", 3)]
    assert sorted(line[11:].split()[1] for line in table) == sorted(COMMANDS)
    assert max(map(len, lines)) < 80
    assert len(lines) < 24  # the prompt needs one


def test_the_first_screens_examples_have_flags_that_exist(capsys):
    main([])
    for words in re.findall(r"rheobase ([a-z]+) (.*?)  ", capsys.readouterr().out):
        for flag in re.findall(r"--[a-z-]+", words[1]):
            assert flag in flags_of(words[0])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_begins_with_what_it_does(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    usage, _, text = capsys.readouterr().out.partition("\n\n")
    assert usage.startswith(f"usage: rheobase {command} ")
    assert len(text.split("\n")[0].split()) > 3


def test_the_first_screen_and_explanations_need_no_torch():
    code = "import sys; from rheobase.cli import main; main([]), main(['explain']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_the_module_runs_as_a_program_and_knows_its_version():
    done = subprocess.run([sys.executable, "-m", "rheobase", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"rheobase {__version__}\n"


def test_importing_the_command_line_loads_no_picture_library_nor_parser():
    code = "import sys, rheobase.cli; print([m for m in ('tyro', 'matplotlib', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "import sys, rheobase.cli as c, rheobase.cli.dispatch as d; d.dispatch = lambda _: print('x' * 10**6)"
    line = f'set -o pipefail; {sys.executable} -c "{code}; sys.exit(c.main([1]))" | true'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")

"""`--import`: what is one's own, by name on the command line."""

import sys

import pytest
from safetensors.torch import load_file

from rheobase.cli import main
from rheobase.neurons import NEURONS
from rheobase.rules import RULES

SMALL = [
    "--data", "digits(limit=120, evaluation_limit=60, steps=2)", "--model", "mlp(hidden=[12])", "--device", "cpu",
]  # fmt: skip
TRAINED = [*SMALL, "--epochs", "1"]
OWN = """
from dataclasses import dataclass
import rheobase as rb
from rheobase.rules import LastSteps, NamedOnline

@dataclass(frozen=True)
class Last(NamedOnline):
    count: int = 1

    @property
    def online(self):
        return rb.Online(schedule=LastSteps(self.count))

class Own(rb.LIF):
    pass

rb.RULES["own"] = Last
rb.neurons.NEURONS["own"] = Own
"""


def forget():
    """As in a new process."""
    for table in (RULES, NEURONS):
        table.pop("own", None)
    for module in ("own_names", "broken"):
        sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_names.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    forget()


def trained(rule, out, *more):
    assert main(["train", *TRAINED, "--rule", rule, "--out", out, *more]) == 0
    return load_file(f"{out}/weights.safetensors")


def test_a_rule_and_a_neuron_of_one_s_own_are_trained_with_by_name(folder):
    own = trained("own(count=1)", "mine", "--neuron", "own(decay=0.7)", "--import", "own_names")
    same, other = (
        trained(rule, str(i), "--neuron", "lif(decay=0.7)") for i, rule in enumerate(("sltt(at=[1])", "sltt"))
    )
    assert all(own[name].equal(same[name]) for name in own)
    assert not all(own[name].equal(other[name]) for name in own)


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "own", *TRAINED],
        ["audit", *TRAINED, "--rules", "own", "--at", "0", "--batches", "1"],
        ["profile", *SMALL, "--rules", "own"],
        ["plan", *SMALL, "--rules", "own", "--memory", "1GiB"],
        ["list", "rules"],
    ],
    ids=lambda words: words[0],
)
def test_commands_that_take_a_rule_take_one_s_own(words, capsys):
    assert main([*words, "--import=own_names"]) == 0
    assert "own" in capsys.readouterr().out


def test_a_run_goes_on_with_the_import_and_without_it_the_error_names_the_flag(capsys):
    trained("own", "mine", "--import", "own_names")
    for words in (["resume", "mine"], ["evaluate", "mine"], ["train", "--from", "mine", "--out", "again"]):
        forget()
        capsys.readouterr()
        assert main(words) == 2
        error = capsys.readouterr().err
        assert "Unknown rule 'own'" in error
        assert "--import MODULE" in error
        assert main([*words, "--import", "own_names"]) == 0


def test_what_a_run_was_made_with_is_never_imported_because_its_settings_say_so(folder):
    (folder / "broken.py").write_text("import pathlib\npathlib.Path('ran').touch()\nfrom own_names import *")
    trained("own", "mine", "--import", "broken")
    assert "own" in (folder / "mine" / "config.json").read_text()
    (folder / "ran").unlink()
    forget()
    assert main(["resume", "mine"]) == 2
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--import", "nowhere"], "Found no module 'nowhere'"),
        (["--import", "own_names.py"], "write --import own_names for the file own_names.py"),
        (["--import", "./own_names"], "Found no module './own_names'"),
        (["--import", "--rule"], "Found no module '--rule'"),
        (["--import"], "Found no module ''"),
        (["--import", "broken"], "--import broken: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_clean_line_and_code_2(words, message, folder, capsys):
    (folder / "broken.py").write_text("1 / 0")
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_flag_may_come_first_and_a_missing_package_of_the_module_is_named(folder, capsys):
    assert main(["--import", "own_names", "list", "neurons"]) == 0
    assert "own" in capsys.readouterr().out
    (folder / "broken.py").write_text("import nowhere_to_be_found")
    assert main(["list", "rules", "--import", "broken"]) == 2
    assert "No module named 'nowhere_to_be_found'" in capsys.readouterr().err

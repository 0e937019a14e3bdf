import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rheobase.neurons import NEURONS
from rheobase.recipes import RECIPES
from rheobase.rules import RULES, LastSteps, Online
from rheobase.surrogates import SURROGATES
from rheobase.training import Experiment, sources
from rheobase.training.environment import CUBLAS, deterministic, differences, environment, peak_memory
from rheobase.training.resolved import resolved
from rheobase.training.sources import commit, own_commit, write_diffs

CPU = torch.device("cpu")


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The working folder, a repository with one commit."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init")
    (folder / "model.py").write_text("width = 1\n")
    git(folder, "add", "model.py")
    git(folder, "commit", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def test_changes_of_tracked_files_mark_the_commit_and_are_stored_so_that_they_can_be_applied(repository, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    clean = commit(repository)
    write_diffs(out)
    assert not (out / "git.diff").exists()
    (repository / "untracked.txt").write_text("of no consequence")
    assert commit(repository) == clean
    (repository / "model.py").write_text("width = 2\n")
    assert commit(repository) == f"{clean}-dirty"
    below = repository / "below"
    below.mkdir()
    os.chdir(below)
    write_diffs(out)
    (repository / "model.py").write_text("width = 1\n")
    git(repository, "apply", str(out / "git.diff"))
    assert (repository / "model.py").read_text() == "width = 2\n"


def test_a_diff_longer_than_the_limit_is_cut_and_says_so(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST", 1000)
    (repository / "model.py").write_text("width = 2\n" * 10_000)
    write_diffs(tmp_path)
    text = (tmp_path / "git.diff").read_text()
    assert text.startswith("diff --git")
    assert text.endswith("# Cut here: the diff is longer than 1000 bytes.\n")
    assert len(text) < 1100


def test_the_commit_of_the_working_folder_and_that_of_rheobase_are_told_apart(repository, tmp_path, monkeypatch):
    own = tmp_path / "rheobase-checkout"
    (own / "rheobase").mkdir(parents=True)
    (own / "rheobase" / "__init__.py").write_text("")
    git(own, "init")
    git(own, "add", ".")
    git(own, "commit", "-m", "second")
    monkeypatch.setattr(sources, "own_folder", lambda: own / "rheobase")
    found = environment(CPU)
    assert found["commit"] == commit(repository)
    assert found["rheobase_commit"] == commit(own) != found["commit"]
    (own / "rheobase" / "__init__.py").write_text("changed = True\n")
    write_diffs(tmp_path)
    assert "changed = True" in (tmp_path / "rheobase.diff").read_text()
    assert not (tmp_path / "git.diff").exists()
    git(own, "commit", "-a", "-m", "third")
    write_diffs(tmp_path)
    assert not (tmp_path / "rheobase.diff").exists()


def test_an_installed_package_has_no_commit_even_within_the_repository_of_another(repository, monkeypatch):
    installed = repository / ".venv" / "rheobase"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(sources, "own_folder", lambda: installed)
    assert own_commit() is None
    assert commit(installed) is not None


def test_outside_a_repository_and_without_git_a_run_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert environment(CPU)["commit"] is None
    write_diffs(tmp_path)
    assert not (tmp_path / "git.diff").exists()
    (tmp_path / "rheobase.diff").unlink(missing_ok=True)
    monkeypatch.setenv("PATH", "")
    assert environment(CPU)["commit"] is None
    write_diffs(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_environment_names_versions_and_machine_but_neither_host_nor_person():
    found = environment(CPU, ["rheobase", "train"], processes=2)
    assert found["versions"].keys() >= {"rheobase", "python", "torch", "numpy"}
    assert found["versions"]["python"] == platform.python_version()
    assert (found["processes"], found["threads"]) == (2, torch.get_num_threads())
    assert found["command"] == ["rheobase", "train"]
    words = json.dumps(found).lower().replace('"', " ").split()
    assert platform.node().lower() not in words
    assert str(Path.home()).lower() not in words


def test_differences_name_what_changed_and_keep_silent_about_what_was_not_stored():
    present = environment(CPU) | {"resolved": {"model": "mlp(hidden=[64])"}}
    assert differences(present, present) == []
    stored = {
        **present, "threads": 99, "date": "then", "command": ["other"], "resolved": {"model": "mlp(hidden=[32])"},
        "versions": {"torch": "1.0", "python": platform.python_version(), "gone": "2"},
    }  # fmt: skip
    assert differences(stored, present) == [
        f"threads 99 then, {torch.get_num_threads()} now",
        f"torch 1.0 then, {torch.__version__} now",
        "gone 2 then, None now",
        "model mlp(hidden=[32]) then, mlp(hidden=[64]) now",
    ]
    assert differences({"versions": "broken"}, present) == []


def test_peak_memory_is_at_least_what_the_process_holds_now():
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    held = torch.ones(2**24)  # 64 MiB
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert held.nbytes < 0.95 * now < peak_memory(CPU) < 100 * now  # the system counts pages with a slight delay


def try_it():
    """No deterministic algorithm does this."""
    torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)


def test_inside_deterministic_an_operation_that_is_not_is_refused_and_all_is_restored_afterwards(monkeypatch):
    monkeypatch.delenv(CUBLAS, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with deterministic(True):
        assert os.environ[CUBLAS] == ":4096:8"
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        with pytest.raises(RuntimeError, match="deterministic"):
            try_it()
    assert CUBLAS not in os.environ
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    try_it()
    with deterministic(False):
        try_it()
    monkeypatch.setenv(CUBLAS, ":16:8")
    with deterministic(True):
        assert os.environ[CUBLAS] == ":16:8"
    assert os.environ[CUBLAS] == ":16:8"


def test_a_resolved_experiment_names_the_defaults_and_is_the_same_experiment():
    short = Experiment(data="digits(steps=3)", rule="sltt", neuron="lif", model="mlp")
    full = resolved(short)
    assert "steps=3" in full["data"]
    assert "validation=" in full["data"]
    assert "hidden=" in full["model"]
    assert "decay=" in full["neuron"]
    assert "scale='mean'" in full["rule"]


@pytest.mark.parametrize("neuron", [*NEURONS, *(f"lif(surrogate={name})" for name in SURROGATES)])
def test_a_resolved_neuron_is_read_as_the_neuron_that_it_is(neuron):
    short = Experiment(neuron=neuron)
    again = Experiment(neuron=resolved(short)["neuron"])
    assert repr(again.make_neuron()()) == repr(short.make_neuron()())


@pytest.mark.parametrize("rule", [*RULES, "sltt(steps=2)", "s-tllr(signal=dfa, last=2)", "bptt(checkpoint=True)"])
def test_a_resolved_rule_is_read_as_the_rule_that_it_is(rule):
    short = Experiment(rule="truncated-bptt(horizon=2)" if rule == "truncated-bptt" else rule, chunk=2)
    again = Experiment(rule=resolved(short)["rule"])
    assert again.learning_rule() == short.learning_rule()
    assert "chunk=2" in resolved(short)["rule"]


def test_a_rule_without_a_name_is_resolved_to_what_it_prints():
    rule = Online(schedule=LastSteps(2))
    assert resolved(Experiment(rule=rule))["rule"] == repr(rule)


@pytest.mark.parametrize("name", ["sltt-cifar10", "ottt-cifar10-dvs", "s-tllr-shd"])
def test_resolved_texts_hold_nothing_that_differs_between_processes(name):
    near = next(recipe for recipe in RECIPES if recipe.startswith(name[:6]))
    text = json.dumps(resolved(RECIPES.get(name, RECIPES[near]).make()))
    assert " at 0x" not in text

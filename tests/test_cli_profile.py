import json
from pathlib import Path

import pytest

from rheobase.cli import main

SMALL = [
    "--data",
    "digits(limit=120, evaluation_limit=60)",
    "--steps",
    "3",
    "--model",
    "mlp(hidden=[12])",
    "--device",
    "cpu",
]


def test_a_profile_shows_layers_and_rules_and_says_what_the_energy_rests_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rules", "bptt", "sltt", "--energy.mac", "2", "--sort", "cost", "--out", str(tmp_path / "p")]
    assert main(["profile", *SMALL, *arguments]) == 0
    out = capsys.readouterr().out
    known = json.loads((tmp_path / "p" / "profile.json").read_text())
    assert [rule["rule"] for rule in known["rules"]] == ["bptt", "sltt"]
    assert known["steps"] == 3
    assert known["layers"][0]["picojoules"] == 2 * 3 * 64 * 12
    assert "2 pJ a MAC" in out
    assert out.index("\n1 ") < out.index("\n2 ")
    assert (tmp_path / "p" / "profile.csv").is_file()


def test_the_chunk_is_that_of_all_rules_of_a_profile(tmp_path: Path) -> None:
    assert main(["profile", *SMALL, "--chunk", "2", "--rules", "bptt", "sltt", "--out", str(tmp_path / "p")]) == 0
    known = json.loads((tmp_path / "p" / "profile.json").read_text())
    assert [rule["rule"] for rule in known["rules"]] == ["bptt(chunk=2)", "sltt(chunk=2)"]


def test_the_weights_that_training_would_start_from_are_profiled(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert main(["train", *SMALL, "--epochs", "1", "--learning-rate", "0.1", "--out", run]) == 0
    for name, own in (("fresh", []), ("tuned", ["--weights", run])):
        assert main(["profile", *SMALL, *own, "--rules", "sltt", "--out", str(tmp_path / name)]) == 0
    fresh, tuned = (json.loads((tmp_path / name / "profile.json").read_text()) for name in ("fresh", "tuned"))
    assert fresh["layers"][1]["rate_out"] != tuned["layers"][1]["rate_out"]


def test_a_run_is_profiled_with_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", *SMALL, "--rule", "ottt", "--epochs", "1", "--out", run]) == 0
    assert main(["profile", run, "--out", str(tmp_path / "p")]) == 0
    known = json.loads((tmp_path / "p" / "profile.json").read_text())
    assert [rule["rule"] for rule in known["rules"]] == ["ottt"]
    capsys.readouterr()
    assert main(["profile", run, "--steps", "4", "--out", str(tmp_path / "q")]) == 2
    assert "settings of its own" in capsys.readouterr().err


def test_a_plan_recommends_and_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--memory", "1GiB", "--rules", "bptt", "sltt", "--chunks", "1", "auto", "--batch-size", "32"]
    assert main(["plan", *SMALL, *arguments, "--out", str(tmp_path)]) == 0
    assert "Take bptt" in capsys.readouterr().out
    known = json.loads((tmp_path / "plan.json").read_text())
    assert [choice["rule"] for choice in known["choices"]] == ["bptt(chunk=1)", "bptt", "sltt", "sltt(chunk='auto')"]
    assert known["budget"] == 2**30
    assert known["batch_size"] == 32
    assert known["resident"] == 3 * 4 * (64 * 12 + 12 + 12 * 10 + 10)  # Adam has two moments


@pytest.mark.parametrize("memory", ["8", "auto", "much"])
def test_memory_that_is_no_size_is_refused(memory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *SMALL, "--memory", memory]) == 2
    assert '"8GiB"' in capsys.readouterr().err


@pytest.mark.parametrize("idle", [["--rule", "sltt"], ["--chunk", "2"]])
def test_flags_that_a_plan_has_no_use_for_are_refused(idle: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *SMALL, *idle]) == 2
    assert "--rules and --chunks" in capsys.readouterr().err

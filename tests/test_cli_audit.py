import json
import sys

import pytest

from rheobase.cli import main

SMALL = [
    "--data", "digits(limit=120, evaluation_limit=60)", "--steps", "3", "--model", "mlp(hidden=[12])",
    "--neuron", "lif(threshold=0.5)", "--epochs", "1", "--device", "cpu",
]  # fmt: skip
FEW = ["--batches", "2", "--draws", "1"]


def test_an_audit_trains_and_writes_json_csv_a_picture_and_verdicts(tmp_path, capsys):
    folder = tmp_path / "a"
    assert main(["audit", *SMALL, *FEW, "--rules", "bptt", "sltt", "--at", "0", "1", "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "aligned: 1.00" in out
    found = json.loads((folder / "audit.json").read_text())
    assert [moment["epoch"] for moment in found["moments"]] == [0, 1]
    assert [rule["rule"] for rule in found["moments"][0]["rules"]] == ["bptt", "sltt"]
    assert (folder / "audit.csv").read_text().startswith("moment,epoch,rule,of,name,cosine")
    assert (folder / "audit.png").read_bytes().startswith(b"\x89PNG")
    assert "sltt" in (folder / "report.html").read_text()


def test_a_run_is_audited_with_its_own_settings(tmp_path, capsys):
    run, folder = str(tmp_path / "run"), tmp_path / "a"
    assert main(["train", *SMALL, "--rule", "sltt", "--out", run]) == 0
    assert main(["audit", run, *FEW, "--rules", "sltt", "--batch-size", "40", "--out", str(folder)]) == 0
    found = json.loads((folder / "audit.json").read_text())
    assert [moment["title"] for moment in found["moments"]] == ["start", "best weights (epoch 1)"]
    assert found["experiment"]["data"] == "digits(limit=120, evaluation_limit=60, steps=3)"
    assert found["experiment"]["batch_size"] == 40
    capsys.readouterr()
    assert main(["audit", run, *FEW, "--out", run, "--overwrite"]) == 2
    assert "holds the run itself" in capsys.readouterr().err
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    assert main(["audit", run, *FEW, "--model", "convnet", "--steps", "4", "--out", str(tmp_path / "b")]) == 2
    assert "leave out --model, --steps" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_what_is_wrong_with_the_model_is_said(tmp_path, capsys):
    dead = [*SMALL, "--neuron", "lif(threshold=50.0)"]
    assert main(["audit", *dead, *FEW, "--rules", "sltt", "--at", "0", "--out", str(tmp_path)]) == 0
    assert "model: '2' (LIF) is dead" in capsys.readouterr().out


def test_without_matplotlib_there_are_still_figures_and_verdicts(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["audit", *SMALL, *FEW, "--rules", "sltt", "--at", "0", "--out", str(tmp_path)]) == 0
    assert "rheobase[plot]" in capsys.readouterr().err
    assert (tmp_path / "audit.json").is_file()
    assert not (tmp_path / "audit.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "slt"], "Did you mean 'sltt'"),
        (["--batches", "0"], "at least 1 batch"),
        (["--at", "7"], "after 0 to 1 epochs"),
        (["--draws", "0"], "draws"),
        (["{folder}/none"], "config.json"),
    ],
)
def test_a_mistake_is_one_clean_line_and_code_2(arguments, message, tmp_path, capsys):
    given = [argument.format(folder=tmp_path) for argument in arguments]
    settings = [] if given[0].startswith(str(tmp_path)) else SMALL
    assert main(["audit", *given, *settings, "--out", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

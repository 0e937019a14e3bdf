"""Weights with what makes their model again, and the card beside them."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

import rheobase as rb
from rheobase.interop.weights import export_weights, load_exported
from rheobase.training import Experiment, fit, load_run
from rheobase.training.files import CONFIG, RESULT, read_json

SMALL = Experiment(
    data="digits(steps=5, limit=64, evaluation_limit=24)", model="mlp(hidden=[12, 8])", neuron="lif(decay=0.8)",
    rule="sltt(steps=2)", epochs=1, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "mine"
    fit(SMALL, made, command=["rheobase", "train", "--out", "a folder"])
    return made


def test_weights_come_back_as_the_model_that_was_trained(folder: Path, tmp_path: Path) -> None:
    weights, _ = export_weights(folder, tmp_path / "net.safetensors")
    _, data, model = load_run(folder)
    xs, _ = data.test.batch(torch.arange(8), torch.Generator(), torch.device("cpu"))
    back = load_exported(weights)
    assert torch.equal(rb.run(back, xs), rb.run(model.cpu().eval(), xs))
    assert repr(back) == repr(model)
    assert not back.training


def test_the_card_tells_what_the_run_tells(folder: Path, tmp_path: Path) -> None:
    _, card = export_weights(folder, tmp_path / "net.safetensors")
    text, result, config = card.read_text(), read_json(folder / RESULT), read_json(folder / CONFIG)
    rows = dict(line[2:-2].split(" | ", 1) for line in text.splitlines() if line.startswith("| ") and line != "| | |")
    assert card == tmp_path / "net.md"
    assert rows["test"] == f"accuracy {100 * result['test_score']:.2f} % of 24 samples"
    assert rows["time steps in training (T)"] == "5"
    assert rows["neuron"].startswith("lif(decay=0.8")
    assert rows["seed"] == "3"
    assert rows["rule"].lower().startswith("sltt(steps=2")
    assert rows["epoch"] == "1 of 1"
    assert f"torch {config['versions']['torch']}" in rows["versions"]
    assert "rheobase train --out 'a folder'" in text


def test_the_cards_own_code_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, card = export_weights(folder, tmp_path / "net.safetensors")
    code = card.read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["outputs"], torch.Tensor)
    assert names["outputs"].shape == (5, 1, 10)


def test_files_that_are_there_are_kept_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "net.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"net.md exists.*--overwrite"):
        export_weights(folder, tmp_path / "net.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["net.md"]
    export_weights(folder, tmp_path / "net.safetensors", overwrite=True)
    assert (tmp_path / "net.md").read_text() != "mine"
    with pytest.raises(ValueError, match=r"Expected a name such as .*net.safetensors"):
        export_weights(folder, tmp_path / "net.md", overwrite=True)
    with pytest.raises(FileNotFoundError, match="No folder"):
        export_weights(folder, tmp_path / "none" / "net.safetensors")


def test_other_files_are_refused(folder: Path, tmp_path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"metadata of .*other.safetensors to tell 'shape', found none"):
        load_exported(tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_exported(tmp_path / "text.safetensors")
    with pytest.raises(FileNotFoundError):
        load_exported(tmp_path / "nothing.safetensors")

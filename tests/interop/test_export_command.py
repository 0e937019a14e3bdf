"""`rheobase export`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rheobase as rb
from rheobase.cli.exporting import export
from rheobase.interop.extras import optional
from rheobase.interop.nir_import import from_nir
from rheobase.interop.weights import load_exported
from rheobase.training import Experiment, fit, load_run

SMALL = Experiment(data="digits(steps=5, limit=64, evaluation_limit=24)", model="mlp(hidden=[12])", epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "mine"
    fit(SMALL, made)
    return made


def outputs(model: torch.nn.Module, folder: Path) -> torch.Tensor:
    _, data, _ = load_run(folder)
    xs, _ = data.test.batch(torch.arange(4), torch.Generator(), torch.device("cpu"))
    return rb.run(model.eval(), xs)


def trained(folder: Path) -> torch.nn.Module:
    return load_run(folder)[2].cpu()


def test_a_nir_graph_is_written_with_its_step_and_a_warning(folder, tmp_path, capsys) -> None:
    pytest.importorskip("nir")
    assert export(folder, "nir", tmp_path / "net.nir", dt=2e-3) == 0
    assert torch.equal(outputs(from_nir(tmp_path / "net.nir"), folder), outputs(trained(folder), folder))
    told = capsys.readouterr().out
    assert "one step 0.002 s" in told
    assert "differ by at most 0." in told
    assert "warning: NIR's neurons return to v_reset" in told


def test_an_onnx_graph_is_written(folder, tmp_path, capsys) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    assert export(folder, "onnx", tmp_path / "net.onnx") == 0
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"))
    assert "states in and out: 1" in capsys.readouterr().out


def test_weights_are_written_with_a_card(folder, tmp_path, capsys) -> None:
    assert export(folder, "weights", tmp_path / "net.safetensors") == 0
    assert torch.equal(outputs(load_exported(tmp_path / "net.safetensors"), folder), outputs(trained(folder), folder))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.md", "net.safetensors"]
    assert "net.md" in capsys.readouterr().out


def test_what_cannot_be_written_is_refused_and_nothing_is_left(folder, tmp_path) -> None:
    (tmp_path / "there.nir").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        export(folder, "nir", tmp_path / "there.nir")
    with pytest.raises(ValueError, match=r"Unknown format 'onyx'. Did you mean 'onnx'\?"):
        export(folder, "onyx", tmp_path / "net")
    with pytest.raises(FileNotFoundError, match="the folder of a run"):
        export(tmp_path, "nir", tmp_path / "net.nir")
    with pytest.raises(ValueError, match="no effect on weights"):
        export(folder, "weights", tmp_path / "net.safetensors", dt=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == ["there.nir"]
    assert (tmp_path / "there.nir").read_text() == "mine"


def test_a_missing_package_is_told_with_the_extra_that_brings_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ImportError, match=r"pip install 'rheobase\[nir\]'"):
        optional("nir", "nir")


def test_interchange_is_imported_without_the_packages_it_exchanges_with() -> None:
    code = (
        "import sys, rheobase.cli.exporting; "
        "print([m for m in ('nir', 'nirtorch', 'onnx', 'onnxscript', 'onnxruntime', 'h5py') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"

"""`rheobase plot`: which pictures a run gets, and of what."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rheobase.cli import picturing
from rheobase.cli.picturing import DRAWN, USUAL, Asked, draw_confusion, draw_potentials, draw_raster, draw_rates, plot
from rheobase.training import Experiment, fit
from rheobase.training.files import PICTURES, read_json, write_json

SMALL = Experiment(data="digits(steps=5, limit=64, evaluation_limit=24)", model="mlp(hidden=[12, 8])", epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "mine"
    fit(SMALL, made)
    return made


def asked(folder: Path, sample: int = 0, layer: str | None = None, neurons: tuple[int, ...] = ()) -> Asked:
    return Asked(folder, sample, layer, neurons)


def words(figure: Figure) -> str:
    return "\n".join(panel.get_title(loc="left") for panel in figure.axes)


def test_the_usual_pictures_are_written_into_the_runs_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plot(folder) == 0
    told = capsys.readouterr().out
    for name in USUAL:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{folder / name}.png" in told


def test_the_confusion_matrix_is_that_of_the_whole_test_part_under_the_best_weights(folder: Path) -> None:
    score = read_json(folder / "result.json")["test_score"]
    assert f"{100 * score:.1f} % of 24 right" in words(draw_confusion(asked(folder)))


def test_raster_and_potentials_are_of_the_sample_and_layer_asked_for(folder: Path) -> None:
    figures = [draw_raster(asked(folder, sample, layer="2")) for sample in (0, 5)]
    marks = [len(figure.axes[0].collections[0].get_paths()) for figure in figures]
    assert marks[0] != marks[1]
    assert words(draw_raster(asked(folder))).count("layer") == 2
    potentials = draw_potentials(asked(folder, 3, "4", (0, 7)))
    assert words(potentials) == "layer '4', neuron 0\nlayer '4', neuron 7"
    assert len(potentials.axes[0].lines[0].get_xdata()) == 5


def test_rates_are_means_over_samples_however_they_are_batched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bars(figure: Figure) -> list[float]:
        return [bar.get_height() for panel in figure.axes for bar in panel.patches]

    eight = bars(draw_rates(asked(folder)))
    monkeypatch.setattr(picturing, "TOGETHER", 24)
    assert bars(draw_rates(asked(folder))) == pytest.approx(eight)


def test_a_run_without_weights_has_its_curves_alone(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert asked(tmp_path).usual() == ("curves",)


def test_a_run_of_another_metric_has_no_confusion_matrix(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"")
    config = read_json(folder / "config.json")
    write_json(tmp_path / "config.json", config | {"metrics": {"test": "endpoint error"}})
    assert asked(tmp_path).usual() == ("curves", "raster", "rates")


def test_what_a_run_does_not_have_is_refused(folder: Path) -> None:
    for name, message in (("frames", "Expected frames"), ("filters", "no 2-d convolution")):
        with pytest.raises(ValueError, match=message):
            DRAWN[name](asked(folder))  # type: ignore[index]
    with pytest.raises(ValueError, match="0 to 23, got 24"):
        draw_raster(asked(folder, 24))
    with pytest.raises(ValueError, match="Unknown layer of neurons 'lif'"):
        draw_raster(asked(folder, layer="lif"))
    with pytest.raises(FileNotFoundError, match="No file"):
        plot(folder / "none", ("confusion",))


def test_a_run_that_is_overwritten_loses_every_picture_of_the_one_before() -> None:
    assert set(PICTURES) == {f"{name}.png" for name in DRAWN}

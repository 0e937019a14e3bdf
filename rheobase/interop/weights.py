"""The trained weights of a run as one safetensors file that says what it is, with a model card beside it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
from torch import nn

from rheobase.datasets import Data, FlowData
from rheobase.interop.card import card
from rheobase.models import MODELS
from rheobase.neurons import NEURONS
from rheobase.training.choice import chosen
from rheobase.training.evaluate import load_run
from rheobase.training.files import CONFIG, RESULT, read_json, read_weights, sync_folder, written_aside
from rheobase.version import __version__


def export_weights(folder: Path | str, path: Path | str, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Writes the best weights of the run in `folder` to `path`, and a model card beside them; both paths.

    The file's metadata hold all that `load_exported` needs to make the model again, without the data.

    Raises FileExistsError for files that are there, unless `overwrite`.
    """
    folder, path = Path(folder), Path(path)
    told = path.with_suffix(".md")
    if told == path:
        raise ValueError(f"Expected a name such as {path.with_suffix('.safetensors')} for the weights, got {path}.")
    for file in (path, told):
        require_free(file, overwrite=overwrite)
    _, data, model = load_run(folder)
    config, result = read_json(folder / CONFIG), read_json(folder / RESULT)
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(weights, metadata=_metadata(config, data))
    text = card(config, result, data, model, path.name)
    write_new(path, content)
    write_new(told, text.encode())
    return path, told


def load_exported(path: Path | str) -> nn.Module:
    """The model in a file that `export_weights` wrote, in eval mode.

    Raises ValueError for a safetensors file that does not tell its model.
    """
    path = Path(path)
    weights = read_weights(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        shape, classes = json.loads(metadata["shape"]), json.loads(metadata["classes"])
        make, options = chosen("model", metadata["model"], MODELS, given=("shape", "classes", "neuron"))
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"Expected the metadata of {path} to tell {error}, found {', '.join(metadata) or 'none'}: "
            "was it written by `rheobase export --format weights`?"
        ) from error
    if "neuron" in metadata:
        kind, own = chosen("neuron", metadata["neuron"], NEURONS)
        options["neuron"] = partial(kind, **own)
    model: nn.Module = make(shape, classes, **options)
    model.load_state_dict(weights)
    return model.eval()


def _metadata(config: Mapping[str, Any], data: Data | FlowData) -> dict[str, str]:
    """Text by text, as safetensors has it."""
    experiment = config["experiment"]
    found = {
        "format": "pt",
        "rheobase": __version__,
        "model": config.get("resolved", experiment)["model"],
        "shape": json.dumps(data.train.shape),
        "classes": json.dumps(data.train.classes),
        "experiment": json.dumps(experiment),
    }
    return found | ({"neuron": experiment["neuron"]} if experiment["neuron"] else {})


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raises FileExistsError or FileNotFoundError unless a new file `path` may be written."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: name another file, or overwrite it with --overwrite.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"No folder {path.parent}: make it first, or name another file.")


def write_new(path: Path, content: bytes) -> None:
    """All of it or nothing: written aside and renamed."""

    def write(file: IO[bytes]) -> None:
        file.write(content)

    with written_aside(path, write) as aside:
        aside.replace(path)
        sync_folder(path.absolute().parent)

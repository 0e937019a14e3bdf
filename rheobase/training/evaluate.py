"""How often a model is right."""

from pathlib import Path

import torch
from torch import nn

from rheobase.datasets import Data, Sequences
from rheobase.inference import run
from rheobase.training.environment import device_named
from rheobase.training.experiment import Experiment
from rheobase.training.files import CONFIG, WEIGHTS, read_json, read_weights


def evaluate(
    model: nn.Module, part: Sequences, *, batch_size: int, device: torch.device, chunk: int | None = None
) -> float:
    """The share of the samples of `part` whose largest mean output is their class; in eval mode, from rest."""
    training, right = model.training, torch.zeros((), dtype=torch.int64, device=device)
    model.eval()
    try:
        for xs, target in part.batches(batch_size, device=device):
            right += (run(model, xs, chunk=chunk).mean(0).argmax(1) == target).sum()
    finally:
        model.train(training)
    return int(right) / len(part)


def read_experiment(folder: Path) -> Experiment:
    """The experiment of the run in `folder`."""
    config = read_json(folder / CONFIG)
    if "experiment" not in config:
        raise ValueError(f'Expected a key "experiment" in {folder / CONFIG}, found {", ".join(config) or "none"}.')
    return Experiment.of_settings(config["experiment"])


def load_run(folder: Path) -> tuple[Experiment, Data, nn.Module]:
    """The experiment, the data and the model with its best weights of the run in `folder`."""
    experiment = read_experiment(folder)
    data = experiment.load_data()
    model = experiment.build_model(data)
    load_weights(model, folder)
    return experiment, data, model.to(device_named(experiment.device))


def load_weights(model: nn.Module, folder: Path) -> None:
    """Gives the model the best weights of the run in `folder`. Raises ValueError where they do not fit."""
    weights = read_weights(folder / WEIGHTS)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"The weights in {folder} do not fit the model ({CONFIG} there says of what): {error}"
        ) from error

"""How well a model does on a part of a data set, also one of an earlier run."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from rheobase.datasets import Data, FlowData, FlowSequences, Sequences
from rheobase.distributed import World, device_named
from rheobase.explained import explained
from rheobase.inference import run
from rheobase.precision import Precision
from rheobase.training.experiment import Experiment
from rheobase.training.files import CONFIG, WEIGHTS, read_json, read_weights

CPU = torch.device("cpu")


def evaluate(
    model: nn.Module,
    part: Sequences | FlowSequences,
    *,
    batch_size: int = 256,
    device: torch.device = CPU,
    chunk: int | None = None,
    precision: Precision | None = None,
    world: World | None = None,
    before_batch: Callable[[], None] = lambda: None,
) -> float:
    """The value of the part's metric; in eval mode, from rest.

    precision: that of training; float32 by default. world: the processes that share the batches.
    before_batch: called by all processes as often, also by one that has no batch left; what it raises ends it.
    """
    training, metric = model.training, part.metric
    precision, world = precision or Precision("float32", device), world or World(device=device)
    total = torch.zeros(2, dtype=torch.float64, device=device)
    model.eval()
    try:
        batches = part.batches(batch_size, device=device)
        own = batches.share(world.rank, world.size)
        for _ in range(0, len(batches), world.size):
            before_batch()
            if (batch := next(own, None)) is None:
                break
            xs, target = batch
            with precision.autocast():
                outputs = run(model, xs, chunk=chunk)
            score, counted = metric.total(outputs.float(), target)
            total += torch.stack([score.double(), total.new_tensor(counted)])
    finally:
        model.train(training)
    score, counted = world.sum(total).tolist()
    if not counted:
        raise ValueError(f"This part has no {metric.name}: no sample of it counts.")
    return score / counted


def read_experiment(folder: Path) -> Experiment:
    """The experiment of the run in `folder`."""
    config = read_json(folder / CONFIG)
    if "experiment" not in config:
        raise ValueError(f'Expected a key "experiment" in {folder / CONFIG}, found {", ".join(config) or "none"}.')
    return Experiment.of_settings(config["experiment"])


def load_run(folder: Path) -> tuple[Experiment, Data | FlowData, nn.Module]:
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
        raise explained(
            ValueError(f"The weights in {folder} do not fit the model ({CONFIG} there says of what): {error}"), "resume"
        ) from error


def initial_model(experiment: Experiment, data: Data | FlowData, device: torch.device) -> nn.Module:
    """The model before training: drawn from the seed, or with the weights that the experiment starts from."""
    torch.manual_seed(experiment.seed)
    model = experiment.build_model(data)
    if experiment.weights is not None:
        load_weights(model, Path(experiment.weights))
    return model.to(device)

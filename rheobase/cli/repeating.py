"""Starting from an earlier run: `rheobase train --from RUN`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rheobase.cli.screen import note
from rheobase.distributed import device_named
from rheobase.training import Experiment
from rheobase.training.environment import differences, environment
from rheobase.training.evaluate import read_experiment
from rheobase.training.files import CONFIG, read_json
from rheobase.training.history import mapping
from rheobase.training.resolved import resolved


def repeated(folder: Path, flags: Sequence[str]) -> tuple[Experiment, list[str]]:
    """The experiment of the run in `folder`, and the flags, with the run's number of threads where they give none.

    Raises ValueError where this version cannot read the run's settings.
    """
    config = read_json(folder / CONFIG)
    try:
        experiment = read_experiment(folder)
    except ValueError as error:
        written = mapping(config, "versions").get("rheobase", "of an unknown version")
        raise ValueError(f"Cannot repeat {folder}, written by rheobase {written}: {error}") from error
    threads, _ = taken(flags, "--threads")
    stored, known = config.get("threads"), list(flags)
    if threads is None and isinstance(stored, int) and 1 <= stored <= (os.cpu_count() or 1):
        known += ["--threads", str(stored)]
    if os.environ.get("RANK", "0") == "0":
        changes = changed_since(config, experiment, known)
        if changes:
            note(f"Not as in {folder}, so the weights may differ: {'; '.join(changes)}.")
    return experiment, known


def changed_since(config: Mapping[str, Any], experiment: Experiment, flags: Sequence[str]) -> list[str]:
    """What is not as it was when `config` was written: versions, commits, machine, threads, defaults."""
    (threads, _), (device, _) = taken(flags, "--threads"), taken(flags, "--device")
    asked = device or experiment.device
    here = device_named("auto" if asked == "cuda" else asked)  # --set may choose another than a GPU that is not there
    present = environment(here, processes=int(os.environ.get("WORLD_SIZE", "1")))
    present["threads"] = int(threads) if threads and threads.isdigit() else torch.get_num_threads()
    return differences(config, {**present, "resolved": resolved(experiment)})


def taken(flags: Sequence[str], flag: str) -> tuple[str | None, list[str]]:
    """The value of `flag`, written with a blank or with "=", and the flags without it; None where it is not there."""
    for i, word in enumerate(flags):
        if word == flag and i + 1 < len(flags):
            return flags[i + 1], [*flags[:i], *flags[i + 2 :]]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2], [*flags[:i], *flags[i + 1 :]]
    if flag in flags:
        raise ValueError(f"{flag} expects a value.")
    return None, list(flags)

"""Flags that several commands have."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rheobase.training import Experiment
from rheobase.training.choice import read_call, written_call
from rheobase.training.files import CONFIG, disk_errors

DEFAULT = Experiment()
Flags = Annotated[Experiment, tyro.conf.arg(name="")]
Rules = Annotated[tuple[str, ...], tyro.conf.Positional]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Folder = Annotated[Path, tyro.conf.Positional]
Steps = Annotated[int | None, tyro.conf.arg(help="short for the option of the data set: time steps.")]
Limit = Annotated[int | None, tyro.conf.arg(help="short for the option of the data set: train samples to use.")]
Out = Annotated[Path | None, tyro.conf.arg(help="the folder to write to; a new one in runs/ by default.")]
Overwrite = Annotated[Switch, tyro.conf.arg(help="replace what is in that folder.")]
# Not --log, which torchrun takes for the beginning of options of its own.
Loggers = Annotated[tuple[Literal["tensorboard"], ...], tyro.conf.arg(name="log-to")]
Kind = Literal["rules", "models", "datasets", "neurons", "surrogates", "losses"]


def with_data_options(experiment: Experiment, **options: int | None) -> Experiment:
    """The experiment with the options that are not None written into its data text."""
    name, own = read_call(experiment.data)
    given = {option: value for option, value in options.items() if value is not None}
    twice = own.keys() & given.keys()
    if twice:
        raise ValueError(f"{sorted(twice)[0]} is given twice: in --data {experiment.data!r} and by its own flag.")
    return replace(experiment, data=written_call(name, own | given)) if given else experiment


def new_folder(what: str) -> Path:
    """A folder of its own in runs/, made: commands that start within one second get different ones."""
    name, number = f"{datetime.now():%Y%m%d-%H%M%S}-{what}", 1
    folder = Path("runs") / name
    with disk_errors(folder / CONFIG):
        while True:
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
                folder = Path("runs") / f"{name}-{number}"


def command() -> list[str]:
    return ["rheobase", *sys.argv[1:]]

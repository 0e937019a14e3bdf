"""The command `rheobase compare`, and how it goes on after it was stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from rheobase import measure, plots
from rheobase.cli.commands import interrupted
from rheobase.cli.flags import (
    DEFAULT,
    Flags,
    Limit,
    Out,
    Overwrite,
    Rules,
    Steps,
    command,
    new_folder,
    with_data_options,
)
from rheobase.cli.reporting import told
from rheobase.cli.screen import WIDE, fail
from rheobase.datasets import Data, FlowData
from rheobase.measure.comparison import first_batch, place_of
from rheobase.measure.table import refusals, table
from rheobase.report import write_report
from rheobase.training import ConsoleProgress, Experiment, Interrupted, rule_named
from rheobase.training.choice import read_call
from rheobase.training.environment import threads as use_threads
from rheobase.training.files import COMPARISON, RESULTS, claim, read_json, write_json


def compare(
    rules: Rules = (),
    experiment: Flags = DEFAULT,
    steps: Steps = None,
    limit: Limit = None,
    seeds: int = 1,
    threads: int = 1,
    out: Out = None,
    overwrite: Overwrite = False,
) -> int:
    """Train the same model with several rules: accuracy, time, memory, agreement with BPTT; table, picture, HTML page.

    Args:
        rules: such as bptt "sltt(steps=2)" ottt; six of them by default.
        experiment: what all of them share.
        seeds: runs of each rule, with seeds from --seed on.
        threads: of the CPU, for timings that can be compared.
    """
    if seeds < 1:
        raise ValueError(f"Expected seeds >= 1, got {seeds}.")
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    for rule in rules:
        rule_named(rule)
    data = experiment.load_data()
    first_batch(experiment, data)  # what refuses the comparison does so before there is a folder
    chosen = tuple(rules) or measure.default_rules(data.train.steps)
    folder = out or new_folder(f"compare-{read_call(experiment.data)[0]}")
    claim(folder, overwrite=overwrite)
    asked = Comparison(experiment.settings(), chosen, seeds, threads, tuple(command()))
    for rule, seed in product(chosen, asked.all_seeds):
        if (place := place_of(folder, rule, seed)).is_dir():
            claim(place, overwrite=True)
    write_json(folder / COMPARISON, asdict(asked))
    return asked.made(folder, data)


def go_on_comparing(folder: Path, threads: int | None) -> int:
    """The rest of the comparison in `folder`, which was stopped."""
    try:
        asked = Comparison(**read_json(folder / COMPARISON))
    except TypeError as error:
        raise ValueError(f"{folder / COMPARISON} was written by another version, or damaged: {error}.") from error
    return replace(asked, threads=asked.threads if threads is None else threads).made(folder)


@dataclass(frozen=True)
class Comparison:
    """What was asked for. experiment: the settings that all runs share. seeds: how many, from the experiment's on."""

    experiment: Mapping[str, Any]
    rules: Sequence[str]
    seeds: int
    threads: int
    command: Sequence[str]

    @property
    def all_seeds(self) -> range:
        return range(self.experiment["seed"], self.experiment["seed"] + self.seeds)

    @property
    def title(self) -> str:
        shared, of_seeds = self.experiment, "one seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"{shared['data']}, {shared['model']}, {shared['epochs']} epochs, {of_seeds}"

    def made(self, folder: Path, data: Data | FlowData | None = None) -> int:
        """Trains what is not trained yet, and writes and shows what was found; the exit code.

        data: the experiment's own, where it is loaded already.
        """
        console, experiment = Console(), Experiment.of_settings(self.experiment)
        try:
            with use_threads(self.threads):
                rows = measure.compare(
                    experiment, self.rules, seeds=self.all_seeds, folder=folder,
                    progress=lambda title: ConsoleProgress(console, title=title, lines=False), data=data,
                )  # fmt: skip
                found = measure.results(experiment, rows, self.command)
        except (KeyboardInterrupt, Interrupted) as stop:
            return interrupted(folder, stop)
        Console(width=WIDE).print(table(rows))
        for refusal in refusals(rows):
            console.print(f"[red]{escape(refusal)}[/]", highlight=False)
        write_json(folder / RESULTS, found)
        if any(row.runs for row in rows):
            try:
                plots.save(plots.comparison(rows, self.title), folder / "compare.png")
            except ImportError as error:
                fail(error)
        console.print(f"Written to {folder}.", highlight=False, markup=False, soft_wrap=True)
        told(console, write_report([folder]))
        return 0

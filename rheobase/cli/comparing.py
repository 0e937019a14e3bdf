"""The command `rheobase compare`."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from rheobase import measure
from rheobase.cli.flags import DEFAULT, Flags, Rules, Switch, command, new_folder, with_data_options
from rheobase.cli.reporting import told
from rheobase.cli.screen import WIDE, fail
from rheobase.measure.figure import write_figure
from rheobase.measure.table import refusals, table
from rheobase.report import write_report
from rheobase.training import ConsoleProgress
from rheobase.training.choice import read_call
from rheobase.training.environment import threads as use_threads
from rheobase.training.files import claim, write_json


def compare(
    rules: Rules = (),
    experiment: Flags = DEFAULT,
    steps: int | None = None,
    limit: int | None = None,
    seeds: int = 1,
    threads: int = 1,
    out: Path | None = None,
    overwrite: Switch = False,
) -> int:
    """Train the same model with several rules: accuracy, time, memory, agreement with BPTT; table, picture, HTML page.

    Args:
        rules: such as bptt "sltt(steps=2)" ottt; six of them by default.
        experiment: what all of them share.
        steps: short for the option of the data set: time steps.
        limit: short for the option of the data set: train samples to use.
        seeds: runs of each rule, with seeds from --seed on.
        threads: of the CPU, for timings that can be compared.
        out: the folder to write to; a new one in runs/ by default.
        overwrite: replace what is in that folder.
    """
    if seeds < 1:
        raise ValueError(f"Expected seeds >= 1, got {seeds}.")
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    chosen = rules or measure.default_rules(experiment.load_data().train.steps)
    folder = out or new_folder(f"compare-{read_call(experiment.data)[0]}")
    claim(folder, overwrite=overwrite)
    console = Console()
    all_seeds = range(experiment.seed, experiment.seed + seeds)
    with use_threads(threads):
        rows = measure.compare(
            experiment, chosen, seeds=all_seeds,
            progress=lambda title: ConsoleProgress(console, title=title, lines=False),
        )  # fmt: skip
        found = measure.results(experiment, rows, command())
    Console(width=WIDE).print(table(rows))
    for refusal in refusals(rows):
        console.print(f"[red]{escape(refusal)}[/]", highlight=False)
    write_json(folder / "results.json", found)
    try:
        of_seeds = "one seed" if seeds == 1 else f"{seeds} seeds"
        title = f"{experiment.data}, {experiment.model}, {experiment.epochs} epochs, {of_seeds}"
        write_figure(folder / "compare.png", rows, title)
    except ImportError as error:
        fail(error)
    console.print(f"Written to {folder}.", highlight=False, markup=False, soft_wrap=True)
    told(console, write_report([folder]))
    return 0

"""The commands: each is a function whose parameters are its flags."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from rheobase.cli.flags import DEFAULT, Flags, Folder, Kind, Switch, command, new_folder, with_data_options
from rheobase.cli.screen import fail
from rheobase.training import ConsoleProgress, Report, fit, load_run, resume, rule_text
from rheobase.training.choice import read_call
from rheobase.training.environment import device_named
from rheobase.training.environment import threads as use_threads
from rheobase.training.evaluate import evaluate as accuracy_of


def train(
    experiment: Flags = DEFAULT,
    steps: int | None = None,
    limit: int | None = None,
    threads: int | None = None,
    out: Path | None = None,
    overwrite: Switch = False,
) -> int:
    """Train one model with one rule; writes the settings, the weights and a line for each epoch.

    Args:
        experiment: what is trained on what, and how.
        steps: short for the option of the data set: time steps.
        limit: short for the option of the data set: train samples to use.
        threads: of the CPU; torch's own choice by default. Small models are often fastest with 1.
        out: the folder to write to; a new one in runs/ by default.
        overwrite: replace the run in that folder.
    """
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    console = Console()
    folder = out or new_folder(f"{read_call(experiment.data)[0]}-{read_call(rule_text(experiment.rule))[0]}")
    console.print(f"{rule_text(experiment.rule)} on {experiment.data}, {experiment.model}: {folder}", highlight=False)
    try:
        with use_threads(threads):
            report = fit(experiment, folder, ConsoleProgress(console), overwrite=overwrite, command=command())
    except KeyboardInterrupt:
        return interrupted(folder)
    show(console, report, folder)
    return 0


def go_on(folder: Folder) -> int:
    """Go on with a run that was stopped, after its last complete epoch.

    Args:
        folder: of the run.
    """
    console = Console()
    try:
        show(console, resume(folder, ConsoleProgress(console)), folder)
    except KeyboardInterrupt:
        return interrupted(folder)
    return 0


def evaluate(folder: Folder) -> int:
    """Print the test accuracy of the best weights of a run.

    Args:
        folder: of the run.
    """
    experiment, data, model = load_run(folder)
    device = device_named(experiment.device)
    accuracy = accuracy_of(model, data.test, batch_size=experiment.batch_size, device=device, chunk=experiment.chunk)
    Console().print(f"test accuracy {100 * accuracy:.2f} % of {len(data.test)} samples", highlight=False)
    return 0


def show_list(kind: Annotated[Kind | None, tyro.conf.Positional] = None) -> int:
    """List what there is to choose from, one line each, with the options and their defaults.

    Args:
        kind: all of them by default.
    """
    from rheobase.cli.catalogue import catalogue, size_of

    console = Console(highlight=False, soft_wrap=True)
    for title, entries in catalogue().items():
        if kind in (None, title):
            console.print(f"[bold]{title}[/]")
            for name, (line, call) in entries.items():
                console.print(f"  [cyan]{name:<22}[/] {escape(line)}")
                if kind and call != name:
                    console.print(f"  {'':<22} [dim]{escape(call)}[/]")
                if kind == "models":
                    console.print(f"  {'':<22} [dim]{size_of(name)}[/]")
    return 0


def interrupted(folder: Path) -> int:
    fail(f"Stopped. The epochs done so far are in {folder}; go on with `rheobase resume {folder}`.")
    return 130


def show(console: Console, report: Report, folder: Path) -> None:
    console.print(
        f"[bold]test accuracy {100 * report.test_accuracy:.2f} %[/] with the weights of epoch {report.best_epoch} "
        f"(validation {100 * report.validation_accuracy:.2f} %), {report.seconds:.1f} s of training. "
        f"Written to {folder}.",
        highlight=False,
        soft_wrap=True,
    )

"""The commands: each is a function whose parameters are its flags."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from rheobase.cli.flags import (
    DEFAULT,
    Flags,
    Folder,
    Kind,
    Limit,
    Loggers,
    Out,
    Overwrite,
    Steps,
    command,
    new_folder,
    with_data_options,
)
from rheobase.cli.reporting import tell_of_run
from rheobase.cli.screen import fail
from rheobase.distributed import World, device_named, world_of
from rheobase.precision import Precision
from rheobase.training import ConsoleProgress, Interrupted, Report, Silent, fit, load_run, resume, rule_text
from rheobase.training.choice import read_call
from rheobase.training.environment import threads as use_threads
from rheobase.training.evaluate import evaluate as score_of
from rheobase.training.evaluate import read_experiment
from rheobase.training.files import CHECKPOINT, COMPARISON
from rheobase.training.fit import SAVE_EVERY
from rheobase.training.loggers import LOGGERS, Logger
from rheobase.training.progress import Progress


def train(
    experiment: Flags = DEFAULT,
    steps: Steps = None,
    limit: Limit = None,
    threads: int | None = None,
    out: Out = None,
    overwrite: Overwrite = False,
    log: Loggers = (),
    save_every: float = SAVE_EVERY,
) -> int:
    """Train one model with one rule; writes the settings, the weights, a line for each epoch and an HTML page.

    A recipe's name, or --from RUN, before the flags: start from its settings; --set FIELD=VALUE ... changes them.
    --import MODULE, with this and every command: know the rules, neurons and models of your own that it names.

    Args:
        experiment: what is trained on what, and how.
        threads: of the CPU; torch's own choice by default. Small models are often fastest with 1.
        log: where else the figures go.
        save_every: seconds between checkpoints within an epoch; 0 saves after each batch.
    """
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    with world_of(experiment.device) as world, use_threads(threads):
        console, what = Console(quiet=not world.leads), read_call(experiment.data)[0]
        folder = out or (new_folder(f"{what}-{read_call(rule_text(experiment.rule))[0]}") if world.leads else Path())
        line = f"{rule_text(experiment.rule)} on {experiment.data}, {experiment.model}: {folder}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        try:
            report = fit(
                experiment, folder, shown_by(console, world), overwrite=overwrite, command=command(),
                loggers=loggers_named(log, world), save_every=save_every, world=world,
            )  # fmt: skip
        except (KeyboardInterrupt, Interrupted) as stop:
            return interrupted(folder, stop) if world.leads else exit_code(stop)
        if world.leads:
            conclude(console, report, folder)
    return 0


def go_on(folder: Folder, log: Loggers = (), save_every: float = SAVE_EVERY, threads: int | None = None) -> int:
    """Go on with a run or a comparison that was stopped, after its last checkpoint.

    Args:
        folder: of the run or the comparison.
        log: of a run: where else the figures go.
        save_every: seconds between checkpoints within an epoch; 0 saves after each batch.
        threads: of the CPU; as many as before by default, which the same bits need.
    """
    if (folder / COMPARISON).is_file():
        from rheobase.cli.comparing import go_on_comparing

        if log:
            raise ValueError(f"{folder} holds a comparison, which logs to files alone: leave out --log-to.")
        return go_on_comparing(folder, threads)
    with world_of(read_experiment(folder).device) as world:
        console = Console(quiet=not world.leads)
        try:
            report = resume(
                folder, shown_by(console, world), loggers=loggers_named(log, world), save_every=save_every,
                world=world, threads=threads,
            )  # fmt: skip
        except (KeyboardInterrupt, Interrupted) as stop:
            return interrupted(folder, stop) if world.leads else exit_code(stop)
        if world.leads:
            conclude(console, report, folder)
    return 0


def evaluate(folder: Folder) -> int:
    """Print the test score of the best weights of a run, in the precision it was trained in.

    Args:
        folder: of the run.
    """
    experiment, data, model = load_run(folder)
    device = device_named(experiment.device)
    score = score_of(
        model, data.test, batch_size=experiment.batch_size, device=device, chunk=experiment.chunk,
        precision=Precision(experiment.precision, device),
    )  # fmt: skip
    metric = data.test.metric
    console = Console()
    console.print(f"test {metric.name} {metric.text(score)} of {len(data.test)} samples", highlight=False)
    tell_of_run(console, folder)
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


def loggers_named(names: Loggers, world: World) -> list[Logger]:
    return [LOGGERS[name]() for name in names] if world.leads else []


def shown_by(console: Console, world: World) -> Progress:
    """One process of those that train together shows how it goes."""
    return ConsoleProgress(console) if world.leads else Silent()


def interrupted(folder: Path, stop: KeyboardInterrupt | Interrupted) -> int:
    """Says how to go on; the exit code."""
    saved = any((folder / name).is_file() for name in (CHECKPOINT, COMPARISON))
    going_on = f"What was done is in {folder}; go on with `rheobase resume {shlex.quote(str(folder))}`."
    done = going_on if saved else "Nothing was done yet."
    fail(f"{str(stop) or 'Stopped.'} {done}")
    return exit_code(stop)


def exit_code(stop: KeyboardInterrupt | Interrupted) -> int:
    """The conventional one: 128 and the number of the signal."""
    return stop.exit_code if isinstance(stop, Interrupted) else 130


def conclude(console: Console, report: Report, folder: Path) -> None:
    """What came of the run, and its page."""
    console.print(
        f"[bold]test {report.metric.name} {report.metric.text(report.test_score)}[/] with the weights of epoch "
        f"{report.best_epoch}, chosen by the validation part; {report.seconds:.1f} s of training. "
        f"Written to {escape(str(folder))}.",
        highlight=False,
        soft_wrap=True,
    )
    tell_of_run(console, folder)

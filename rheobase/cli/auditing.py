"""The command `rheobase audit`."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from rheobase import plots
from rheobase.cli.flags import DEFAULT, Flags, Limit, Out, Overwrite, Steps, command, new_folder, with_data_options
from rheobase.cli.reporting import told
from rheobase.cli.screen import WIDE, fail
from rheobase.measure.audit_exact import Exact
from rheobase.measure.audit_files import results, write_audit
from rheobase.measure.audit_table import sentences, table
from rheobase.measure.audit_training import Moment, Sampling, audit_run, audit_training
from rheobase.measure.audit_verdict import findings
from rheobase.measure.comparison import default_rules
from rheobase.report import write_report
from rheobase.training import ConsoleProgress, Experiment, rule_named
from rheobase.training.choice import read_call
from rheobase.training.environment import threads as use_threads
from rheobase.training.evaluate import read_experiment
from rheobase.training.files import claim

Run = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")]


def audit(
    run: Run = None,
    experiment: Flags = DEFAULT,
    rules: tuple[str, ...] = (),
    batches: int = 8,
    at: tuple[int, ...] = (),
    draws: int = 4,
    exact: Exact = "auto",
    steps: Steps = None,
    limit: Limit = None,
    threads: int = 1,
    out: Out = None,
    overwrite: Overwrite = False,
) -> int:
    """How far each rule's gradient is from the exact one, by layer and over training, and why; a verdict on each.

    Args:
        run: a run's folder: audit the weights that it started from and its best ones, instead of training here.
        experiment: what is trained, by its own --rule; of these flags a RUN takes --batch-size alone.
        rules: whose gradients to look at, such as --rules bptt "sltt(steps=2)" ottt; six of them by default.
        batches: of the train part, in each audit.
        at: after how many epochs to audit, such as --at 0 1 5; by default five times, from the start to the end.
        draws: for rules and layers that draw at random: average over so many draws on each batch.
        exact: "checkpointed" saves memory, "whole" time; "auto" looks at how much memory is free.
        threads: of the CPU.
    """
    sampling, console = Sampling(batches, draws, exact), Console()
    if run is None:
        experiment = with_data_options(experiment, steps=steps, limit=limit)
    else:
        require_own_settings(run, experiment, at=at, steps=steps, limit=limit)
    known = experiment if run is None else read_experiment(run)
    chosen = rules or default_rules(known.load_data().train.steps)
    for rule in chosen:
        rule_named(rule)
    folder = out or new_folder(f"audit-{read_call(known.data)[0]}")
    if run is not None and folder.resolve() == run.resolve():
        raise ValueError(f"{folder} holds the run itself: name another folder for the audit.")
    claim(folder, overwrite=overwrite)
    with use_threads(threads):
        if run is None:
            moments = audit_training(
                experiment, chosen, at=at or None, sampling=sampling,
                progress=ConsoleProgress(console, title=str(experiment.rule), lines=False),
            )  # fmt: skip
        else:
            size = None if experiment.batch_size == DEFAULT.batch_size else experiment.batch_size
            experiment, moments = audit_run(run, chosen, batch_size=size, sampling=sampling)
        found = results(experiment, moments, command())
    show(console, moments)
    write_audit(folder, found, moments)
    write_picture(folder / "audit.png", moments, experiment)
    console.print(f"Written to {folder}.", highlight=False, markup=False, soft_wrap=True)
    told(console, write_report([folder]))
    return 0


def require_own_settings(run: Path, experiment: Experiment, **given: object) -> None:
    """Raises ValueError for flags that a run's own settings make idle."""
    changed = [f.name for f in fields(experiment) if getattr(experiment, f.name) != getattr(DEFAULT, f.name)]
    idle = [name for name in changed if name != "batch_size"] + [name for name, value in given.items() if value]
    if idle:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise ValueError(f"{run} has settings of its own: leave out {flags}, or audit without a RUN.")


def show(console: Console, moments: tuple[Moment, ...]) -> None:
    """What is wrong with the model, the figures, and a verdict on each rule."""
    Console(width=WIDE).print(table(moments))
    console.print()
    for finding in findings(moments[-1].audit):
        console.print(f"[bold red]model:[/] {escape(finding.text)}", highlight=False)
    console.print(sentences(moments))


def write_picture(path: Path, moments: tuple[Moment, ...], experiment: Experiment) -> None:
    if all(rule.total is None for rule in moments[-1].audit.rules):
        return
    title = f"{experiment.data}, {experiment.model}, trained with {experiment.settings()['rule']}"
    try:
        plots.save(plots.audit(moments, title), path)
    except ImportError as error:
        fail(error)

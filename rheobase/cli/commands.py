"""The commands: each is a function whose parameters are its flags."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from rheobase.cli.screen import fail
from rheobase.rules.rule import Rule
from rheobase.training import ConsoleProgress, DivergedError, Experiment, Report, fit, load_run, resume, rule_text
from rheobase.training.choice import read_call
from rheobase.training.environment import device_named
from rheobase.training.evaluate import evaluate as accuracy_of

EXPECTED = (
    ValueError, TypeError, FileNotFoundError, FileExistsError, NotImplementedError, ImportError, DivergedError,
)  # fmt: skip

Flags = Annotated[Experiment, tyro.conf.arg(name="")]
Rules = Annotated[tuple[str, ...], tyro.conf.Positional]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Folder = Annotated[Path, tyro.conf.Positional]
Kind = Literal["rules", "models", "datasets", "neurons", "surrogates", "losses"]


def train(
    experiment: Flags = Experiment(),
    steps: int | None = None,
    limit: int | None = None,
    out: Path | None = None,
    overwrite: Switch = False,
) -> int:
    """Train one model with one rule; writes the settings, the weights and a line for each epoch.

    Args:
        experiment: what is trained on what, and how.
        steps: short for the option of the data set: time steps.
        limit: short for the option of the data set: train samples to use.
        out: the folder to write to; a new one in runs/ by default.
        overwrite: replace the run in that folder.
    """
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    console = Console()
    folder = out or new_folder(f"{read_call(experiment.data)[0]}-{read_call(rule_text(experiment.rule))[0]}")
    console.print(f"{rule_text(experiment.rule)} on {experiment.data}, {experiment.model}: {folder}", highlight=False)
    try:
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


def compare(
    rules: Rules = (),
    experiment: Flags = Experiment(),
    steps: int | None = None,
    limit: int | None = None,
    seeds: int = 1,
    out: Path | None = None,
    overwrite: Switch = False,
) -> int:
    """Train the same model with several rules: accuracy, time, memory, agreement with BPTT; table, JSON, picture.

    Args:
        rules: such as bptt "sltt(steps=2)" ottt; six of them by default.
        experiment: what all of them share.
        steps: short for the option of the data set: time steps.
        limit: short for the option of the data set: train samples to use.
        seeds: runs of each rule, with seeds from --seed on.
        out: the folder to write to; a new one in runs/ by default.
        overwrite: replace what is in that folder.
    """
    from rheobase import measure
    from rheobase.measure.figure import write_figure
    from rheobase.measure.table import refusals, table
    from rheobase.training.files import claim, write_json

    if seeds < 1:
        raise ValueError(f"Expected seeds >= 1, got {seeds}.")
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    chosen = rules or measure.default_rules(experiment.load_data().train.steps)
    folder = out or new_folder(f"compare-{read_call(experiment.data)[0]}")
    claim(folder, overwrite=overwrite)
    console = Console()
    rows = measure.compare(
        experiment,
        chosen,
        seeds=range(experiment.seed, experiment.seed + seeds),
        progress=lambda title: ConsoleProgress(console, title=title, lines=False),
    )
    console.print(table(rows))
    for refusal in refusals(rows):
        console.print(f"[red]{escape(refusal)}[/]", highlight=False)
    write_json(folder / "results.json", measure.results(experiment, rows, command()))
    try:
        title = f"{experiment.data}, {experiment.model}, {experiment.epochs} epochs, {seeds} seed(s)"
        write_figure(folder / "compare.png", rows, title)
    except ImportError as error:
        fail(str(error))
    console.print(f"Written to {folder}.", highlight=False)
    return 0


def evaluate(folder: Folder) -> int:
    """Print the test accuracy of the best weights of a run.

    Args:
        folder: of the run.
    """
    experiment, data, model = load_run(folder)
    device = device_named(experiment.device)
    accuracy = accuracy_of(
        model, data.test, batch_size=experiment.batch_size, device=device, chunk=experiment.chunk
    )
    Console().print(f"test accuracy {100 * accuracy:.2f} % of {len(data.test)} samples", highlight=False)
    return 0


def show_list(kind: Annotated[Kind | None, tyro.conf.Positional] = None) -> int:
    """List what there is to choose from, one line each, with the options and their defaults.

    Args:
        kind: all of them by default.
    """
    from rheobase.cli.catalogue import catalogue

    console = Console(highlight=False, soft_wrap=True)
    for title, entries in catalogue().items():
        if kind in (None, title):
            console.print(f"[bold]{title}[/]")
            for name, (line, call) in entries.items():
                console.print(f"  [cyan]{name:<22}[/] {escape(line)}")
                if kind and call != name:
                    console.print(f"  {'':<22} [dim]{escape(call)}[/]")
    return 0


COMMANDS = {"train": train, "compare": compare, "evaluate": evaluate, "resume": go_on, "list": show_list}


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name; its exit code."""
    code = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="rheobase", description="Train spiking networks with many learning rules.", args=arguments,
        sort_subcommands=False, registry=registry(),
    )  # fmt: skip
    assert isinstance(code, int)
    return code


def registry() -> tyro.constructors.ConstructorRegistry:
    """On the command line a rule is its text."""
    made = tyro.constructors.ConstructorRegistry()

    @made.primitive_rule
    def rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[str] | None:
        if info.type != (str | Rule):
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="RULE",
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: True,
            str_from_instance=lambda value: [rule_text(value)],
        )

    return made


def with_data_options(experiment: Experiment, **options: int | None) -> Experiment:
    """The experiment with the options that are not None written into its data text."""
    name, own = read_call(experiment.data)
    given = {option: value for option, value in options.items() if value is not None}
    twice = own.keys() & given.keys()
    if twice:
        raise ValueError(f"{sorted(twice)[0]} is given twice: in --data {experiment.data!r} and by its own flag.")
    text = ", ".join(f"{option}={value!r}" for option, value in (own | given).items())
    return replace(experiment, data=f"{name}({text})") if text else experiment


def new_folder(what: str) -> Path:
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{what}"


def command() -> list[str]:
    return ["rheobase", *sys.argv[1:]]


def interrupted(folder: Path) -> int:
    fail(f"Stopped. The epochs done so far are in {folder}; go on with `rheobase resume {folder}`.")
    return 130


def show(console: Console, report: Report, folder: Path) -> None:
    console.print(
        f"[bold]test accuracy {100 * report.test_accuracy:.2f} %[/] with the weights of epoch {report.best_epoch} "
        f"(validation {100 * report.validation_accuracy:.2f} %), {report.seconds:.1f} s of training. Written to {folder}.",
        highlight=False,
    )

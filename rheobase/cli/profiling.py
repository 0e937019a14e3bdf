"""The commands `rheobase profile` and `rheobase plan`: what a model costs, and what fits."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from torch import Tensor, nn

from rheobase.chunks import Chunk, budget
from rheobase.cli.flags import DEFAULT, Flags, Limit, Out, Overwrite, Steps, command, new_folder, with_data_options
from rheobase.cli.screen import WIDE
from rheobase.datasets import Data, FlowData
from rheobase.distributed import device_named
from rheobase.measure.plan import RULES
from rheobase.measure.plan import plan as planned
from rheobase.measure.plan_table import plan_table
from rheobase.measure.profile import Energy
from rheobase.measure.profile import profile as profiled
from rheobase.measure.profile_files import results, write_plan, write_profile
from rheobase.measure.profile_table import Order, assumptions, layer_table, rule_table
from rheobase.precision import Precision
from rheobase.training import Experiment, load_run
from rheobase.training.choice import read_call
from rheobase.training.environment import threads as use_threads
from rheobase.training.evaluate import initial_model, read_experiment
from rheobase.training.files import claim
from rheobase.training.free_memory import free_bytes
from rheobase.training.need import DENSE
from rheobase.training.out_of_memory import SHARE
from rheobase.units import size

Run = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")]
MOMENTS = {"adam": 2, "adamw": 2}
PRICES = Energy()


def profile(
    run: Run = None,
    experiment: Flags = DEFAULT,
    rules: tuple[str, ...] = (),
    sort: Order = "place",
    energy: Energy = PRICES,
    steps: Steps = None,
    limit: Limit = None,
    threads: int = 1,
    out: Out = None,
    overwrite: Overwrite = False,
) -> int:
    """What each layer computes, holds and takes, by one batch of data, and what rules take; table, JSON, CSV.

    Args:
        run: a run's folder: profile its best weights, in eval mode, with its settings; these flags are then idle.
        experiment: the model, the data and the loss; the weights are those it would start from, in train mode.
        rules: whose memory and time to measure, such as --rules bptt sltt; the experiment's own by default.
        sort: layers in the model's order, or the dearest first.
        energy: the prices of operations, in picojoules.
        threads: of the CPU.
    """
    if run is None:
        experiment = with_data_options(experiment, steps=steps, limit=limit)
    elif experiment != DEFAULT or steps or limit:
        raise ValueError(f"{run} has settings of its own: leave out the flags of the experiment, or the RUN.")
    else:
        experiment = read_experiment(run)
    made = [replace(experiment, rule=rule).learning_rule() for rule in rules or [experiment.rule]]
    with use_threads(threads):
        data, model = _made(experiment) if run is None else load_run(run)[1:]
        model.train(run is None)
        xs, target = _batch(experiment, data, experiment.batch_size)
        folder = _folder("profile", experiment, out, overwrite)
        with Precision(experiment.precision, xs.device).autocast():
            found = profiled(model, xs, target, loss=experiment.loss_function(), rules=made, energy=energy)
    console, wide = Console(), Console(width=WIDE)
    wide.print(layer_table(found, sort))
    console.print(f"{assumptions(found)}\n", highlight=False)
    wide.print(rule_table(found))
    _say_refusals(console, {rule.rule: rule.refusal for rule in found.rules})
    write_profile(folder, results(experiment, found, command()), found)
    console.print(f"Written to {escape(str(folder))}.", highlight=False)
    return 0


def plan(
    experiment: Flags = DEFAULT,
    memory: str | None = None,
    rules: tuple[str, ...] = RULES,
    chunks: tuple[str, ...] = (),
    steps: Steps = None,
    limit: Limit = None,
    threads: int = 1,
    out: Out = None,
    overwrite: Overwrite = False,
) -> int:
    """What rules would need for a batch, foretold from small ones, which fit into memory, and which to take.

    Args:
        experiment: what is to be trained, with its --batch-size and --optimizer.
        memory: to stay within, such as 8GiB; by default 0.7 of what is free.
        rules: to choose from.
        chunks: steps computed together, such as --chunks 1 8 auto; by default each rule's own, and 1.
        threads: of the CPU.
    """
    experiment = with_data_options(experiment, steps=steps, limit=limit)
    if experiment.rule != DEFAULT.rule or experiment.chunk is not None:
        raise ValueError("A plan looks at several rules and chunks: say which by --rules and --chunks.")
    within = _bytes(memory, experiment)
    paces: tuple[Chunk, ...] = tuple(int(chunk) if chunk.isdigit() else chunk for chunk in chunks) or (None, 1)
    with use_threads(threads):
        data, model = _made(experiment)
        xs, target = _batch(experiment, data, 2 * max(2, experiment.batch_size // DENSE))
        folder = _folder("plan", experiment, out, overwrite)
        moments = MOMENTS.get(experiment.optimizer, int(experiment.momentum > 0))
        with Precision(experiment.precision, xs.device).autocast():
            found = planned(
                model.train(), xs, target, loss=experiment.loss_function(), budget=within,
                batch_size=experiment.batch_size, rules=rules, chunks=paces, moments=moments,
            )  # fmt: skip
    console = Console(highlight=False)
    Console(width=WIDE).print(plan_table(found))
    _say_refusals(console, {choice.rule: choice.refusal for choice in found.choices})
    console.print(
        f"\nBatches of {found.batch_size} samples, {found.steps} steps each, within {size(within)}; the peaks have the "
        f"model and its optimiser ({size(found.resident)}) and the batch itself in them. Times are drawn out from a "
        "sixteenth and a half of the batch: expect a factor of 1.5.\n"
    )
    console.print(f"[bold]{'Nothing fits' if found.recommended is None else 'Take ' + escape(found.recommended)}.[/]")
    console.print(escape(found.reason))
    write_plan(folder, results(experiment, found, command()))
    console.print(f"Written to {escape(str(folder))}.")
    return 0


def _made(experiment: Experiment) -> tuple[Data | FlowData, nn.Module]:
    """The data, and the model with the weights that the experiment starts from."""
    data = experiment.load_data()
    return data, initial_model(experiment, data, device_named(experiment.device))


def _batch(experiment: Experiment, data: Data | FlowData, samples: int) -> tuple[Tensor, Tensor]:
    order = torch.Generator().manual_seed(experiment.seed)
    count = min(samples, len(data.train))
    return next(iter(data.train.batches(count, generator=order, device=device_named(experiment.device))))


def _folder(what: str, experiment: Experiment, out: Path | None, overwrite: bool) -> Path:
    folder = out or new_folder(f"{what}-{read_call(experiment.model)[0]}")
    claim(folder, overwrite=overwrite)
    return folder


def _bytes(memory: str | None, experiment: Experiment) -> int:
    if memory is None:
        free = free_bytes(device_named(experiment.device))
        if free is None:
            raise ValueError("Nobody knows how much memory is free here: say it, such as --memory 8GiB.")
        return int(SHARE * free)
    try:
        return budget("" if memory == "auto" else memory)
    except ValueError as error:
        raise ValueError(f'Expected --memory such as "8GiB" or "500MB", got {memory!r}.') from error


def _say_refusals(console: Console, refusals: dict[str, str | None]) -> None:
    for rule, refusal in refusals.items():
        if refusal is not None:
            console.print(f"[red]{escape(rule)}: {escape(refusal)}[/]", highlight=False)

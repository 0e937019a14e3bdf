"""How far what `rheobase plan` foretells is from what is measured: `python -m benchmarks.planner --out FOLDER`.

Writes planner.json and planner.md. The probes see a sixteenth and an eighth of the batch, the measurement all of it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.machine import described
from benchmarks.nets import NETS
from benchmarks.ours import KIT
from benchmarks.task import Task
from rheobase.allocations import peak_bytes
from rheobase.measure.plan import RULES
from rheobase.measure.plan_time import seconds_needed, timed
from rheobase.training import rule_named
from rheobase.training.need import DENSE, need

STEPS = {"mlp": (4, 16, 64), "recurrent": (4, 16), "vgg": (4, 16), "resnet18": (4, 16)}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """Foretold and measured, of one `backward`: the most bytes allocated, and seconds."""

    net: str
    steps: int
    batch: int
    rule: str
    foretold_bytes: float
    measured_bytes: int
    foretold_seconds: float
    measured_seconds: float

    @property
    def error(self) -> float:
        return self.foretold_bytes / self.measured_bytes - 1

    @property
    def error_of_time(self) -> float:
        return self.foretold_seconds / self.measured_seconds - 1


def compared(net: str, steps: int, text: str, quick: bool = False) -> Case:
    task, rule = Task.of(net, steps, quick, CPU), rule_named(text)
    model, samples = task.build(KIT), task.xs.shape[1]
    few = 2 * max(2, samples // DENSE)
    xs, target = task.xs[:, :few], task.y[:few]
    found = need(model, rule, xs, target, F.cross_entropy, batch_size=samples)
    assert found is not None
    seconds = seconds_needed(model, rule, xs, target, F.cross_entropy, samples).at(samples)

    def call() -> object:
        return rule.backward(model, task.xs, task.y, loss=F.cross_entropy)

    measured = timed(model, rule, task.xs, task.y, F.cross_entropy, samples)
    model.zero_grad(set_to_none=True)
    return Case(net, steps, samples, text, found.at(samples), peak_bytes(call, CPU), seconds, measured)


def cases(nets: Sequence[str], rules: Sequence[str]) -> Iterator[Case]:
    for net in nets:
        for steps in STEPS[net]:
            for rule in rules:
                case = compared(net, steps, rule)
                print(f"{net} T={steps} {rule}: {case.error:+.1%} bytes, {case.error_of_time:+.0%} time", flush=True)
                yield case


def text(record: dict[str, Any]) -> str:
    found = [Case(**row) for row in record["cases"]]
    worst = max(found, key=lambda case: abs(case.error))
    factors = [max(1 + case.error_of_time, 1 / (1 + case.error_of_time)) for case in found]
    lines = [
        "# What the planner foretells, and what is measured",
        "",
        f"Made by `python -m benchmarks.planner` at {record['commit']}, {record['date'][:10]}; "
        f"{record['machine']['cpu']}, torch {record['versions']['torch']}, one thread, "
        "float32. MB is 10^6 bytes: the peak of one `backward`.",
        f"The largest error of the bytes is {worst.error:+.1%} ({worst.net}, T = {worst.steps}, {worst.rule}). "
        f"The times are off by a factor of {median(factors):.2f} in the median, {max(factors):.2f} at worst; other "
        "programs ran beside.",
        "",
        "| net | T | batch | rule | foretold MB | measured MB | error | foretold s | measured s | error |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.net} | {c.steps} | {c.batch} | {c.rule} | {c.foretold_bytes / 1e6:.2f} | {c.measured_bytes / 1e6:.2f} | "
        f"{c.error:+.1%} | {c.foretold_seconds:.3f} | {c.measured_seconds:.3f} | {c.error_of_time:+.0%} |"
        for c in found
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cpu"))
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(STEPS))
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {**described(), "cases": []}
    given.out.mkdir(parents=True, exist_ok=True)
    for case in cases(given.nets, given.rules):
        record["cases"].append(asdict(case))
        (given.out / "planner.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "planner.md").write_text(text(record))


if __name__ == "__main__":
    main()

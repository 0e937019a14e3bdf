"""Runs the cases of a suite: memory first, then times, interleaved in groups that fit into memory."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.cases import PLAIN_REFERENCES, REFERENCES, Case
from benchmarks.nets import NETS
from benchmarks.pool import Worker, interleaved, memory_of_case
from benchmarks.worker import Job

PROCESS = 300 * 2**20  # bytes of a process that has imported everything, and on a GPU of its context
SHARE = 0.8  # of the free memory that may be used


@dataclass(frozen=True)
class Suite:
    """What is run. steps: None for each net's own."""

    nets: tuple[str, ...]
    cases: tuple[Case, ...]
    allocators: tuple[str, ...]
    steps: tuple[int, ...] | None = None
    repeats: int = 7
    warmup: int = 2
    threads: int = 2
    device: str = "cpu"
    quick: bool = False
    memory: bool = True
    times: bool = True

    def places(self) -> Iterator[tuple[str, int]]:
        for net in self.nets:
            for steps in self.steps or ((2, 4) if self.quick else NETS[net].steps):
                yield net, steps


def run(suite: Suite, out: Path, say: Callable[[str], None] = print) -> Path:
    """Writes `out`/results.json anew after each group of cases, so that a stopped run keeps what it has."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    results: dict[str, Any] = {
        **machine.described(),
        "quick": suite.quick,
        "device": suite.device,
        "threads": suite.threads,
        "repeats": suite.repeats,
        "warmup": suite.warmup,
        "allocators": {name: machine.ALLOCATORS[name] for name in suite.allocators},
        "memory": [],
        "times": [],
        "idle_cpu_seconds": 0.0,
    }
    for net, steps in suite.places():
        measure(suite, net, steps, results, say, save=lambda: write(results, path))
    return path


def write(results: dict[str, Any], path: Path) -> None:
    aside = path.with_suffix(".json.part")
    aside.write_text(json.dumps(results, indent=1) + "\n")
    aside.replace(path)


def measure(
    suite: Suite, net: str, steps: int, results: dict[str, Any], say: Callable[[str], None], save: Callable[[], None]
) -> None:
    """All cases of one network and T."""

    def record(kind: str, case: Case, said: dict[str, Any]) -> None:
        batch = NETS[net].batch_at(steps, suite.quick)
        place = {"net": net, "steps": steps, "batch": batch, "library": case.side, "case": case.name}
        results[kind].append(place | said)
        if said["status"] != "skipped":
            say(f"{net} T={steps} {case.key}{', ' + said['allocator'] if 'allocator' in said else ''}: {told(said)}")

    runs: list[Case] = []
    for case in [case for case in suite.cases if case.only is None or net in case.only]:
        reason = case.reason_against(net, steps)
        if reason is None:
            runs.append(case)
        else:
            record("memory", case, {"status": "skipped", "reason": reason})
    memory = memories(suite, runs, net, steps)
    for case in runs:
        record("memory", case, memory[case.key])
    save()
    able = [case for case in runs if memory[case.key]["status"] in ("ok", "not measured")]
    if not suite.times:
        return
    peaks = {key: said.get("peak") for key, said in memory.items()}
    for number, group in enumerate(groups(suite, able, net, steps, peaks)):
        workers = [Worker(job_of(suite, case, net, steps, "time"), allocator) for case, allocator in group]
        is_long = steps >= NETS[net].long_from
        idle = interleaved(workers, 0 if is_long else suite.warmup, 1 if is_long else suite.repeats)
        results["idle_cpu_seconds"] = round(results["idle_cpu_seconds"] + idle, 2)
        for (case, allocator), worker in zip(group, workers, strict=True):
            record("times", case, {"allocator": allocator, "group": number} | told_by(worker))
        save()


def told_by(worker: Worker) -> dict[str, Any]:
    if worker.failure is not None:
        return worker.failure
    middle = median(worker.seconds)
    return {"status": "ok", "median": middle, "seconds": worker.seconds, "first_loss": worker.loss}


def memories(suite: Suite, cases: list[Case], net: str, steps: int) -> dict[str, dict[str, Any]]:
    """What each case's memory process says, by the case's key; two at a time, as bytes do not depend on the load."""
    if not suite.memory:
        return {case.key: {"status": "not measured"} for case in cases}
    jobs = [job_of(suite, case, net, steps, "memory") for case in cases]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(memory_of_case, jobs))
    return {job.case: {"status": "ok"} | answer for job, answer in zip(jobs, said, strict=True)}


def job_of(suite: Suite, case: Case, net: str, steps: int, mode: str) -> Job:
    return Job(case.key, net, steps, suite.device, suite.threads, suite.quick, mode)


def told(row: dict[str, Any]) -> str:
    if "median" in row:
        return f"{row['median']:.4f} s"
    if "kept" in row:
        return f"kept {row['kept'] / 1e6:.1f} MB, peak {row['peak'] / 1e6:.1f} MB"
    return f"{row['status']} {row.get('reason', '')}"


def groups(
    suite: Suite, cases: list[Case], net: str, steps: int, peaks: dict[str, int | None]
) -> list[list[tuple[Case, str]]]:
    """The cases under each allocator, in groups that fit into memory; the reference cases are in every group."""
    task_bytes = 4 * NETS[net].elements(steps, suite.quick)
    limit = SHARE * machine.available_memory(suite.device)
    unknown = task_bytes * (600 if NETS[net].images else 6)  # about what BPTT keeps
    known = [peak for peak in peaks.values() if peak is not None]

    def peak(case: Case) -> int:
        return peaks.get(case.key) or max(known, default=unknown)

    def size(group: list[tuple[Case, str]]) -> float:
        """One worker at a time is at its peak; what the others hold depends on the setting: freed blocks that are
        kept do not fit the next ones, so that it is more than twice the peak (5.4 GB for 2.4 GB was seen)."""
        holding = [(0.5 if a == "default" and suite.device == "cpu" else 2.3) * peak(case) for case, a in group]
        return len(group) * (PROCESS + task_bytes) + sum(holding) + max((peak(case) for case, _ in group), default=0)

    every = [(case, allocator) for case in cases for allocator in suite.allocators]
    common = [(case, a) for case, a in every if case.key in REFERENCES]
    common = common or [(case, a) for case, a in every if case.key in PLAIN_REFERENCES]
    made, now = [], list(common)
    for pair in every:
        if pair in common:
            continue
        if len(now) > len(common) and size([*now, pair]) > limit:
            made.append(now)
            now = list(common)
        now.append(pair)
    if len(now) > len(common) or not made:
        made.append(now)
    return made

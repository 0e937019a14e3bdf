"""One case in a process of its own: waits for a line, makes a step, answers with its time. Or measures memory."""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.cases import case_of
from benchmarks.memory import measured
from benchmarks.nets import NETS
from benchmarks.task import Step, Task, unmarked

SHORT = 8  # steps of the warm-up where the sequence is long


@dataclass(frozen=True)
class Job:
    """What a worker does. mode: "time" or "memory"."""

    case: str
    net: str
    steps: int
    device: str
    threads: int
    quick: bool
    mode: str


def made(job: Job, steps: int) -> tuple[Step, Task]:
    task = Task.of(job.net, steps, job.quick, torch.device(job.device))
    return case_of(job.case).build(task), task


def seconds_of(step: Step, device: str) -> tuple[float, float]:
    """The step's time and its loss; on CUDA between two events."""
    if device == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        loss = step(unmarked)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000, float(loss)
    began = time.perf_counter()
    loss = step(unmarked)
    return time.perf_counter() - began, float(loss)


def work(job: Job, say: Callable[[dict[str, Any]], None]) -> None:
    torch.set_num_threads(job.threads)
    if job.mode == "memory":
        step, task = made(job, job.steps)
        say(asdict(measured(step, task)))
        return
    if job.steps >= NETS[job.net].long_from:
        made(job, SHORT)[0](unmarked)
    step, _ = made(job, job.steps)
    say({"ready": True})
    for _ in sys.stdin:
        seconds, loss = seconds_of(step, job.device)
        say({"seconds": seconds, "loss": loss})


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    warnings.simplefilter("ignore")

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        work(Job(**json.loads(sys.argv[1])), say)
    except Exception as error:  # noqa: BLE001 (a case that fails is a result, told to the driver)
        out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("spikingjelly")
        status = "skipped" if missing else "out of memory" if out_of_memory else "error"
        say({"status": status, "reason": f"{type(error).__name__}: {error}".splitlines()[0]})


if __name__ == "__main__":
    main()

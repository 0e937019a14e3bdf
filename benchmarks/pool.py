"""The worker processes: started with their allocator setting, asked for one step at a time, idle in between."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import ALLOCATORS, MANAGED
from benchmarks.worker import Job

PATIENCE = 3600.0  # seconds for one answer
PAUSE = 0.02  # seconds before each step: threads that wait for work spin for some milliseconds, then sleep


def environment(job: Job, allocator: str) -> dict[str, str]:
    """Ours, without allocator and waiting settings from outside, with those of `allocator`."""
    kept = {name: value for name, value in os.environ.items() if name not in MANAGED}
    threads = {"OMP_NUM_THREADS": str(job.threads), "MKL_NUM_THREADS": str(job.threads)}
    return kept | threads | ALLOCATORS[allocator]


class Worker:
    """One case in its own process. failure: what went wrong, None so far."""

    def __init__(self, job: Job, allocator: str) -> None:
        self.job, self.allocator = job, allocator
        self.seconds: list[float] = []
        self.loss: float | None = None
        self.failure: dict[str, str] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(job, allocator),
            start_new_session=True,  # so that helpers of its own, such as compilers, end with it
        )

    def answer(self) -> dict[str, Any] | None:
        """The next answer; None, and `failure`, where there is none."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        line = self._process.stdout.readline() if ready else b""
        said: dict[str, Any] | None = json.loads(line) if line else None
        if said is None:
            self._end()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            killed = self._process.returncode == -signal.SIGKILL and ready  # we kill only one that does not answer
            reason = "was killed by the system, as when memory runs out" if killed else " ".join(last)
            self.failure = {"status": "error", "reason": f"ended with {self._process.returncode}: {reason}"}
            self.stop()
        elif "status" in said:
            self.failure = said
            self.stop()
            return None
        return said

    def step(self, *, counts: bool) -> None:
        """Has one step made; its time is kept if it counts."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer will say what happened
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        said = self.answer()
        if said is not None:
            self.loss = self.loss if self.loss is not None else said["loss"]
            if counts:
                self.seconds.append(said["seconds"])

    def cpu_seconds(self) -> float:
        """Processor time so far, 0 where the system does not say."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._end()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def memory_of_case(job: Job) -> dict[str, Any]:
    """What a fresh process measures: kept, peak, reserved; or status and reason."""
    worker = Worker(job, "default")
    said = worker.answer()
    worker.stop()
    return said if said is not None else dict(worker.failure or {})


def interleaved(workers: list[Worker], warmup: int, repeats: int) -> float:
    """Rounds in which each worker makes one step while the others sleep.

    Returns the processor seconds that the sleeping ones took in all, which should be none.
    """
    for worker in workers:
        worker.answer()
    idle = 0.0
    for turn in range(warmup + repeats):
        for worker in [worker for worker in workers if worker.failure is None]:
            others = [other for other in workers if other is not worker and other.failure is None]
            time.sleep(PAUSE)
            before = sum(other.cpu_seconds() for other in others)
            worker.step(counts=turn >= warmup)
            idle += sum(other.cpu_seconds() for other in others) - before
    for worker in workers:
        worker.stop()
    return idle

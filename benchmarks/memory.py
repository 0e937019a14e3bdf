"""What one training step allocates, measured the same way for every side.

Autograd's hooks for saved tensors see only what goes through them, and a library that uses such hooks itself hides its
own. So the allocator is asked instead: `kept` is what is alive when the backward pass starts.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.task import Step, Task

MARK = "benchmark: backward starts"
MARKS_A_SESSION = 512  # the profiler's events are digested from time to time, or a long sequence would fill the memory


@dataclass(frozen=True)
class Memory:
    """Of one training step, in bytes beyond what was there before it (parameters, momentum, input).

    kept: the most that is alive at the start of a backward pass, parameters' gradients left out.
    peak: the most that is allocated at any moment. reserved: CUDA's allocator holds as much; None on the CPU.
    """

    kept: int
    peak: int
    reserved: int | None = None


def measured(step: Step, task: Task) -> Memory:
    """The second step's memory; the first one makes what stays, such as momentum."""
    step(lambda: None)
    for net in task.built:
        net.zero_grad(set_to_none=True)
    gc.collect()
    return (on_cuda if task.device.type == "cuda" else on_cpu)(step, lambda: gradient_bytes(task))


def gradient_bytes(task: Task) -> int:
    parameters = {p for net in task.built for p in net.parameters()}
    return sum(p.grad.untyped_storage().nbytes() for p in parameters if p.grad is not None)


def on_cuda(step: Step, gradients: Callable[[], int]) -> Memory:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, held = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    kept = [0]
    step(lambda: kept.append(torch.cuda.memory_allocated() - before - gradients()))
    torch.cuda.synchronize()
    peak, reserved = torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved() - held
    return Memory(max(kept), peak, reserved)


def on_cpu(step: Step, gradients: Callable[[], int]) -> Memory:
    ledger = Ledger(gradients)
    ledger.open()
    step(ledger.mark)
    ledger.close()
    return Memory(ledger.kept, ledger.peak)


class Ledger:
    """Follows PyTorch's CPU allocations through its profiler; memory that oneDNN takes by itself is not seen."""

    def __init__(self, gradients: Callable[[], int]) -> None:
        self._gradients, self._at_marks = gradients, list[int]()
        self.now = self.peak = self.kept = 0
        self._profiler: torch.profiler.profile | None = None

    def open(self) -> None:
        self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
        self._profiler.start()

    def mark(self) -> None:
        self._at_marks.append(self._gradients())
        with torch.profiler.record_function(MARK):
            pass
        if len(self._at_marks) == MARKS_A_SESSION:
            self.close()
            self.open()

    def close(self) -> None:
        assert self._profiler is not None
        self._profiler.stop()
        inner = self._profiler.profiler
        assert inner is not None
        assert inner.kineto_results is not None
        events: list[Any] = [event for event in inner.kineto_results.events() if event.name() in ("[memory]", MARK)]
        gradients = iter(self._at_marks)
        for event in sorted(events, key=lambda event: event.start_ns()):
            if event.name() == MARK:
                self.kept = max(self.kept, self.now - next(gradients))
            else:
                self.now += event.nbytes()
                self.peak = max(self.peak, self.now)
        self._profiler = None
        self._at_marks.clear()

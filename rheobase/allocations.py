"""What a call allocates, byte by byte."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes allocated on `device` while `call` runs, beyond those allocated before."""
    if device.type != "cuda":
        return most_of(allocations(call))
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def allocations(call: Callable[[], object]) -> list[int]:
    """The bytes of each allocation (positive) and release (negative) on the CPU while `call` runs, in order of time.

    What oneDNN and other libraries take by themselves is not seen.
    """
    gc.collect()  # what is let go of meanwhile should be the call's own
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    run_under(profiler, call)
    return changes(profiler)


def run_under(profiler: torch.profiler.profile, call: Callable[[], object]) -> None:
    """Runs `call` with the profiler on, without what it writes of itself."""
    with quiet_stderr():
        profiler.start()
    try:
        call()
    finally:
        with quiet_stderr():
            profiler.stop()


def changes(profiler: torch.profiler.profile) -> list[int]:
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    assert results is not None
    events: list[Any] = [event for event in results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def most_of(sizes: list[int]) -> int:
    """The largest running sum, at least 0."""
    now = most = 0
    for size in sizes:
        now += size
        most = max(most, now)
    return most


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Inside, what C code writes to standard error is dropped: the profiler reports its own start and stop there."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)

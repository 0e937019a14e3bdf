"""Where and with what a run was made."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from rheobase.training.sources import commit, own_commit
from rheobase.version import __version__

PACKAGES = ("numpy", "safetensors", "scikit-learn", "scipy", "h5py", "pillow")  # whose versions may change numbers
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def environment(device: torch.device, command: Sequence[str] | None = None, *, processes: int = 1) -> dict[str, Any]:
    """Versions, machine, threads, date, commits and command line; no name of the machine or of a person.

    commit: of the repository around the working folder, "-dirty" added when files differ; None outside one.
    rheobase_commit: of rheobase's own checkout; None for an installed package.
    """
    return {
        "command": list(sys.argv if command is None else command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(Path.cwd()),
        "rheobase_commit": own_commit(),
        "device": device_name(device),
        "cpu": cpu_name(),
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of all that may change a number, where it is installed."""
    found = {"rheobase": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if torch.version.cuda is not None:
        found |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return found


def differences(stored: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """What of the settings `stored` with a run is another in `present`, as "torch 2.12.0 then, 2.13.0 now".

    Commits, machine, threads, versions, and the options of what is "resolved"; what was not stored is not compared.
    """
    names = ("commit", "rheobase_commit", "device", "cpu", "system", "threads", "processes")
    then, now = ({name: known[name] for name in names if name in known} for known in (stored, present))
    for group in ("versions", "resolved"):
        if isinstance(stored.get(group), dict):
            then, now = then | stored[group], now | present[group]
    return [
        f"{name.replace('_', ' ')} {value} then, {now.get(name)} now"
        for name, value in then.items()
        if value != now.get(name)
    ]


def cpu_name() -> str:
    """The processor's model where the system tells, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def peak_memory(device: torch.device) -> int | None:
    """The most bytes held so far: by torch on a GPU, by the whole process on the CPU; None where no one tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Inside, torch uses deterministic algorithms alone, and raises RuntimeError where there is none; restored after.

    Costs speed on a GPU. On the CPU runs are repeatable without it. `on=False` changes nothing.
    """
    if not on:
        yield
        return
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    flags, workspace = (cudnn.deterministic, cudnn.benchmark), os.environ.get(CUBLAS)
    try:
        os.environ[CUBLAS] = workspace or ":4096:8"
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        cudnn.deterministic, cudnn.benchmark = flags
        if workspace is None:
            os.environ.pop(CUBLAS, None)
        else:
            os.environ[CUBLAS] = workspace


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes on `count` CPU threads; None changes nothing."""
    if count is not None and count < 1:
        raise ValueError(f"Expected threads >= 1, got {count}.")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(count or before)
        yield
    finally:
        torch.set_num_threads(before)

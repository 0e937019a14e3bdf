"""What a result depends on besides the code: versions, machine, allocator settings."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864"}
ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    "keep": KEEP,  # glibc gives nothing back, so a large tensor is not paid for with page faults each time
    "keep+huge": KEEP | {"THP_MEM_ALLOC_ENABLE": "1"},
}
# What workers do not inherit. Threads wait as OpenMP does by default: a passive policy slows small networks by a third.
MANAGED = {name for setting in ALLOCATORS.values() for name in setting} | {
    "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
}  # fmt: skip
PACKAGES = ("torch", "rheobase", "spikingjelly", "numpy")


def described() -> dict[str, Any]:
    """Commit, date, versions and machine, without names of hosts or people."""
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        "machine": {
            "system": platform.system(),
            "cpu": cpu_name(),
            "cores": len_affinity(),
            "memory_gib": round(memory_of("MemTotal") / 2**30, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "cuda": torch.version.cuda,
        },
    }


def git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(("git", *arguments), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def len_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_of(entry: str) -> int:
    """Bytes of `entry` in /proc/meminfo, 16 GiB where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 16 * 2**30
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{entry}:"))


def available_memory(device: str) -> int:
    """Bytes that workers may take together."""
    free = memory_of("MemAvailable")
    return min(free, torch.cuda.mem_get_info()[0]) if device == "cuda" else free

"""Where and with what a run was made."""

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import torch

from rheobase.version import __version__


def environment(device: torch.device, command: Sequence[str] | None = None) -> dict[str, Any]:
    """Versions, device, threads, date, git commit (None outside a repository) and command line."""
    return {
        "command": list(sys.argv if command is None else command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {
            "rheobase": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": importlib.metadata.version("numpy"),
        },
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def commit() -> str | None:
    """The commit checked out in the working folder, "-dirty" added when files differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


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


def device_named(name: str) -> torch.device:
    """The device called "cpu" or "cuda"; "auto" is the GPU when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError('device="cuda", but torch finds no GPU here: use "cpu" or "auto".')
    return torch.device(name)

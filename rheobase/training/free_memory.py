"""How many bytes a process can still allocate."""

import ctypes
import gc
import resource
import traceback
from pathlib import Path

import torch

_UNLIMITED = 2**62  # control groups write "no limit" as a number near 2^63


def let_go(error: BaseException | None, device: torch.device) -> None:
    """Frees what the failed computation behind `error` still holds, and gives unused blocks back to the system."""
    if error is not None:
        traceback.clear_frames(error.__traceback__)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)


def free_bytes(device: torch.device) -> int | None:
    """The least that any limit on this process leaves for `device`; None where no limit is known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [_of_address_space(), _of_machine(), *left_by_control_groups()]
    return min((max(limit, 0) for limit in limits if limit is not None), default=None)


def _of_address_space() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _text(Path("/proc/self/statm"))
    if limit == resource.RLIM_INFINITY or used is None:
        return None
    return limit - int(used.split()[0]) * resource.getpagesize()


def _of_machine() -> int | None:
    lines = (_text(Path("/proc/meminfo")) or "").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def left_by_control_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The bytes left by the limits of the process's group and of all above it, in version 2 and 1.

    own: the file that names the groups. root: the folder they are in.
    """
    found = []
    for line in (_text(own) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            found += _left(group, *names)
            group = group.parent
    return found


def _left(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """cache: what memory.stat calls the file pages that the system can drop at once."""
    most, now = _text(group / limit), _text(group / usage)
    if most is None or now is None or most == "max" or int(most) >= _UNLIMITED:
        return []
    stat = dict(line.split() for line in (_text(group / "memory.stat") or "").splitlines())
    return [int(most) - int(now) + int(stat.get(cache, 0))]


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None

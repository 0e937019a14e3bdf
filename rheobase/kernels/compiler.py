"""C code to functions, through the system's own compiler, kept in the cache folder."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# No contraction: a * b + c is rounded twice, as PyTorch rounds it, so that the spikes are the same.
_FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC")

_log = logging.getLogger("rheobase")


@cache
def compiler() -> str | None:
    """The C compiler: $CC, else cc, gcc or clang; None where there is none, or with RHEOBASE_KERNELS=off."""
    if os.environ.get("RHEOBASE_KERNELS", "on") == "off":
        return None
    names = [name for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name]
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        _log.warning(
            "Rheobase found no C compiler (cc, gcc, clang or $CC), so neurons run as plain PyTorch: the same results, "
            "slower. Install one, or set RHEOBASE_KERNELS=off to hide this notice."
        )
    return found


def _is_own(file: Path) -> bool:
    """Whether this user wrote the file: code that someone else left in the cache folder is not run."""
    return sys.platform == "win32" or file.stat().st_uid == os.getuid()


@cache
def compiled_code(source: str) -> ctypes.CDLL | None:
    """The compiled source, from the cache folder if it is there; None, with one notice, if the compiler fails."""
    cc = compiler()
    if cc is None:
        return None
    threads = _openmp()
    flags = [*_FLAGS, *(["-fopenmp"] if threads else ["-fopenmp-simd"])]
    name = hashlib.sha256("\0".join([source, cc, *flags, *threads, _machine()]).encode()).hexdigest()[:24] + ".so"
    folder = _folder()
    try:
        if (folder / name).is_file() and _is_own(folder / name):
            try:
                return ctypes.CDLL(str(folder / name))
            except OSError:  # damaged
                pass
        _compile(source, cc, flags, threads, folder / name)
        return ctypes.CDLL(str(folder / name))
    except (OSError, subprocess.SubprocessError) as error:
        if cc not in _failed:
            _failed.add(cc)
            detail = getattr(error, "stderr", None) or error
            _log.warning("Rheobase could not compile a kernel, so its neurons run as plain PyTorch, slower: %s", detail)
        return None


_failed: set[str] = set()  # compilers of which a notice has told


def _compile(source: str, cc: str, flags: list[str], threads: list[str], path: Path) -> None:
    """Written aside and renamed, so that processes may do this at once."""
    with tempfile.TemporaryDirectory(dir=path.parent) as aside:
        code, made, built = (Path(aside) / f"kernel.{suffix}" for suffix in ("c", "o", "so"))
        code.write_text(source)
        for native in (["-march=native", "-mprefer-vector-width=512"], ["-march=native"], ["-mcpu=native"], []):
            compiled = _ran([cc, *flags, *native, "-c", str(code), "-o", str(made)])
            if compiled.returncode == 0:
                break
        compiled.check_returncode()
        # Linked without -fopenmp, which would add the compiler's own OpenMP library.
        _ran([cc, "-shared", str(made), "-o", str(built), *threads, "-lm"]).check_returncode()
        os.replace(built, path)


def _ran(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _folder() -> Path:
    folder = Path(os.environ.get("RHEOBASE_CACHE") or "~/.cache/rheobase").expanduser() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except OSError:
        return _private_folder()


@cache
def _private_folder() -> Path:
    """Where the cache folder cannot be written: one that lasts as long as the process."""
    folder = tempfile.TemporaryDirectory(prefix="rheobase-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list["tempfile.TemporaryDirectory[str]"] = []


def _openmp() -> list[str]:
    """The OpenMP library that PyTorch has loaded: a second one would fight it for the cores. Empty if none is found."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return []
    paths = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "/libgomp" in line}
    return sorted(paths, key=lambda path: "/torch/" not in path)[:1]


@cache
def _machine() -> str:
    """What compiled code may depend on: the kind of processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return "\n".join([platform.machine(), platform.platform(), *(x for x in lines if x.startswith("flags"))][:3])

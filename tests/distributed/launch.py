"""Starts two processes as a user would."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent


def torchrun(*command: str | Path, seconds: float = 240, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine, at any free port; more `seconds` would be a hang."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, command)],
        env={**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
    )

"""Processes that die: forked, and killed where a test says."""

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import rheobase

KILLS = 20
TESTS = Path(__file__).parent.parent
SAVING = tuple(str(Path(rheobase.__file__).parent / "training" / name) for name in ("files.py", "checkpoints.py"))


def in_child(work):
    """Runs `work()` in a fork of this process. Its exit code; minus the signal where one killed it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 -- the child must not go on as a second test process
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_line(number, work):
    """Runs `work()` in a child that dies before the `number`-th line of the code that saves; whether it came so far."""
    left = [number]

    def trace(frame, event, _):
        if frame.f_code.co_filename not in SAVING:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                die()
        return trace

    def traced():
        sys.settrace(trace)
        work()

    code = in_child(traced)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def apart(module, name, *arguments):
    """What `name(*arguments)` of a module of tests returns, in an interpreter of its own, which may fork."""
    program = (
        "import importlib, json, sys, torch; torch.set_num_threads(1); module, name, *arguments = sys.argv[1:]; "
        "print(json.dumps(getattr(importlib.import_module(module), name)(*arguments)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, module, name, *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)

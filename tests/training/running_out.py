"""Runs out of memory in earnest: prints what is said then, and how each thing recommended fares in as much memory.

Each try is a child of one process, so that all start alike.
"""

import json
import os
import resource
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import rheobase as rb
from rheobase.losses import cross_entropy
from rheobase.training.experiment import rule_named
from rheobase.training.need import need
from rheobase.training.out_of_memory import is_out_of_memory, what_would_fit

STEPS, SAMPLES = 64, 256


def attempt(flags: list[str], limit: int) -> str:
    """What comes of one batch with such flags."""
    options = dict(zip(flags[::2], flags[1::2], strict=True))
    rule = rule_named(options.get("--rule", "bptt"))
    samples = int(options.get("--batch-size", SAMPLES))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        rule.backward(model, xs[:, :samples], target[:samples], loss=cross_entropy)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        model.zero_grad()
        return what_would_fit(model, rule, xs, target, cross_entropy, error)
    return "fits"


def needed() -> str:
    found = need(model, rb.BPTT(), xs, target, cross_entropy)
    assert found is not None
    return str(found.at(SAMPLES))


def in_child(work: Callable[[], str]) -> str:
    told, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(end, work().encode())
        os._exit(0)
    os.close(end)
    with os.fdopen(told) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"A child ended with status {status}.")
    return text


torch.set_num_threads(1)
torch.manual_seed(0)
model = rb.models.mlp((4,), 3, hidden=[4096])
xs, target = torch.rand(STEPS, SAMPLES, 4), torch.randint(3, (SAMPLES,))
for name in ("bptt", "bptt(checkpoint=True)", "sltt"):  # compiles its kernels while there is memory
    rule_named(name).backward(model, xs[:4, :2], target[:2], loss=cross_entropy)
model.zero_grad()
size = float(in_child(needed))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + int(0.75 * size)
said = in_child(partial(attempt, [], limit))
recommended = [shlex.split(line.partition(":")[0]) for line in said.splitlines()[1:]]
tries = [[flags, in_child(partial(attempt, flags, limit))] for flags in recommended]
with_more = in_child(partial(attempt, [], used + int(1.6 * size)))
json.dump({"said": said, "tries": tries, "with more memory": with_more}, sys.stdout)

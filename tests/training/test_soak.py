"""However long a run is, it holds no more memory, objects or open files than after its first epochs."""

import ctypes
import gc
import os
import resource
from dataclasses import dataclass

import pytest
import torch

from rheobase.training import Experiment, Silent, fit

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'rheobase[digits]'")
pytestmark = pytest.mark.slow
WARM = 3
MEGABYTES, OBJECTS = 4, 300


@dataclass(frozen=True)
class Held:
    """After an epoch: bytes in memory, objects that Python tracks, open files."""

    memory: int
    objects: int
    files: int


class Watch(Silent):
    """Looks after each epoch; keeps `leak` numbers of each batch, as a run with a fault would."""

    def __init__(self, leak=0):
        self.held, self.batches, self.leak, self.kept = [], 0, leak, []

    def batch(self, epoch, batch, loss, samples_per_second):
        self.batches += 1
        if self.leak:
            self.kept.append((torch.zeros(self.leak) + loss, os.dup(2) if batch == 1 else None))

    def epoch(self, record):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what tests before this one have freed would hide what this one holds
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        files = len(os.listdir("/proc/self/fd"))
        self.held.append(Held(pages * resource.getpagesize(), len(gc.get_objects()), files))

    def growth(self):
        first, last = self.held[WARM - 1], self.held[-1]
        return (last.memory - first.memory) / 1e6, last.objects - first.objects, last.files - first.files


def run(folder, rule, steps, watch, epochs=10):
    experiment = Experiment(
        data=f"digits(steps=2, limit={steps // epochs}, evaluation_limit=10)", model="mlp(hidden=[4])", rule=rule,
        optimizer="sgd", learning_rate=0.01, epochs=epochs, batch_size=1, device="cpu",
    )  # fmt: skip
    fit(experiment, folder, watch)
    assert watch.batches == steps
    return watch.growth()


def test_ten_thousand_optimiser_steps_hold_no_more_than_the_first_ones(tmp_path):
    memory, objects, files = run(tmp_path / "run", "bptt", 10_000, Watch())
    assert memory < MEGABYTES
    assert objects < OBJECTS
    assert files == 0


@pytest.mark.parametrize("rule", ["sltt(steps=1)", "ottt", "s-tllr", "rate-bp"])
def test_a_thousand_steps_of_any_rule_hold_no_more_than_the_first_ones(tmp_path, rule):
    memory, objects, files = run(tmp_path / "run", rule, 1000, Watch())
    assert memory < MEGABYTES
    assert objects < OBJECTS
    assert files == 0


def test_a_run_that_keeps_something_of_each_batch_is_noticed(tmp_path):
    watch = Watch(leak=40_000)
    memory, objects, files = run(tmp_path / "run", "bptt", 500, watch)
    for _, handle in watch.kept:
        if handle is not None:
            os.close(handle)
    assert memory > MEGABYTES
    assert objects > OBJECTS
    assert files == 7

"""Runs that are killed, damaged or told to stop, in an interpreter that trains nothing itself: its children do."""

import hashlib
import importlib
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path

import torch
from rich.console import Console
from torch import nn
from training.killing import KILLS, die, in_child

import rheobase as rb
from rheobase.cli import main
from rheobase.cli.reporting import tell_of_run
from rheobase.datasets import DATASETS
from rheobase.datasets.digits import digit_images
from rheobase.datasets.splits import WHOLE
from rheobase.models import MODELS
from rheobase.training import ConsoleProgress, Experiment, Silent, fit, resume
from rheobase.training.checkpoints import Checkpoints
from rheobase.training.files import CHECKPOINT, METRICS, REPORT, RESULT, WEIGHTS
from rheobase.transforms import RandomCrop

TIMES = ("seconds", "samples_per_second", "peak_memory")


def shaken_digits(*, steps=3, split=WHOLE):
    """Digits, cut anew each time."""
    return digit_images(steps=steps, split=split).transformed(train=(RandomCrop(8, 1),))


def forgetful(shape, classes):
    """A net with a norm, whose statistics are state, and dropout."""
    width = shape[0] * shape[1] * shape[2]
    hidden = nn.Linear(width, 12), nn.BatchNorm1d(12), rb.LIF(), nn.Dropout(0.2)
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(12, classes))


DATASETS["shaken-digits"], MODELS["forgetful"] = shaken_digits, forgetful
LONG = Experiment(
    data="shaken-digits(limit=400, evaluation_limit=30)", model="forgetful", rule="sltt(steps=2)", optimizer="sgd",
    momentum=0.9, schedule="cosine", learning_rate=0.05, epochs=4, batch_size=8, device="cpu",
)  # fmt: skip
SHORT = Experiment.of_settings(LONG.settings() | {"data": "shaken-digits(limit=16, evaluation_limit=10)", "epochs": 1})


class Counting(Silent):
    """Notes in a file how many batches are done, and dies before the `last`-th event of its Python code."""

    def __init__(self, folder, last=None):
        self.file = os.open(folder.with_suffix(".batches"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.words, self.last, self.events = [], last, 0

    def batch(self, epoch, batch, loss, samples_per_second):
        os.pwrite(self.file, f"{(epoch - 1) * 1000 + batch:9}".encode(), 0)

    def say(self, text):
        self.words.append(text)

    def event(self, *_):
        self.events += 1
        if self.events == self.last:
            die()

    def count(self, work):
        sys.setprofile(self.event)
        try:
            work()
        finally:
            sys.setprofile(None)


def start_or_go_on(experiment, folder, progress, save_every):
    """As a user would: a run that was killed before its first checkpoint is begun anew."""
    if any(folder.glob("checkpoint*.pt")):
        resume(folder, progress, save_every=save_every)
    else:
        fit(experiment, folder, progress, save_every=save_every, overwrite=True, command=["test"])


def of_run(folder):
    """What must be the same: a hash of the bytes of the weights, the metrics and the result but for the times."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    result = json.loads((folder / RESULT).read_text())
    for record in (*lines, result):
        for name in TIMES:
            record.pop(name, None)
    return [hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(), lines, result]


def position(folder):
    state = Checkpoints(folder).read(lambda _: None)
    return state["epoch"] * 1000 + state["tally"]["batches"]


def without_a_stop(experiment, folder, save_every=1000):
    """Trains in a child; how many events of Python code that takes."""

    def work():
        counting = Counting(folder)
        counting.count(lambda: start_or_go_on(experiment, folder, counting, save_every))
        folder.with_suffix(".events").write_text(str(counting.events))

    assert in_child(work) == 0
    return int(folder.with_suffix(".events").read_text())


def killed_at_random(folder, events):
    """Where each of the kills left the last checkpoint, and how many batches it cost; what came of the run."""
    draw, positions, lost = random.Random(0), [], []
    while len(positions) < KILLS:
        last, save_every = draw.randrange(1, events // 4), 1000 if len(positions) % 4 == 3 else 0

        def work(last=last, save_every=save_every):
            counting = Counting(folder, last)
            counting.count(lambda: start_or_go_on(LONG, folder, counting, save_every))

        assert in_child(work) == -signal.SIGKILL
        saved = position(folder) if any(folder.glob("checkpoint*.pt")) else 0
        done = int(folder.with_suffix(".batches").read_text() or 0)
        positions.append(saved)
        if save_every == 0 and done:
            lost.append(done - saved if done // 1000 == saved // 1000 else 0)
    in_child(lambda: start_or_go_on(LONG, folder, Silent(), 1000))
    return {"positions": positions, "lost": lost, "run": of_run(folder)}


def killed_at_the_disk(folder):
    """A short run, killed before the n-th time that a file is synced, renamed or removed, for every n."""
    real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink")}

    def dying(name, left):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                die()
            return real[name](*arguments, **options)

        return call

    found, number = [], 0
    while True:
        number += 1
        here = folder / str(number)
        here.mkdir()

        def work(here=here, number=number):
            left = [number]
            for name in real:
                setattr(os, name, dying(name, left))
            with_its_page(here)

        if in_child(work) == 0:
            return found
        assert in_child(lambda here=here: with_its_page(here)) == 0
        page = (here / REPORT).read_text()
        whole = page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n") and "reaches" in page
        leftovers = sorted(file.name for file in here.iterdir() if file.name.startswith("."))
        found.append([of_run(here), leftovers, whole])


def with_its_page(folder):
    """A short run as the command `train` makes it."""
    start_or_go_on(SHORT, folder, Silent(), 0)
    tell_of_run(Console(quiet=True), folder)


def damaged_after_a_kill(folder, events):
    """Runs killed half-way, the newest checkpoint damaged at a random place: what was said, what came of it."""
    draw, found = random.Random(1), []
    for number in range(3):
        here = folder / str(number)
        here.mkdir()
        last = draw.randrange(events // 3, 2 * events // 3)

        def until(here=here, last=last):
            counting = Counting(here, last)
            counting.count(lambda: start_or_go_on(LONG, here, counting, 0))

        assert in_child(until) == -signal.SIGKILL
        while not (here / CHECKPOINT).is_file():  # it died when only the one before had its name: go on a little
            last = events // 20
            assert in_child(until) == -signal.SIGKILL
        whole = bytearray((here / CHECKPOINT).read_bytes())
        whole[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        (here / CHECKPOINT).write_bytes(whole)

        def rest(here=here):
            counting = Counting(here)
            start_or_go_on(LONG, here, counting, 1000)
            (here / "words").write_text(json.dumps(counting.words))

        assert in_child(rest) == 0
        found.append([json.loads((here / "words").read_text()), of_run(here)])
    return found


def commanded(folder, in_batch, act, save_every):
    """What `rheobase train` leaves with and says when `act` is called in the `in_batch`-th batch."""
    said = folder.parents[1] / f"{folder.name}.said"

    def work():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr = sys.stdout = said.open("w")
        batch = ConsoleProgress.batch

        def acting(self, epoch, of_epoch, *figures):
            batch(self, epoch, of_epoch, *figures)
            if of_epoch == in_batch:
                act()

        ConsoleProgress.batch = acting
        sys.argv = ["rheobase", "train"]
        words = [f"--{name.replace('_', '-')}={value}" for name, value in LONG.settings().items() if given(name)]
        code = main(["train", *words, "--threads=1", f"--save-every={save_every}", f"--out={folder}"])
        sys.stdout.flush()
        os._exit(code)

    code = in_child(work)
    return code, said.read_text()


def told_to_stop(folder):
    """For each signal, sent in the 7th batch: exit code, where it was saved, what was said, what came of the run."""
    found = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        here = folder / number.name
        code, said = commanded(here, 7, lambda number=number: os.kill(os.getpid(), number), 1000)
        saved = position(here)
        assert in_child(lambda here=here: resume(here)) == 0
        found[number.name] = [code, saved, said, of_run(here)]
    return found


def out_of_room(folder):
    """The same where from the 7th batch on no file may be larger than 500 bytes, and where there is no folder."""
    here, limit = folder / "run", (500, resource.RLIM_INFINITY)
    code, said = commanded(here, 7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit), 0)
    saved, names = position(here), sorted(file.name for file in here.iterdir() if file.name.startswith("."))
    assert in_child(lambda: resume(here)) == 0
    (folder / "file").write_text("")
    return [code, saved, said, of_run(here), names, *commanded(folder / "file" / "run", 7, print, 0)]


def given(name):
    return getattr(LONG, name) != getattr(Experiment(), name)


def resumed_with_other_randomness(folder, events):
    """A run that is stopped early, and whose stored random state is then replaced."""

    def work():
        counting = Counting(folder / "cut", events // 2)
        counting.count(lambda: start_or_go_on(LONG, folder / "cut", counting, 0))

    assert in_child(work) == -signal.SIGKILL
    checkpoints = Checkpoints(folder / "cut")
    state = checkpoints.read(lambda _: None)
    state["random"][0]["torch"] = torch.Generator().manual_seed(5).get_state()
    checkpoints.write(state)
    in_child(lambda: start_or_go_on(LONG, folder / "cut", Silent(), 1000))
    return of_run(folder / "cut")


def import_what_runs_import(folder):
    """Imports here, once, what a child imports while it trains: that takes seconds."""

    def work():
        start_or_go_on(SHORT, folder / "first", Silent(), 0)
        (folder / "modules").write_text(json.dumps(list(sys.modules)))

    assert in_child(work) == 0
    for name in json.loads((folder / "modules").read_text()):
        if name not in sys.modules and "." in name:
            importlib.import_module(name)


def accidents(folder):
    """Everything that happens to runs here. Nothing is synced: a kill, unlike a power cut, loses no written byte."""
    folder = Path(folder)
    import_what_runs_import(folder)
    os.fsync = lambda _: None
    for name in ("random", "disk", "damage", "signals", "room", "twin"):
        (folder / name).mkdir()
    events = without_a_stop(LONG, folder / "long")
    without_a_stop(SHORT, folder / "short")
    return {
        "events": events,
        "long": of_run(folder / "long"),
        "short": of_run(folder / "short"),
        "random": killed_at_random(folder / "random" / "run", events),
        "disk": killed_at_the_disk(folder / "disk"),
        "damage": damaged_after_a_kill(folder / "damage", events),
        "signals": told_to_stop(folder / "signals"),
        "room": out_of_room(folder / "room"),
        "twin": resumed_with_other_randomness(folder / "twin", events),
    }

import io
import re

import pytest
import torch
from rich.console import Console

from rheobase.metrics import ACCURACY, ENDPOINT_ERROR, FLOW_LOSS
from rheobase.training import ConsoleProgress
from rheobase.training.health import ailments
from rheobase.training.loop import Epoch
from rheobase.training.progress import Plan, epoch_line
from rheobase.training.time_left import TimeLeft

BATCHES = 10


class Clock:
    """Tells the time it is set to."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def plan(epochs=5, done=0, train=ACCURACY, validation=ACCURACY):
    return Plan(epochs, BATCHES, done, torch.device("cpu"), train, validation)


def record(number, **changes):
    """An epoch with half of the train and three quarters of the validation samples right."""
    known = {"epoch": number, "loss": 0.25, "train_score": 0.5, "validation_score": 0.75, "samples_per_second": 1234.0}
    layers = {"firing_rates": {"2": 0.1}, "ailments": {}}
    return Epoch(**dict.fromkeys(Epoch.__dataclass_fields__, 0) | known | layers | changes)


def shown(seconds_a_batch, *, done=0, epochs=1, evaluation=0.0, terminal=False, width=200, **options):
    """What a run of that speed shows."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=width, force_terminal=terminal)
    progress = ConsoleProgress(console, now=clock, **options)
    progress.start(plan(epochs, done))
    for batch in range(done, epochs * BATCHES):
        clock.time += seconds_a_batch
        progress.batch(batch // BATCHES + 1, batch % BATCHES + 1, 0.5, 99.0)
        if batch % BATCHES == BATCHES - 1:
            clock.time += evaluation
            progress.epoch(record(batch // BATCHES + 1))
    progress.stop()
    return out.getvalue()


@pytest.mark.parametrize("done", [0, 1, 9, 10, 27])
def test_the_time_left_is_exact_at_constant_speed_wherever_the_run_goes_on(done):
    per_batch, evaluation, now = 2.0, 7.0, 0.0
    left = TimeLeft(5, BATCHES, done, now)
    evaluated = False
    for batch in range(done, 5 * BATCHES):
        now += per_batch
        left.batch(now)
        ends = batch % BATCHES == BATCHES - 1
        whole = per_batch * (5 * BATCHES - batch - 1) + evaluation * (5 - batch // BATCHES)
        if evaluated:
            assert left.seconds() == pytest.approx(whole)
        if ends:
            now += evaluation
            left.epoch(now)
            evaluated = True
            assert left.seconds() == pytest.approx(whole - evaluation)
    assert left.seconds() == 0


def test_short_epochs_are_one_plain_line_each():
    lines = shown(2.0, epochs=3).splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("batch" not in line for line in lines)


def test_long_epochs_get_a_plain_line_every_thirty_seconds():
    lines = shown(12.0).splitlines()
    assert [re.findall(r"batch (\d+)/10", line) for line in lines] == [["3"], ["6"], ["9"], []]
    assert [re.findall(r"(\S+) left", line)[0] for line in lines] == ["1:24", "0:48", "0:12", "0:00"]
    assert all("99 samples/s" in line for line in lines[:3])


def test_a_run_that_goes_on_within_an_epoch_shows_its_place_and_only_what_is_left():
    lines = shown(30.0, done=BATCHES + 7, epochs=2).splitlines()
    assert [line.split("  ")[:2] for line in lines[:3]] == [["epoch 2/2", f"batch {k}/10"] for k in (8, 9, 10)]
    assert [re.findall(r"(\S+) left", line)[0] for line in lines] == ["1:00", "0:30", "0:00", "0:00"]


def test_without_lines_a_run_is_one_line_with_its_title_and_a_sign_of_life_when_it_is_long():
    (line,) = shown(1.0, epochs=3, lines=False, title="[mine]").splitlines()
    assert line.startswith("[mine]: epoch 3/3")
    assert all(line.startswith("[mine]: epoch") for line in shown(31.0, lines=False, title="[mine]").splitlines())


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_bar_cuts_nothing_off_however_narrow_the_terminal_is(width):
    out = shown(60.0, epochs=3, terminal=True, width=width)
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)
    last = " ".join(frames.split())
    assert re.search(r"training ━+ epoch 3/3 batch 10/10 loss 0.5000 99 samples/s peak [\d,]+ MiB 0:00 left$", last)
    assert "…" not in frames


def test_messages_of_a_run_are_lines_as_they_are():
    out = io.StringIO()
    ConsoleProgress(Console(file=out, width=20)).say("checkpoint.pt is damaged [/]: took the one before")
    assert out.getvalue() == "checkpoint.pt is damaged [/]: took the one before\n"


def test_the_line_of_an_epoch_names_metrics_without_a_unit_of_their_own_and_batches_left_out():
    of_classes = epoch_line(record(3), plan(12))
    assert of_classes.startswith("epoch  3/12  loss 0.2500  train 50.00 %  validation 75.00 %  firing 10.0 %")
    of_flow = epoch_line(record(3, skipped=2), plan(12, train=FLOW_LOSS, validation=ENDPOINT_ERROR))
    assert "train flow loss 0.5000  validation endpoint error 0.750 px" in of_flow
    assert "2 batches left out" in of_flow


def line_of_layers(rates):
    """The end of the line of an epoch in which layers 0, 1, ... fired so."""
    named = {str(i): rate for i, rate in enumerate(rates)}
    out = io.StringIO()
    told = epoch_line(record(1, firing_rates=named, ailments=ailments(named)), plan())
    Console(file=out, width=500).print(told, highlight=False)
    return out.getvalue().strip().partition("firing ")[2]


def test_few_layers_have_their_rates_and_the_ill_ones_their_names():
    assert line_of_layers([0.1, 0.0, 0.95]) == "10.0 %, 0.0 %, 95.0 % (1 is dead) (2 is saturated)"
    assert line_of_layers([0.0, 0.0, 0.2]) == "0.0 %, 0.0 %, 20.0 % (0, 1 are dead)"
    assert line_of_layers([]) == "none"


def test_of_many_layers_an_epoch_tells_the_range_of_rates_a_few_names_and_a_count():
    told = line_of_layers([0.0] * 40 + [0.25] * 10 + [0.92] * 2)
    assert told == "0.0 to 92.0 % in 52 layers (0, 1, 2 and 37 more are dead) (50, 51 are saturated)"

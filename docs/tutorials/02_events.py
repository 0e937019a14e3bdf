"""
2. Events from scratch
======================

An event camera has no frames: each pixel reports by itself when it got brighter or darker. We make a few recordings
of a moving ball, write them in the format of N-MNIST, read them back, turn them into sequences, augment them, and
train a small convolutional network to tell which way the ball moves. You need ``pip install 'rheobase[plot]'``.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import rheobase as rb
from rheobase import events, plots, transforms
from rheobase.training import evaluate

size, film_frames, frame_us = 34, 60, 2_000  # pixels; frames of the film, microseconds each
ways = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
random = np.random.default_rng(0)

# %%
# A scene and a camera
# --------------------
#
# The scene is a film: a soft ball that crosses a grey background, each with its own speed, place, size and contrast.


def film(way: str) -> np.ndarray:
    """`[frames, size, size]`, intensities above 0."""
    down, right = ways[way]
    gone = (random.uniform(0.25, 0.4) * (np.arange(film_frames) - film_frames / 2))[:, None, None]
    y0, x0 = random.uniform(0.35, 0.65, 2) * size
    y, x = np.mgrid[:size, :size]
    distance = (y - y0 - down * gone) ** 2 + (x - x0 - right * gone) ** 2
    return 0.2 + random.uniform(0.4, 0.8) * np.exp(-distance / (2 * random.uniform(2.5, 4) ** 2))


# %%
# A pixel remembers the logarithm of the brightness at its last event, and sends the next one when it is off by more
# than a threshold. We add events of noise. An `rheobase.events.Events` is four arrays: time in microseconds, column,
# row, and polarity, 1 for brighter.


def filmed(scene: np.ndarray, threshold: float = 0.25, noise: int = 150) -> events.Events:
    level, found = np.log(scene[0]), []
    for number, frame in enumerate(np.log(scene[1:])):
        for polarity, change in ((1, frame - level), (0, level - frame)):
            y, x = np.nonzero(change > threshold)
            found.append((number * frame_us + random.integers(0, frame_us, len(x)), x, y, np.full(len(x), polarity)))
        level = np.where(abs(frame - level) > threshold, frame, level)
    found.append(tuple(random.integers(0, end, noise) for end in (film_frames * frame_us, size, size, 2)))
    t, x, y, p = (np.concatenate(column) for column in zip(*found, strict=True))
    return events.checked(t, x, y, p, height=size, width=size, source="our camera", sort=True)


recording = filmed(film("right"))
plots.event_cloud(recording)

# %%
# The ball is a tube in space and time: brighter at its front, darker at its back. The noise is the dust around it.
#
# A file and back
# ---------------
#
# N-MNIST keeps an event in five bytes: column, row, a bit of polarity and 23 bits of time. ``events.write_bin`` writes
# such files, and ``events.read_bin`` reads them, strictly: what is damaged is refused with the offset of what is wrong.

room = tempfile.TemporaryDirectory()
path = Path(room.name) / "right.bin"
events.write_bin(path, recording)
again = events.read_bin(path, height=size, width=size)
same = all(np.array_equal(getattr(again, name), getattr(recording, name)) for name in "txyp")
print(f"{path.stat().st_size} bytes, {len(again)} events; as written: {same}")

# %%
# Other readers are ``read_aedat2`` (DVS128, CIFAR10-DVS), ``read_aedat3`` (DVS-Gesture), ``read_npz`` and ``read_csv``
# for arrays and tables, and ``SpokenFile`` and ``MvsecFile`` for HDF5. A damaged file says so:

path.write_bytes(path.read_bytes()[:-2])
try:
    events.read_bin(path, height=size, width=size)
except ValueError as error:
    print(str(error).replace(room.name, "..."))

# %%
# From events to frames
# ---------------------
#
# A network in discrete time wants counts in time bins, ``[T, 2, H, W]``; channel 0 counts what got brighter.
# ``frames_by_time`` makes bins of equal duration, ``frames_by_count`` of equally many events, ``frames_by_window`` of
# a given length.

steps = 10
frames = events.frames_by_time(again, steps)
print("counts:", frames.shape, frames.dtype, "sum:", frames.sum())
plots.event_frames(torch.from_numpy(frames), frames=5)

# %%
# A data set of files
# -------------------
#
# Recordings go into a folder for each class, and the data set ``event-folder`` reads them from there. A tenth of those
# in ``train`` is held out for validation. Frames are made once and kept, in ``~/.cache/rheobase`` or
# ``$RHEOBASE_CACHE``.

train_recordings, test_recordings = 6, 50  # of each class


def write_folder(folder: Path, count: int) -> None:
    for way in ways:
        (folder / way).mkdir(parents=True)
        for number in range(count):
            events.write_bin(folder / way / f"{number:04}.bin", filmed(film(way)))


recordings = Path(room.name) / "recordings"
write_folder(recordings / "train", train_recordings)
write_folder(recordings / "test", test_recordings)
data = rb.datasets.load("event-folder", root=recordings, height=size, width=size, steps=steps)
room.cleanup()
print(len(data.train), "to train,", len(data.test), "to test, a step is", data.train.shape)

# %%
# Augmentation
# ------------
#
# With so few recordings a network learns them by heart. ``rheobase.transforms`` changes whole sequences: one draw for
# a sample, the same in all its frames. Think of what a change does to the label: ``EventFlip`` would turn right into
# left, so we shift and drop instead. Six draws of one recording, each with all its frames added up:

varied = data.train.transformed(transforms.Roll(pixels=6, wrap=False), transforms.EventDrop())

draws = 6
xs, target = next(iter(varied.select(torch.zeros(draws, dtype=torch.int64)).batches(draws)))
plots.event_frames(xs.sum(0), frames=draws, titles=[f"draw {draw}" for draw in range(draws)])

# %%
# The network
# -----------
#
# Plain PyTorch again. The order of the frames is what tells left from right, so the neurons have to remember: a decay
# of 0.8 is a memory of some five frames.


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 12, 5, stride=2, padding=2), nn.BatchNorm2d(12), rb.LIF(decay=0.8),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), rb.LIF(decay=0.8),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(24 * 9, data.train.classes),
    )  # fmt: skip


epochs = 20


def trained(part: rb.datasets.Sequences) -> nn.Module:
    net, rule = new_net(), rb.OTTT()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    batches = part.batches(8, generator=torch.Generator().manual_seed(0))
    for _ in range(epochs):
        for xs, target in batches:
            optimizer.zero_grad()
            rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
            optimizer.step()
    return net.eval()


plain_accuracy = evaluate(trained(data.train), data.test)
net = trained(varied)
test_accuracy = evaluate(net, data.test)
print(f"test accuracy {100 * plain_accuracy:.1f} % as recorded, {100 * test_accuracy:.1f} % with shifts and drops")

# %%
# How busy its neurons are over fifty recordings:

with rb.record(net, what=["spikes"]) as record:
    rb.run(net, next(iter(data.test.batches(50)))[0])
plots.firing_rates(record)

# %%
# The same on the command line, with recordings of your own in a folder for each class:
#
# .. code-block:: console
#
#    $ rheobase train --rule ottt --model convnet --data "event-folder(root=recordings, height=34, width=34)"
#
# Published sets come by name: ``rb.datasets.load("dvs128-gesture")``, ``"n-mnist"``, ``"cifar10-dvs"``, ``"shd"``,
# and ``rheobase data list`` says which are on this machine. ``"saccade-digits"`` needs no files: a simulated camera
# looks at digits. See :doc:`/data` and :doc:`/transforms`.

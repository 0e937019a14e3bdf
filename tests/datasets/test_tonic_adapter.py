"""Data sets of tonic's form: items of structured events and labels."""

import numpy as np
import pytest
import torch
from events.writers import recording

from rheobase.datasets.samples import in_memory
from rheobase.datasets.tonic_adapter import from_tonic
from rheobase.events import frames_by_count, frames_by_time, frames_by_window

SIZE = {"height": 20, "width": 30}
FIELDS = [("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)]


class Tonic:
    """Recordings in tonic's form, and how often they were looked at."""

    def __init__(self, recordings, labels, fields=FIELDS):
        self.recordings, self.labels, self.fields, self.looks = recordings, labels, fields, 0

    def __len__(self):
        return len(self.recordings)

    def __getitem__(self, index):
        self.looks += 1
        events = self.recordings[index]
        item = np.empty(len(events), self.fields)
        for name, _ in self.fields:
            item[name] = getattr(events, name)
        return item, self.labels[index]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def dataset():
    return Tonic([recording(seed, 500 + seed, **SIZE) for seed in range(5)], [2, 0, 1, 2, 2])


@pytest.mark.parametrize("key", [None, "mine"])
@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"framing": "count"}, lambda events: frames_by_count(events, 4)),
        ({"framing": "time"}, lambda events: frames_by_time(events, 4)),
        ({"framing": "window", "window": 50_000}, lambda events: frames_by_window(events, 50_000, 4)),
    ],
    ids=["count", "time", "window"],
)
def test_frames_are_those_of_the_events_in_memory_and_on_disk(dataset, key, options, frames):
    part = from_tonic(dataset, steps=4, classes=3, key=key, **SIZE, **options)
    assert (part.steps, part.shape, part.classes) == (4, (2, 20, 30), 3)
    assert part.targets.tolist() == dataset.labels
    for row, events in zip(in_memory(part.samples), dataset.recordings, strict=True):
        assert np.array_equal(row.numpy(), frames(events))


def test_channel_0_is_what_got_brighter(dataset):
    part = from_tonic(dataset, steps=1, classes=3, **SIZE)
    brighter = [int(events.p.sum()) for events in dataset.recordings]
    assert part.samples[:, 0, 0].sum((1, 2)).tolist() == brighter


def test_a_key_spares_the_items_and_no_key_keeps_nothing(dataset, cache):
    from_tonic(dataset, steps=4, classes=3, **SIZE)
    assert not cache.exists()
    first = from_tonic(dataset, steps=4, classes=3, key="mine", **SIZE)
    looks = dataset.looks
    assert looks == 2 * len(dataset)
    second = from_tonic(dataset, steps=4, classes=3, key="mine", **SIZE)
    assert dataset.looks == looks
    assert second.fingerprint() == first.fingerprint()
    from_tonic(dataset, steps=4, classes=3, key="other", **SIZE)
    from_tonic(dataset, steps=5, classes=3, key="mine", **SIZE)
    from_tonic(dataset, steps=4, classes=3, key="mine", framing="count", **SIZE)
    for window in (1000, 2000):
        from_tonic(dataset, steps=4, classes=3, key="mine", framing="window", window=window, **SIZE)
    assert dataset.looks == 7 * len(dataset)


def test_labels_that_were_lost_are_read_again(dataset, cache):
    from_tonic(dataset, steps=4, classes=3, key="mine", **SIZE)
    for path in cache.glob("tonic-labels*"):
        path.unlink()
    assert from_tonic(dataset, steps=4, classes=3, key="mine", **SIZE).targets.tolist() == dataset.labels


def test_recordings_of_one_row_need_no_y():
    words = [recording(seed, 200, height=1, width=70) for seed in range(2)]
    dataset = Tonic(words, [0, 1], [field for field in FIELDS if field[0] != "y"])
    part = from_tonic(dataset, steps=3, classes=2, height=1, width=70)
    assert np.array_equal(in_memory(part.samples)[1].numpy(), frames_by_time(words[1], 3))


def test_counts_above_a_byte_are_not_cut():
    events = recording(0, 1000, height=1, width=1)
    part = from_tonic(Tonic([events], [0]), steps=1, classes=1, height=1, width=1)
    assert int(part.samples.sum()) == 1000


class Framed(Tonic):
    def __getitem__(self, index):
        return torch.zeros(4, 2, 20, 30), 0


def test_what_is_of_another_form_is_refused_with_the_item(dataset):
    with pytest.raises(TypeError, match=r"item 0 .* fields t, x, y, p, got Tensor. Leave out transforms"):
        from_tonic(Framed(dataset.recordings, dataset.labels), steps=4, classes=3, **SIZE)
    with pytest.raises(TypeError, match=r"got fields \('x', 'y'\)"):
        from_tonic(Tonic(dataset.recordings, dataset.labels, FIELDS[:2]), steps=4, classes=3, **SIZE)
    with pytest.raises(ValueError, match=r"label of item 0 in 0 .. 1, a whole number, got 2"):
        from_tonic(dataset, steps=4, classes=2, **SIZE)
    with pytest.raises(ValueError, match=r"a whole number, got 'ant'.*target_transform"):
        from_tonic(Tonic(dataset.recordings, ["ant"] * 5), steps=4, classes=2, **SIZE)
    with pytest.raises(ValueError, match=r"item 0: expected y in 0 .. 9"):
        from_tonic(dataset, steps=4, classes=3, height=10, width=30)
    with pytest.raises(ValueError, match="items of at least 1, got 0"):
        from_tonic(Tonic([], []), steps=4, classes=3, **SIZE)


@pytest.mark.parametrize(("name", "factor"), [("t", 1e-6), ("x", 0.5), ("t", np.nan)])
def test_fractions_are_refused_and_whole_numbers_in_floating_point_are_not(dataset, name, factor):
    fields = [(field, np.float64 if field == name else kind) for field, kind in FIELDS]
    floating = Tonic(dataset.recordings, dataset.labels, fields)
    whole, same = (from_tonic(each, steps=4, classes=3, **SIZE) for each in (dataset, floating))
    assert whole.fingerprint() == same.fingerprint()

    class Scaled(Tonic):
        def __getitem__(self, index):
            item, label = super().__getitem__(index)
            item[name] *= factor
            return item, label

    with pytest.raises(ValueError, match=f"Expected whole numbers {name} in item 0, t in microseconds"):
        from_tonic(Scaled(dataset.recordings, dataset.labels, fields), steps=4, classes=3, **SIZE)


@pytest.mark.parametrize("options", [{"framing": "window"}, {"window": 1000}, {"framing": "count", "window": 1000}])
def test_a_window_goes_with_its_framing_alone(dataset, options):
    with pytest.raises(ValueError, match="framing='window' has a window"):
        from_tonic(dataset, steps=4, classes=3, **SIZE, **options)


def test_frames_are_tonics_with_the_channels_the_other_way_round(dataset):
    transforms = pytest.importorskip("tonic.transforms", reason="needs tonic", exc_type=ImportError)
    to_frame = transforms.ToFrame(sensor_size=(30, 20, 2), n_event_bins=5)
    part = from_tonic(dataset, steps=5, classes=3, framing="count", **SIZE)
    # tonic leaves out what its equal frames do not hold
    assert len(dataset.recordings[0]) % 5 == 0
    expected = np.asarray(to_frame(dataset[0][0]))[:, ::-1]
    assert np.array_equal(in_memory(part.samples)[0].numpy(), expected)

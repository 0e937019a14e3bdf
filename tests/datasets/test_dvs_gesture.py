"""DVS128-Gesture from files in its format: trials, slices, parts, defects."""

import numpy as np
import pytest
import torch
from events.writers import recording, write_aedat3, write_gesture_labels

from rheobase.datasets.dvs_gesture import dvs_gesture
from rheobase.datasets.samples import in_memory
from rheobase.datasets.splits import Split
from rheobase.transforms import RandomCrop, Resize

WINDOW = 75_000
# class 1 .. 11 as in the files, start and stop in milliseconds; class 8 twice, slices of 4 windows last 300 ms
TRIALS = [(1, 100, 750), (2, 800, 1050), (8, 1100, 1400), (8, 1450, 2385)]
TRAIN, TEST = ("user01_led", "user02_lab", "user03_lab"), ("user24_led", "user25_lab")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def events_of(name):
    return recording((TRAIN + TEST).index(name), 4000, start=0, stop=2_500_000)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    for name in TRAIN + TEST:
        write_aedat3(folder / f"{name}.aedat", events_of(name))
        write_gesture_labels(folder / f"{name}_labels.csv", [(c, a * 1000, b * 1000) for c, a, b in TRIALS])
    for part, names in (("train", TRAIN), ("test", TEST)):
        (folder / f"trials_to_{part}.txt").write_text("\n".join(f"{name}.aedat" for name in names) + "\n\n")
    return folder


def load(root, **options):
    return dvs_gesture(root=root, verify=False, **{"split": Split(validation=0.25), "steps": 4, **options})


def span(name, start, stop):
    """How many events of a recording have start <= t < stop, milliseconds, brighter and darker."""
    events = events_of(name)
    seen = (events.t >= start * 1000) & (events.t < stop * 1000)
    return [int((events.p[seen] == p).sum()) for p in (1, 0)]


def totals(part):
    return [row.sum((0, 2, 3)).tolist() for row in in_memory(part.samples)]


def test_a_trial_is_a_sample_of_frames_of_as_many_events_each(root):
    data = load(root)
    assert (data.test.steps, data.test.shape, data.test.classes) == (4, (2, 128, 128), 11)
    assert data.test.targets.tolist() == [0, 1, 7, 7] * 2
    assert totals(data.test) == [span(name, a, b) for name in TEST for _, a, b in TRIALS]
    first = in_memory(data.test.samples)[0].sum((1, 2, 3)).tolist()
    assert first[:3] == [sum(span(TEST[0], 100, 750)) // 4] * 3


def test_train_and_validation_are_the_trials_of_the_listed_recordings(root):
    data = load(root)
    assert (len(data.train), len(data.validation)) == (9, 3)
    expected = [span(name, a, b) for name in TRAIN for _, a, b in TRIALS]
    assert sorted(totals(data.train) + totals(data.validation)) == sorted(expected)


def test_of_a_class_that_comes_twice_the_last_is_kept_where_repeats_are_not(root):
    data = load(root, repeats=False)
    assert data.test.targets.tolist() == [0, 1, 7] * 2
    assert totals(data.test)[2] == span(TEST[0], 1450, 2385)


def slices(name):
    """Of a recording: whole slices of 300 ms, at least one; a trial's incomplete last window does not count."""
    return [
        span(name, a + 300 * k, min(a + 300 * (k + 1), a + (b - a) // 75 * 75))
        for _, a, b in TRIALS
        for k in range(max((b - a) // 300, 1))
    ]


def test_windows_cut_trials_into_slices_of_the_same_class(root):
    data = load(root, framing="window", split=Split(validation=0.1))
    assert data.test.targets.tolist() == [0, 0, 1, 7, 7, 7, 7] * 2
    assert totals(data.test) == slices(TEST[0]) + slices(TEST[1])
    events, row = events_of(TEST[0]), in_memory(data.test.samples)[1]
    for number in range(4):
        start = 400_000 + number * WINDOW
        assert int(row[number].sum()) == int(((events.t >= start) & (events.t < start + WINDOW)).sum())


def test_no_trial_has_slices_in_train_and_in_validation(root):
    data = load(root, framing="window")
    every = {name: slices(name) for name in TRAIN}
    owner = {
        tuple(cut): (name, trial)
        for name, cuts in every.items()
        for cut, trial in zip(cuts, [0, 0, 1, 2, 3, 3, 3], strict=True)
    }
    train, validation = ({owner[tuple(cut)] for cut in totals(part)} for part in (data.train, data.validation))
    assert (len(train), len(validation)) == (9, 3)
    assert not train & validation
    assert len(data.train) + len(data.validation) == 21


def test_limits_count_trials(root):
    data = load(root, framing="window", split=Split(validation=0.25, limit=4, evaluation_limit=3))
    of_class = {0: 2, 1: 1, 7: 1}
    assert len(data.train) >= sum(of_class[label] for label in set(data.train.targets.tolist()))
    assert len(data.train) < 15
    assert len(data.validation) >= 3


def test_the_papers_test_is_whole_trials_in_windows_with_empty_frames_after_them(root):
    clean, paper = (load(root, framing="window", pipeline=p, size=32) for p in ("clean", "paper"))
    assert paper.test.targets.tolist() == [0, 1, 7, 7] * 2
    assert (paper.train.steps, paper.test.steps, clean.test.steps) == (4, 935 // 75, 4)
    whole = in_memory(load(root, framing="window", pipeline="paper").test.samples)
    assert [row.sum((0, 2, 3)).tolist() for row in whole[:4]] == [
        span(TEST[0], a, a + (b - a) // 75 * 75) for _, a, b in TRIALS
    ]
    assert not whole[1, 3:].any()
    assert whole[1, 2].any()


def test_resized_counts_keep_fractions_unless_as_in_the_papers(root):
    full = load(root, framing="window").train
    clean, paper = (load(root, framing="window", pipeline=p, size=32).train for p in ("clean", "paper"))
    indices = torch.arange(5)
    xs, target = full.batch(indices, torch.Generator())
    resized, _ = Resize(32, "bilinear")(xs.double(), target, torch.Generator())
    got, rounded = (part.batch(indices, torch.Generator())[0].double() for part in (clean, paper))
    torch.testing.assert_close(got, resized, rtol=0, atol=1 / 512 + 1e-6)
    torch.testing.assert_close(rounded, resized.round(), rtol=0, atol=0)
    assert rounded.sum() < 0.1 * got.sum()


def test_the_crop_is_of_the_train_part_with_an_eighth_of_the_size(root):
    data = load(root, framing="window", size=32, augment="crop")
    assert data.train.transforms == (RandomCrop(32, 4),)
    assert data.train.shape == (2, 32, 32)
    assert load(root, size=64, augment="crop").train.transforms == (RandomCrop(64, 8),)
    assert data.validation.transforms == data.test.transforms == ()


def test_frames_are_found_again_without_the_recordings_and_made_anew_for_other_settings(root, cache):
    before = load(root).train.fingerprint()
    for path in root.glob("*.aedat"):
        path.write_bytes(b"?" * path.stat().st_size)
    assert load(root).train.fingerprint() == before
    others = [{"steps": 3}, {"size": 64}, {"framing": "window"}, {"repeats": False}, {"sort": True}]
    for options in others:
        with pytest.raises(ValueError, match=r"expected an AEDAT 3.1 file"):
            load(root, **options)
    later = [(c, 1000 * a + 1, 1000 * b) for c, a, b in TRIALS]
    write_gesture_labels(root / "user01_led_labels.csv", later)
    with pytest.raises(ValueError, match=r"expected an AEDAT 3.1 file"):
        load(root)
    assert len(list(cache.iterdir())) == 4


def test_a_damaged_recording_is_named_and_nothing_is_kept(root, cache):
    path = root / "user02_lab.aedat"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"user02_lab.aedat: truncated"):
        load(root)
    assert list(cache.iterdir()) == []


def test_a_label_where_nothing_was_recorded_is_named(root):
    write_gesture_labels(root / "user01_led_labels.csv", [(1, 9_000_000, 9_100_000)])
    with pytest.raises(ValueError, match=r"user01_led.aedat: no events of the gesture from 9000000 to 9100000"):
        load(root)


def test_lists_that_are_not_as_published_are_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r"the 98 recordings.*found 3"):
        dvs_gesture(root=root)
    listed = root / "trials_to_test.txt"
    lines = listed.read_text()
    listed.write_text(lines + "user24_led.aedat\n")
    with pytest.raises(ValueError, match=r"user24_led.aedat is listed twice"):
        load(root)
    listed.write_text(lines + "user01_led.aedat\n")
    with pytest.raises(ValueError, match=r"user01_led.aedat is listed for training and for the test"):
        load(root)
    listed.write_text(lines + "user29_led.aedat\n")
    with pytest.raises(FileNotFoundError, match=r"No file user29_led.aedat of 'dvs128-gesture'"):
        load(root)
    listed.unlink()
    with pytest.raises(FileNotFoundError, match=r"trials_to_test.txt"):
        load(root)
    with pytest.raises(FileNotFoundError, match=r"trials_to_train.txt of 'dvs128-gesture'.*ibm.ent.box.com"):
        dvs_gesture(root=tmp_path / "nowhere")


def test_a_pipeline_without_effect_is_refused(root):
    with pytest.raises(ValueError, match="no defect in the papers"):
        load(root, pipeline="paper")
    assert np.array_equal(*(load(root, pipeline="paper", **o).test.targets for o in ({"size": 32}, {"size": 64})))
    for option in ("framing", "augment", "pipeline"):
        with pytest.raises(ValueError, match=r"Unknown .* 'other'"):
            load(root, **{option: "other"})

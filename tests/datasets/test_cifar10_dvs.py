"""CIFAR10-DVS from files in its format: splits, frames, both pipelines, and what is kept."""

import numpy as np
import pytest
import torch
from events.writers import recording, write_aedat2

from rheobase.datasets.cifar10_dvs import CLASSES, cifar10_dvs, through_bytes
from rheobase.datasets.samples import in_memory
from rheobase.datasets.splits import Split
from rheobase.events import Events
from rheobase.transforms import Flip, Normalise, RandomCrop, Resize, Roll

PER_CLASS = 11
HALF = Split(validation=0.3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def events_of(label, index):
    return recording(100 * label + index, 300 + 10 * index + label)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "cifar10-dvs"
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(PER_CLASS):
            write_aedat2(folder / name / f"cifar10_{name}_{index}.aedat", events_of(label, index))
    return folder


def load(root, **options):
    return cifar10_dvs(root=root, verify=False, **{"split": HALF, "augment": "none", **options})


def by_hand(events: Events, steps: int):
    """Counts one event at a time: floor(E / steps) a frame, the rest in the last."""
    frames = np.zeros((steps, 2, 128, 128))
    for number, (x, y, p) in enumerate(zip(events.x, events.y, events.p, strict=True)):
        frames[min(number // (len(events) // steps), steps - 1), 1 - p, y, x] += 1
    return frames


def xs_of(part, index):
    return part.batch(torch.tensor([index]), torch.Generator())[0][:, 0].double().numpy()


def test_frames_of_the_sensors_size_are_the_counts_of_the_last_files_by_number(root):
    test = load(root, size=128, steps=4).test
    assert (test.steps, test.shape, test.classes) == (4, (2, 128, 128), 10)
    assert test.targets.tolist() == list(range(10))
    for label in (0, 7):
        expected = by_hand(events_of(label, PER_CLASS - 1), 4)
        assert np.array_equal(xs_of(test, label), expected)
        assert expected.sum() == 300 + 10 * (PER_CLASS - 1) + label


def test_the_first_nine_tenths_of_each_class_are_for_training_and_validation(root):
    data = load(root, size=128, steps=1)
    seen = {
        (label, int(xs.sum()))
        for part in (data.train, data.validation)
        for xs, label in zip(in_memory(part.samples), part.targets.tolist(), strict=True)
    }
    assert seen == {(label, 300 + 10 * index + label) for label in range(10) for index in range(PER_CLASS - 1)}
    assert len(data.train) + len(data.validation) == 10 * (PER_CLASS - 1)


def totals(part):
    return [int(row.sum()) for row in in_memory(part.samples)]


def test_a_random_split_draws_its_test_part_whatever_the_seed(root, cache):
    one, two = (load(root, size=128, steps=1, split_by="random", split=Split(validation=0.3, seed=s)) for s in (0, 1))
    assert len(one.test) == 11
    assert totals(one.test) == totals(two.test)
    assert totals(one.validation) != totals(two.validation)
    every = totals(one.train) + totals(one.validation) + totals(one.test)
    assert sorted(every) == sorted(300 + 10 * i + label for label in range(10) for i in range(PER_CLASS))
    assert totals(load(root, size=128, steps=1).test) != totals(one.test)
    assert len(list(cache.glob("*.npy"))) == 1


def test_clean_frames_are_resized_channel_by_channel_in_steps_of_a_256th(root):
    small, full = (xs_of(load(root, size=size, steps=4).test, 3) for size in (48, 128))
    frames, _ = Resize(48, "bilinear")(torch.from_numpy(full).unsqueeze(1), torch.zeros(1), torch.Generator())
    assert small.shape == (4, 2, 48, 48)
    np.testing.assert_allclose(small, frames.squeeze(1).numpy(), rtol=0, atol=1 / 512 + 1e-6)
    assert np.array_equal(small * 256, np.rint(small * 256))


def test_frames_by_time_are_others_than_frames_by_count(root):
    by_time, by_count = (xs_of(load(root, size=128, steps=4, framing=f).test, 0) for f in ("time", "count"))
    assert by_time.sum() == by_count.sum()
    assert not np.array_equal(by_time, by_count)
    events = events_of(0, PER_CLASS - 1)
    quarter = (events.t - events.t[0]) * 4 // (events.t[-1] - events.t[0]) == 1
    assert by_time[1].sum() == quarter.sum()


def test_the_papers_pipeline_is_pillows_with_brighter_as_the_opacity_of_darker(root):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    counts = by_hand(events_of(2, PER_CLASS - 1), 3).astype(np.int64)
    expected = np.empty((3, 2, 48, 48))
    for frame, out in zip(counts, expected, strict=True):
        brighter, darker = (255 * frame % 256).astype(np.uint8)
        picture = image.merge("LA", [image.fromarray(darker), image.fromarray(brighter)])
        out[1], out[0] = np.moveaxis(np.asarray(picture.resize((48, 48), image.Resampling.BILINEAR)), 2, 0) / 255.0
    xs = xs_of(load(root, steps=3, pipeline="paper").test, 2)
    np.testing.assert_allclose(xs, expected, rtol=0, atol=1e-7)
    assert expected.any()


def test_in_the_papers_pipeline_darker_events_far_from_brighter_ones_vanish():
    counts = np.zeros((1, 2, 128, 128), np.int32)
    counts[0, 0, 20, 20] = 3
    counts[0, 1, 100, 100] = 3
    brighter, darker = through_bytes(counts, 48)[0]
    assert brighter.sum() > 0
    assert darker.sum() == 0
    counts[0, 1, 20, 20] = 3
    assert through_bytes(counts, 48)[0, 1].sum() > 0


def test_augmentation_is_of_the_train_part_and_normalisation_of_every_part(root):
    plain, rolled, cropped = (load(root, steps=2, augment=a, pipeline="paper") for a in ("none", "roll", "crop"))
    assert plain.train.transforms == ()
    assert rolled.train.transforms == (Flip(0.5), Roll(5))
    assert cropped.train.transforms == (RandomCrop(48, 4),)
    assert rolled.validation.transforms == cropped.test.transforms == ()
    assert cropped.train.shape == (2, 48, 48)
    normal = load(root, steps=2, augment="crop", pipeline="paper", normalise=True)
    assert [type(t) for t in normal.train.transforms] == [RandomCrop, Normalise]
    brighter, darker = xs_of(normal.test, 0)[0]
    raw = xs_of(plain.test, 0)[0]
    np.testing.assert_allclose(brighter, (raw[0] - 0.1295) / 0.1290, rtol=0, atol=1e-5)
    np.testing.assert_allclose(darker, (raw[1] - 0.2728) / 0.2225, rtol=0, atol=1e-5)


def test_frames_that_are_kept_are_found_without_a_look_into_the_files(root, cache):
    before = load(root).train.fingerprint()
    for path in root.rglob("*.aedat"):
        path.write_bytes(b"?" * path.stat().st_size)
    assert load(root).train.fingerprint() == before
    with pytest.raises(ValueError, match=r"expected an AEDAT 2.0 file"):
        load(root, steps=9)
    assert len(list(cache.iterdir())) == 2


def test_every_setting_of_the_frames_is_in_their_key(root, cache):
    for number, options in enumerate(
        [{}, {"steps": 2}, {"size": 32}, {"framing": "time"}, {"pipeline": "paper"}, {"sort": True}], start=1
    ):
        load(root, **{"steps": 1, **options})
        assert len(list(cache.glob("*.npy"))) == number


def test_a_damaged_file_is_named_and_nothing_is_kept(root, cache):
    path = root / "frog" / "cifar10_frog_4.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"cifar10_frog_4.aedat: truncated at offset"):
        load(root)
    assert list(cache.iterdir()) == []


def test_missing_files_are_asked_for_and_an_incomplete_set_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'cifar10-dvs'.*rheobase data fetch cifar10-dvs"):
        cifar10_dvs(root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"airplane: expected the 1000 .aedat files.*found 11"):
        cifar10_dvs(root=root)
    (root / "bird" / "cifar10_bird_x.aedat").touch()
    with pytest.raises(ValueError, match=r"cifar10_bird_x.aedat: expected a name that ends in _INDEX"):
        load(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps of at least 1, got 0"),
        ({"framing": "window"}, "Unknown framing 'window'"),
        ({"augment": "flip"}, "Unknown augmentation 'flip'"),
        ({"pipeline": "dirty"}, "Unknown pipeline 'dirty'"),
        ({"split_by": "name"}, "Unknown split 'name'"),
        ({"normalise": True}, "pipeline='paper'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_any_file_is_read(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **options)

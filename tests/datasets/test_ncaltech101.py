"""N-Caltech101 from files in its format."""

import numpy as np
import pytest
import torch
from events.writers import recording, write_bin

from rheobase.datasets.ncaltech101 import n_caltech101
from rheobase.datasets.samples import in_memory
from rheobase.datasets.splits import Split
from rheobase.transforms import Resize

NAMES = ("BACKGROUND_Google", "Faces_easy", "ant")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("RHEOBASE_DATA", raising=False)
    return tmp_path / "kept"


def events_of(label, index):
    return recording([label, index], 200 + 20 * label + index, height=180, width=240, start=5000)


@pytest.fixture
def root(tmp_path):
    for label, name in enumerate(NAMES):
        folder = tmp_path / "Caltech101" / name
        folder.mkdir(parents=True)
        for index in range(10):
            write_bin(folder / f"image_{index + 1:04d}.bin", events_of(label, index))
    return tmp_path


def load(root, **options):
    return n_caltech101(root=root, verify=False, **{"split": Split(validation=0.2), **options})


def test_classes_are_the_folders_in_order_and_every_file_is_in_one_part(root):
    data = load(root, height=180, width=240)
    assert data.test.classes == 3
    assert (len(data.train), len(data.validation), len(data.test)) == (22, 5, 3)
    seen = [
        (label, int(row.sum()))
        for part in (data.train, data.validation, data.test)
        for row, label in zip(in_memory(part.samples), part.targets.tolist(), strict=True)
    ]
    assert sorted(seen) == [(label, 200 + 20 * label + index) for label in range(3) for index in range(10)]


def test_the_test_part_is_the_end_of_the_order_that_seed_42_draws(root):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(42))[27:]
    for seed in (0, 1):
        test = load(root, split=Split(validation=0.2, seed=seed)).test
        assert test.targets.tolist() == (order // 10).tolist()


def test_frames_are_windows_from_the_first_event_on_and_later_events_are_left_out(root):
    data = load(root, height=180, width=240, window=0.1, steps=2)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(42))[27:]
    for row, place in zip(in_memory(data.test.samples), order.tolist(), strict=True):
        events = events_of(place // 10, place % 10)
        frame = (events.t - events.t[0]) // 100_000
        assert row.sum((1, 2, 3)).tolist() == np.bincount(frame, minlength=3)[:2].tolist()
        assert int(row.sum()) < len(events)


def test_the_papers_size_has_the_mean_counts_of_merged_pixels(root):
    small, full = load(root).test, load(root, height=180, width=240).test
    assert (small.steps, small.shape) == (10, (2, 45, 60))
    indices = torch.arange(3)
    xs, _ = full.batch(indices, torch.Generator())
    expected, _ = Resize((45, 60), "bilinear")(xs.double(), torch.zeros(3), torch.Generator())
    got, _ = small.batch(indices, torch.Generator())
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1 / 512 + 1e-6)
    assert float(got.sum()) * 16 == pytest.approx(float(xs.sum()), rel=0.02)


def test_frames_are_found_again_without_the_files_content_and_made_anew_for_other_settings(root, cache):
    before = load(root).train.fingerprint()
    for path in root.rglob("*.bin"):
        path.write_bytes(b"\xff" * path.stat().st_size)
    assert load(root).train.fingerprint() == before
    for options in ({"steps": 3}, {"height": 30}, {"width": 30}, {"window": 0.02}, {"sort": True}):
        with pytest.raises(ValueError, match=r"image_0001.bin: expected x in 0 .. 239, got 255 at offset 0"):
            load(root, **options)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.0}, "window of at least 1e-6 s, got 0.0"),
        ({"window": 30}, "window in seconds, below 10, got 30"),
        ({"height": 0}, "height of at least 1, got 0"),
    ],
)
def test_a_frame_without_time_or_pixels_is_refused(root, options, message):
    with pytest.raises(ValueError, match=message):
        load(root, **options)


def test_missing_files_are_asked_for_and_an_incomplete_set_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="'n-caltech101'"):
        n_caltech101(root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"the 101 class folders.*found 3"):
        n_caltech101(root=root)

"""The HDF5 files of MVSEC, and the true flow between images."""

import numpy as np
import pytest
from events.writers import recording, same, write_mvsec

from rheobase.events import MvsecFile
from rheobase.events.flow import intervals, propagated

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'rheobase[events]'")
BEGIN = 1_506_119_776_000_000  # microseconds since 1970, as in outdoor_day1
SIZE = {"height": 8, "width": 12}


@pytest.fixture
def events():
    return recording(0, 2000, start=BEGIN, stop=BEGIN + 500_000, **SIZE)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (6, 8, 12), np.uint8)


@pytest.fixture
def times():
    return BEGIN / 1e6 + np.array([-0.01, 0.05, 0.1, 0.2, 0.3, 0.4])


@pytest.fixture
def paths(tmp_path, events, images, times):
    flows = np.full((6, 2, 8, 12), 2.0) * np.array([1.0, -0.5])[:, None, None]
    flow_times = BEGIN / 1e6 + np.arange(6) * 0.05 + 0.08
    return write_mvsec(tmp_path, "outdoor_day1", events, images, times, flows, flow_times)


def test_events_between_images_are_those_of_that_time(paths, events, times):
    with MvsecFile(paths[0]) as file:
        assert (len(file), file.height, file.width) == (6, 8, 12)
        assert np.array_equal(file.times, times)
        read = file.events(1, 3)
        assert same(read, events.between(BEGIN + 50_000, BEGIN + 200_000))
        assert 0 < len(read) < len(events)
        assert len(file.events(2, 2)) == 0


def test_parts_between_all_images_are_the_recording_up_to_the_last(paths, events):
    with MvsecFile(paths[0]) as file:
        parts = [file.events(index, index + 1) for index in range(5)]
    assert np.array_equal(np.concatenate([part.t for part in parts]), events.between(0, BEGIN + 400_000).t)


def test_images_are_those_of_the_file(paths, images):
    with MvsecFile(paths[0]) as file:
        assert all(np.array_equal(file.image(index), images[index]) for index in range(6))
        for wrong in (-1, 6):
            with pytest.raises(IndexError, match=rf"images 0 \.\. 5, not {wrong}"):
                file.image(wrong)


def test_constant_flow_moves_pixels_in_proportion_to_time(paths):
    with MvsecFile(*paths) as file:
        assert [file.has_flow(first, first + 1) for first in range(5)] == [False, False, True, True, False]
        shift, known = file.flow(2, 3)
    # 0.1 s at (2, -1) pixels in 0.05 s; what leaves the image is unknown
    assert (shift.dtype, shift.shape, known.dtype) == (np.float32, (2, 8, 12), np.bool_)
    np.testing.assert_allclose(shift[:, known], np.array([[4.0], [-2.0]]) * np.ones(known.sum()), rtol=1e-5)
    assert known[2:, :8].all()
    assert not known[:, 11].any()
    assert not shift[:, ~known].any()


def test_flow_that_is_not_known_all_the_time_is_refused(paths):
    with MvsecFile(*paths) as file, pytest.raises(ValueError, match=r"_gt\.hdf5: no true flow .* image 0 to image 1"):
        file.flow(0, 1)
    with MvsecFile(paths[0]) as file, pytest.raises(ValueError, match="no true flow"):
        file.flow(2, 3)


def test_a_share_of_each_measurement_counts():
    times = np.arange(5.0)
    assert intervals(times, 1.25, 1.5) == [(1, 0.25)]
    assert intervals(times, 0.5, 3.25) == [(0, 0.5), (1, 1.0), (2, 1.0), (3, 0.25)]
    assert intervals(times, 1.0, 2.0) == [(1, 1.0)]
    # shorter than a measurement: the published evaluation stays with the one it begins in
    assert intervals(times, 1.75, 2.25) == [(1, 0.5)]


def test_a_pixel_takes_the_flow_of_where_it_is():
    right, down = np.zeros((2, 3, 4)), np.zeros((2, 3, 4))
    right[0], down[1, :, 2] = 1, 1
    shift, known = propagated([(right, 1.0), (down, 1.0)])
    expected = np.zeros((3, 4), bool)
    expected[:, 1] = True
    assert np.array_equal(known, expected)
    assert shift[:, 0, 1].tolist() == [1, 1]
    # the flow from where the pixel was at first would be unknown
    assert not propagated([(down, 1.0), (right, 1.0)])[1][:, 1].any()


@pytest.mark.parametrize("seed", range(3))
def test_pixels_followed_one_by_one_get_to_the_same_places(seed):
    rng = np.random.default_rng(seed)
    flows = [(rng.normal(size=(2, 6, 7)) * 2, share) for share in (0.4, 1.0, 0.7)]
    shift, known = propagated(flows)
    for row in range(6):
        for column in range(7):
            x, y, inside = float(column), float(row), True
            for flow, share in flows:
                inside &= 0 <= round(x) < 7 and 0 <= round(y) < 6
                if inside:
                    dx, dy = flow[:, round(y), round(x)]
                    x, y = x + share * dx, y + share * dy
            expected = (x - column, y - row) if inside else (0, 0)
            assert known[row, column] == inside
            np.testing.assert_allclose(shift[:, row, column], expected, rtol=0, atol=1e-12)
    assert 0 < known.sum() < known.size


def test_flow_that_is_0_or_no_number_is_unknown():
    flow = np.ones((2, 2, 3))
    flow[:, 0, 0], flow[0, 0, 1], flow[1, 0, 2], flow[0, 1, 0] = 0, np.nan, 1e300, 0
    shift, known = propagated([(flow, 0.5)])
    assert known.tolist() == [[False, False, False], [True, True, True]]
    assert shift[:, 1].tolist() == [[0, 0.5, 0.5], [0.5, 0.5, 0.5]]
    assert not shift[:, 0].any()


def replaced(name, values):
    def damage(file):
        del file[f"davis/left/{name}"]
        if values is not None:
            file[f"davis/left/{name}"] = values

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replaced("events", None), "a dataset 'davis/left/events', found"),
        (replaced("events", np.zeros((9, 3))), r"events \[E, 4\], got shape \[9, 3\]"),
        (replaced("events", np.zeros((9, 4), int)), "'davis/left/events' with 2 dimensions.*'f'.* int64"),
        (replaced("image_raw", np.zeros((5, 8, 12), np.uint8)), "5 images, 6 image_raw_ts and 6 image_raw_event_inds"),
        (replaced("image_raw_ts", np.array([1.0, 2, 2, 3, 4, 5])), "'image_raw_ts' to rise, got .* at index 2"),
        (replaced("image_raw_ts", np.array([1.0, np.nan, 2, 3, 4, 5])), "'image_raw_ts' to rise, got .* at index 1"),
        (replaced("image_raw_event_inds", np.array([0, 1, 2, 3, 4, 2000])), "-1 .. 1999, got 2000 at image 5"),
        (replaced("image_raw_event_inds", np.array([0, 9, 2, 3, 4, 5])), "to rise .*got 2 at image 2"),
    ],
)
def test_another_layout_is_refused_on_opening(paths, damage, message):
    with h5py.File(paths[0], "a") as file:
        damage(file)
    with pytest.raises(ValueError, match=message) as caught:
        MvsecFile(paths[0])
    assert str(caught.value).startswith(f"{paths[0]}: ")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 12, r"x in 0 \.\. 11, got 12 at event {0}"),
        (1, -1, r"y in 0 \.\. 7, got -1 at event {0}"),
        (1, 2.5, r"x, y, time, polarity .* at event {0}"),
        (0, np.inf, r"x, y, time, polarity .* at event {0}"),
        (3, 0, r"polarity \+1 or -1 at event {0}"),
        (2, 5.0, r"says that event {0} is between images 1 and 3, but its time 5\.0"),
    ],
)
def test_a_damaged_event_is_named(paths, column, value, message):
    with h5py.File(paths[0], "a") as file:
        at = int(file["davis/left/image_raw_event_inds"][1]) + 30
        file["davis/left/events"][at, column] = value
    with MvsecFile(paths[0]) as file:
        assert len(file.events(3, 4))
        with pytest.raises(ValueError, match=message.format(at)) as caught:
            file.events(1, 3)
    assert str(caught.value).startswith(f"{paths[0]}: ")


def test_events_out_of_order_are_refused_unless_sorted(paths):
    with h5py.File(paths[0], "a") as file:
        at = int(file["davis/left/image_raw_event_inds"][1]) + 30
        file["davis/left/events"][at : at + 2] = file["davis/left/events"][at : at + 2][::-1]
        assert file["davis/left/events"][at, 2] > file["davis/left/events"][at + 1, 2]
    with MvsecFile(paths[0]) as file, pytest.raises(ValueError, match=f"out of order: .* at event {at + 1}"):
        file.events(1, 3)
    with MvsecFile(paths[0], sort=True) as file:
        assert (np.diff(file.events(1, 3).t) >= 0).all()


def test_wrong_indices_of_events_are_noticed(paths):
    with h5py.File(paths[0], "a") as file:
        file["davis/left/image_raw_event_inds"][1:] -= 7
    with MvsecFile(paths[0]) as file, pytest.raises(ValueError, match="'image_raw_event_inds' says"):
        file.events(1, 3)


def test_true_flow_of_another_size_is_refused(paths):
    with h5py.File(paths[1], "a") as file:
        replaced("flow_dist", np.zeros((6, 2, 8, 11)))(file)
    with pytest.raises(ValueError, match=r"_gt\.hdf5: expected flow_dist \[6, 2, 8, 12\], got shape \[6, 2, 8, 11\]"):
        MvsecFile(*paths)


def test_a_truncated_file_is_refused(paths):
    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"_data\.hdf5: not a complete HDF5 file"):
        MvsecFile(paths[0])

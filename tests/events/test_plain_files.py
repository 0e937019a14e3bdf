"""Events in .npz files and tables, and a recording in whichever file it is."""

import numpy as np
import pytest
from events.writers import recording, same, write_aedat2, write_aedat3, write_csv

from rheobase.events import read_csv, read_events, read_npz, write_bin, write_npz

SIZE = {"height": 100, "width": 120}
EVENTS = recording(0, 400, **SIZE)


def columns(events=EVENTS):
    return {name: getattr(events, name) for name in "txyp"}


def test_what_is_read_from_npz_is_what_was_written(tmp_path):
    write_npz(tmp_path / "a.recording", EVENTS)
    assert same(read_npz(tmp_path / "a.recording", **SIZE), EVENTS)


@pytest.mark.parametrize("titles", ["t,x,y,p", "x,y,p,t", "# p, t, y, x"])
def test_a_table_has_its_columns_in_any_order(tmp_path, titles):
    write_csv(tmp_path / "a.csv", EVENTS, titles)
    assert same(read_csv(str(tmp_path / "a.csv"), **SIZE), EVENTS)


def test_other_columns_and_arrays_are_left_alone(tmp_path):
    (tmp_path / "a.csv").write_text("name,t,x,y,p\nbird,5,1,2,0\n")
    assert [int(a[0]) for a in columns(read_csv(tmp_path / "a.csv", **SIZE)).values()] == [5, 1, 2, 0]
    np.savez(tmp_path / "a.npz", **columns(), label=3)
    assert same(read_npz(tmp_path / "a.npz", **SIZE), EVENTS)


@pytest.mark.parametrize("kind", ["f8", "i2", "?"])
def test_darker_is_0_or_minus_1_in_numbers_of_any_type(tmp_path, kind):
    darker = 0 if kind == "?" else -1
    p = np.where(EVENTS.p == 1, 1, darker).astype(kind)
    np.savez(tmp_path / "a.npz", **{**columns(), "p": p})
    assert same(read_npz(tmp_path / "a.npz", **SIZE), EVENTS)


def test_minus_1_beside_0_is_no_polarity(tmp_path):
    np.savez(tmp_path / "a.npz", **{**columns(), "p": EVENTS.p.astype(int) - (np.arange(400) == 7) * 2})
    with pytest.raises(ValueError, match=r"p in 0 \.\. 1, got -\d at event"):
        read_npz(tmp_path / "a.npz", **SIZE)


def test_times_out_of_order_are_refused_unless_told_to_sort(tmp_path):
    order = np.roll(np.arange(400), 1)
    np.savez(tmp_path / "a.npz", **{name: values[order] for name, values in columns().items()})
    with pytest.raises(ValueError, match=r"out of order.*sort=True"):
        read_npz(tmp_path / "a.npz", **SIZE)
    assert np.array_equal(read_npz(tmp_path / "a.npz", **SIZE, sort=True).t, EVENTS.t)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "names of the columns in line 1"),
        ("1,2,3,0\n", "such as t,x,y,p, got '1,2,3,0'"),
        ("t,x,y,p\n", "no events"),
        ("t,x,y,p\n1,2,3,0\n2,2,3\n", "a row cut short, below line 1"),
        ("t,x,y,p\n1,2,bird,0\n", "no number"),
        ("t,x,y,p\n1,2,3,0\n0.0015,2,3,0\n", r"whole numbers t, got 0.0015 in row 2 .*Write microseconds"),
        ("t,x,y,p\n1,2,nan,0\n", "whole numbers y, got nan in row 1"),
        ("t,x,y,p\n1e300,2,3,0\n", "whole numbers t, got 1e"),
        ("t,x,y,p\n1,120,3,0\n", r"x in 0 \.\. 119, got 120 in row 1 below line 1"),
        ("t,x,y,p\n1,2,3,0\n2,2,3,2\n", r"p in 0 \.\. 1, got 2 in row 2"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, table, message):
    (tmp_path / "a.csv").write_text(table)
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(tmp_path / "a.csv", **SIZE)
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}: ")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": EVENTS.t, "x": EVENTS.x}, "expected the arrays t, x, y, p, found t, x"),
        ({**columns(), "y": EVENTS.y[:-1]}, r"got y of shape \[399\]"),
        ({**columns(), "x": EVENTS.x.astype(str)}, "got x of shape .* and type <U"),
        ({**columns(), "t": EVENTS.t / 1e6}, "whole numbers t, .* at event 0.*Write microseconds"),
        ({name: values[:0] for name, values in columns().items()}, "no events"),
    ],
    ids=["missing", "short", "text", "seconds", "empty"],
)
def test_what_is_wrong_with_arrays_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(tmp_path / "a.npz", **SIZE)
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")


def test_pickles_and_what_is_no_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{**columns(), "p": np.array([{}] * 400)})
    with pytest.raises(ValueError, match=r"damaged .npz file \(Object arrays cannot be loaded"):
        read_npz(tmp_path / "a.npz", **SIZE)
    np.save(tmp_path / "b.npy", EVENTS.t)
    with pytest.raises(ValueError, match=r"no .npz file, or not all of it"):
        read_npz(tmp_path / "b.npy", **SIZE)


def test_the_suffix_and_the_first_line_say_how_a_recording_is_read(tmp_path):
    events = recording(1, 300, stop=2**22)
    write_aedat2(tmp_path / "old.aedat", events, "dvs128")
    write_aedat3(tmp_path / "new.AEDAT", events)
    write_bin(tmp_path / "a.bin", events)
    write_npz(tmp_path / "a.npz", events)
    write_csv(tmp_path / "a.csv", events, "t,x,y,p")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 5
    for path in files:
        assert same(read_events(str(path), height=128, width=128), events), path


def test_a_file_that_is_not_known_and_another_sensor_than_the_dvs128_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a.raw: expected a file of events, .aedat, .bin, .npz, .csv, got .*'.raw'"):
        read_events(tmp_path / "a.raw", height=128, width=128)
    write_aedat2(tmp_path / "a.aedat", recording(1, 30), "dvs128")
    with pytest.raises(ValueError, match="DVS128 alone: expected 128 x 128, got 260 x 346"):
        read_events(tmp_path / "a.aedat", height=260, width=346)

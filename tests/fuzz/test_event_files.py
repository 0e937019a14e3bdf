"""Whatever is in a recording, it is read whole and in order, or refused by name."""

import numpy as np
import pytest
from events.test_random_damage import FORMATS
from events.writers import AEDAT2_HEADER, AEDAT3_HEADER, packet, recording, write_csv
from fuzz.cases import damaged, outcome, tries
from hypothesis import example, given
from hypothesis import strategies as st

from rheobase.events import read_events, write_npz
from rheobase.events.gesture_labels import CLASSES, TITLES, read_gesture_labels

TABLE = "t,x,y,p"


def plain(path):
    return read_events(path, height=128, width=128)


FILES = {
    **{name: (*each, ".aedat") for name, each in FORMATS.items()},
    "npz": (write_npz, plain, recording(0, 60), ".npz"),
    "csv": (lambda path, events: write_csv(path, events, TABLE), plain, recording(0, 60), ".csv"),
}
HEADERS = {"aedat2": AEDAT2_HEADER, "aedat3": AEDAT3_HEADER, "csv": f"{TABLE}\n".encode()}
numbers = st.sampled_from([-(2**31), -1, 0, 1, 4, 7, 8, 2**31 - 1]) | st.integers(-(2**31), 2**31 - 1)


@st.composite
def packets(draw):
    """Packets of AEDAT 3.1 whose headers say anything."""
    body = draw(st.binary(max_size=60))
    said = {name: draw(st.none() | numbers) for name in ("count", "capacity", "valid")}
    kind, size = draw(st.sampled_from([1, 0, 3, -1, 2**15 - 1])), draw(st.just(8) | numbers.filter(bool))
    return packet(
        kind, body, size=size, overflows=draw(st.just(0) | numbers), time_at=draw(st.just(4) | numbers), **said
    )


@pytest.fixture(scope="module", params=FILES)
def file(request, tmp_path_factory):
    write, read, events, suffix = FILES[request.param]
    path = tmp_path_factory.mktemp("events") / f"recording{suffix}"
    write(path, events)
    return path, read, path.read_bytes(), HEADERS.get(request.param, b"")


@tries(400)
@given(st.data())
def test_a_recording_is_read_in_order_and_on_the_sensor_or_refused_by_name(file, data):
    path, read, whole, header = file
    path.write_bytes(data.draw(
        damaged(whole) | st.binary(max_size=100) | st.binary(max_size=100).map(lambda rest: header + rest)
        | st.lists(packets() if header == AEDAT3_HEADER else st.binary(max_size=24), max_size=4).map(
            lambda parts: header + b"".join(parts))
    ))  # fmt: skip
    found, fault = outcome(read, path)
    if found is None:
        assert fault.startswith(f"{path}: ")
    else:
        assert len(found)
        assert (np.diff(found.t) >= 0).all()
        assert 0 <= found.x.min() <= found.x.max() < found.width
        assert 0 <= found.y.min() <= found.y.max() < found.height
        assert found.p.max() <= 1


cells = st.sampled_from(["1", "11", ",", "\n", " ", "-", "²", "٣", "\0", "é", "1_0", "9" * 5000, "9" * 19]) | st.text()


@tries(300)
@given(
    damaged(f"{TITLES}\n1,0,5\n11,6,70000000\n".encode())
    | st.lists(cells, max_size=12).map(lambda found: f"{TITLES}\n{''.join(found)}".encode("utf8", "surrogatepass"))
)
@example(f"{TITLES}\n1,0,{'9' * 5000}".encode())
@example(f"{TITLES}\n1,0,{2**64}".encode())
def test_a_file_of_labels_is_read_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "labels.csv"
    path.write_bytes(content)
    rows, fault = outcome(read_gesture_labels, path)
    if rows is None:
        assert fault.startswith(f"{path}: ")
    else:
        assert rows
        assert all(1 <= kind <= CLASSES and 0 <= start < stop < 2**63 for kind, start, stop in rows)

"""Whatever happens to a file: it is read whole and in order, or refused by name."""

import numpy as np
import pytest
from events.writers import recording, write_aedat2, write_aedat3, write_bin, write_mvsec, write_spoken

from rheobase.events import MvsecFile, SpokenFile, read_aedat2, read_aedat3, read_bin


def aedat2(path):
    return read_aedat2(path, layout="cifar10-dvs")


def nmnist(path):
    return read_bin(path, height=34, width=34)


FORMATS = {
    "aedat2": (write_aedat2, aedat2, recording(0, 60)),
    "aedat3": (write_aedat3, read_aedat3, recording(0, 150)),
    "bin": (write_bin, nmnist, recording(0, 60, height=34, width=34)),
}


def damaged(data, rng):
    """Cut, or with bytes overwritten, taken out or put in."""
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
    noise = rng.integers(0, 256, length, np.uint8).tobytes()
    return [data[:at], data[:at] + noise + data[at + length :], data[:at] + data[at + length :], data[:at] + noise][
        int(rng.integers(4))
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_recording_is_read_in_order_or_refused_by_name(tmp_path, name):
    write, read, events = FORMATS[name]
    path, rng = tmp_path / "recording", np.random.default_rng(0)
    write(path, events)
    data, refused = path.read_bytes(), []
    for _ in range(400):
        path.write_bytes(damaged(data, rng))
        try:
            found = read(path)
        except ValueError as error:
            refused.append(str(error))
            continue
        assert len(found)
        assert (np.diff(found.t) >= 0).all()
        assert 0 <= found.x.min() <= found.x.max() < found.width
        assert 0 <= found.y.min() <= found.y.max() < found.height
    assert 200 < len(refused) < 400
    assert all(text.startswith(f"{path}: ") for text in refused)
    assert all("offset" in text or "Format" in text for text in refused)


def test_a_cut_hdf5_file_is_refused_by_name(tmp_path):
    pytest.importorskip("h5py", reason="needs h5py: pip install 'rheobase[events]'")
    events = recording(0, 500, height=8, width=12)
    data, _ = write_mvsec(tmp_path, "scene", events, np.zeros((3, 8, 12), np.uint8), [0.001, 0.1, 0.2])
    write_spoken(tmp_path / "shd.h5", [[0.5]] * 20, [[3]] * 20, range(20))
    rng = np.random.default_rng(0)
    for path, opened in ((data, MvsecFile), (tmp_path / "shd.h5", SpokenFile)):
        whole = path.read_bytes()
        for at in rng.integers(0, len(whole), 40):
            path.write_bytes(whole[:at])
            with pytest.raises(ValueError, match="not a complete HDF5 file") as caught:
                opened(path)
            assert str(caught.value).startswith(f"{path}: ")

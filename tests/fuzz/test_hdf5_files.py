"""Whatever is in an HDF5 file, reading it ends: with what is in it or with a refusal by name."""

import pytest
from events.writers import write_spoken
from fuzz.damaged_hdf5 import FILES, READ, REFUSED, outcomes
from training.killing import apart

from rheobase.events import SpokenFile

pytest.importorskip("h5py", reason="needs h5py: pip install 'rheobase[events]'")


def test_a_damaged_file_is_read_or_refused_by_name_and_never_hangs_or_crashes(tmp_path):
    for name, codes in apart(outcomes.__module__, "outcomes", tmp_path).items():
        assert set(codes) == {str(READ), str(REFUSED)}, (name, codes)
        assert sum(codes.values()) == FILES


def spoken(folder):
    path = folder / "shd.h5"
    write_spoken(path, [[0.5, 0.1]] * 20, [[3, 4]] * 20, range(20))
    return path, path.read_bytes()


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (0, 2**64 - 1), (0, 2**63), (7, 2**64 - 1), (7, 2**64 - 32), (7, 5000)]
)
def test_a_heap_of_rows_in_which_libhdf5_could_go_in_circles_is_refused(tmp_path, index, size):
    path, whole = spoken(tmp_path)
    heap = whole.index(b"GCOL")
    first, damaged = heap + 16, bytearray(whole)
    damaged[first : first + 2] = index.to_bytes(2, "little")
    damaged[first + 8 : first + 16] = size.to_bytes(8, "little")
    path.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=f"{path}: a damaged heap of rows at offset {heap}: {size} bytes at offset {first}"
    ):
        SpokenFile(path)


def test_a_sound_file_with_several_heaps_is_read(tmp_path):
    path = tmp_path / "shd.h5"
    write_spoken(path, [[0.001 * n for n in range(700)]] * 20, [range(700)] * 20, range(20))
    assert path.read_bytes().count(b"GCOL") > 1
    with SpokenFile(path) as file:
        assert all(len(file.spikes(word)[0]) == 700 for word in range(20))

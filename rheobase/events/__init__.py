"""Files of event cameras and artificial cochleas, read strictly, and frames made of their events.

numpy alone, and h5py where a file is HDF5: no tensors here. Adding a format: a reader in a file of its own,
a line here, a writer and a test.
"""

from rheobase.events.aedat2 import read_aedat2
from rheobase.events.aedat3 import read_aedat3
from rheobase.events.bin import read_bin, write_bin
from rheobase.events.events import Events, checked
from rheobase.events.frames import frames_by_count, frames_by_time, frames_by_window, spike_frames
from rheobase.events.gesture_labels import read_gesture_labels
from rheobase.events.mvsec import MvsecFile
from rheobase.events.plain import read_csv, read_npz, write_npz
from rheobase.events.reading import read_events
from rheobase.events.spoken import SpokenFile

__all__ = [
    "Events",
    "MvsecFile",
    "SpokenFile",
    "checked",
    "frames_by_count",
    "frames_by_time",
    "frames_by_window",
    "read_aedat2",
    "read_aedat3",
    "read_bin",
    "read_csv",
    "read_events",
    "read_gesture_labels",
    "read_npz",
    "spike_frames",
    "write_bin",
    "write_npz",
]

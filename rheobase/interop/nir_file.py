"""Graphs of NIR as they are given, or as files hold them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rheobase.interop.extras import optional

if TYPE_CHECKING:
    import nir

_PACKED = 1100  # deflate packs at most 1032 bytes into one


def given_graph(graph: "nir.NIRGraph | str | Path") -> "nir.NIRGraph":
    """The graph, or that of the file.

    Raises ValueError for a file that holds none.
    """
    nir = optional("nir", "nir")
    if isinstance(graph, nir.NIRGraph):
        return graph
    if not isinstance(graph, (str, Path)):
        raise TypeError(f"Expected a nir.NIRGraph or the path of its file, got {type(graph).__name__}.")
    if not Path(graph).is_file():
        raise FileNotFoundError(f"No file {graph}.")
    try:
        _require_whole(Path(graph))
        # Unchecked: nir takes grouped convolutions and oblong kernels for mistakes.
        found = nir.read(graph, type_check=False)
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(
            f"{graph} is no file that nir {nir.__version__} can read: {type(error).__name__}: {error}."
        ) from error
    if not isinstance(found, nir.NIRGraph):
        raise ValueError(f"Expected a graph in {graph}, got a {type(found).__name__}.")
    return found


def _require_whole(path: Path) -> None:
    """Refuses arrays that are told to be larger than the file can hold, before memory is asked for them."""
    h5py = optional("h5py", "nir")

    def look(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.nbytes > _PACKED * thing.id.get_storage_size() + 64:
            raise ValueError(f"{name} is told to have {thing.nbytes} bytes, which the file does not hold")

    with h5py.File(path, "r") as file:
        file.visititems(look)

"""Files and graphs that are damaged or mean nothing: each is refused, and told which part it is."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rheobase.interop import from_nir

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")
DT = 1e-3


def lif(**changed: Any) -> "nir.LIF":
    usual = {"tau": 4 * DT, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return nir.LIF(**{name: np.ones(2) * value for name, value in usual.items()})


def chain(**nodes: Any) -> "nir.NIRGraph":
    """The nodes one after the other."""
    every = {"in": nir.Input(np.array([2])), **nodes, "out": nir.Output(np.array([2]))}
    names = list(every)
    return nir.NIRGraph(every, list(pairwise(names)), {"dt": DT}, type_check=False)


def changed(file: Any, path: str, value: Any) -> None:
    del file[path]
    if value is not None:
        file[path] = value


def cyclic(file: Any) -> None:
    file["node/nodes/in/inside"] = file["node"]


def enormous(file: Any) -> None:
    del file["node/nodes/w/weight"]
    file.create_dataset("node/nodes/w/weight", shape=(2, 10**12), chunks=(2, 1000), dtype="f4")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: changed(file, "node/nodes/w/weight", None),
        lambda file: changed(file, "node/nodes/w/type", "Quantum"),
        lambda file: changed(file, "node/nodes/w/type", 3.0),
        lambda file: changed(file, "node/nodes/w/weight", "text"),
        lambda file: changed(file, "node/nodes/w/weight", np.float32(3)),
        lambda file: changed(file, "node/nodes/n/tau", np.array([b"a", b"b"])),
        lambda file: changed(file, "node/nodes/n/tau", np.full(2, np.nan)),
        lambda file: changed(file, "node/nodes/n/v_threshold", np.full(2, np.nan)),
        lambda file: changed(file, "node/nodes/n/tau", np.zeros(2)),
        lambda file: changed(file, "node/nodes/n/r", np.ones(7)),
        lambda file: changed(file, "node/edges", np.array([[b"in", b"nowhere"]])),
        lambda file: changed(file, "node/edges", np.zeros((0, 2))),
        lambda file: changed(file, "node/edges", np.zeros(3)),
        lambda file: changed(file, "node/metadata/dt", "soon"),
        lambda file: changed(file, "node/metadata/dt", np.zeros(3)),
        lambda file: changed(file, "node/metadata", 3.0),
        lambda file: changed(file, "node", 3.0),
        lambda file: changed(file, "node", None),
        cyclic,
        enormous,
    ],
)
def test_a_damaged_file_is_refused(damage: Callable[[Any], None], tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, chain(w=nir.Linear(np.eye(2, dtype=np.float32)), n=lif()))
    from_nir(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=r"."):
        from_nir(path)


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", chain(w=nir.Linear(np.eye(2)), n=lif()))
    cut(tmp_path / "net.nir")
    with pytest.raises(ValueError, match="is no file that nir"):
        from_nir(tmp_path / "net.nir")


def test_large_constants_that_pack_well_are_read(tmp_path: Path) -> None:
    shape = (16, 128, 128)
    node = nir.LIF(**{name: np.ones(shape) * DT for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")})
    nodes = {"in": nir.Input(np.array(shape)), "n": node, "out": nir.Output(np.array(shape))}
    nir.write(tmp_path / "net.nir", nir.NIRGraph(nodes, [("in", "n"), ("n", "out")], {"dt": DT}))
    assert from_nir(tmp_path / "net.nir") is not None


def within_itself() -> "nir.NIRGraph":
    graph = chain(n=lif())
    graph.nodes["again"] = graph
    return graph


def rewired(graph: "nir.NIRGraph", edges: list[tuple[str, str]]) -> "nir.NIRGraph":
    graph.edges = edges
    return graph


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (lambda: chain(w=nir.Affine(np.eye(2), np.ones(1)), n=lif()), r"'w' .Affine. .*bias for 2 outputs"),
        (lambda: chain(w=nir.Linear(np.ones((2, 2, 2))), n=lif()), r"'w' .Linear. .*Expected a matrix"),
        (
            lambda: chain(c=nir.Conv1d(None, np.ones((3, 1, 2)), 1, 0, 1, 2, np.ones(3)), n=lif()),
            r"'c' .Conv1d. .*divisible by groups",
        ),
        (
            lambda: chain(c=nir.Conv2d(None, np.ones((2, 1, 2, 2)), (1, 1, 1), 0, 1, 1, np.ones(2)), n=lif()),
            r"'c' .Conv2d. .*Expected 2 sizes",
        ),
        (lambda: chain(n=lif(v_threshold=np.nan)), r"'n' .LIF. .*NaN"),
        (lambda: chain(n=lif(tau=np.inf)), r"'n' .LIF. .*time constant"),
        (within_itself, "holds itself"),
        (lambda: rewired(chain(n=lif()), [("in", "n"), ("n", "lost")]), "Expected edges from one node to another"),
        (lambda: rewired(chain(n=lif()), [("in", "n"), ("n", "in"), ("n", "out")]), "Expected edges from one node"),
        (lambda: chain(g=chain(), n=lif()), "Expected nodes between input and output of the graph 'g'"),
        (
            lambda: rewired(
                chain(a=nir.Linear(np.eye(2)), b=nir.Linear(np.eye(2)), n=lif()),
                [("in", "a"), ("a", "b"), ("b", "a"), ("a", "n"), ("n", "out")],
            ),
            "Expected neurons on a cycle",
        ),
        (lambda: chain(**{"g": chain(n=lif()), "g.n": lif()}), "a name of its own for each node, got g.n twice"),
    ],
)
def test_a_graph_that_means_nothing_is_refused(graph: Callable[[], Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_nir(graph())


def test_constants_of_another_shape_than_the_signal_are_refused_when_it_comes() -> None:
    import rheobase as rb

    model = from_nir(chain(n=lif(v_threshold=np.array([0.5, 1.5]))))
    rb.run(model, torch.zeros(3, 1, 2))
    with pytest.raises(ValueError, match=r"Expected samples of shape \[2\], as the constants are, got \[2, 2\]"):
        rb.run(model, torch.zeros(3, 1, 2, 2))

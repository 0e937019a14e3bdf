"""Graphs of NIR as models."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rheobase.interop.extras import optional
from rheobase.interop.graph import assembled
from rheobase.interop.nir_file import given_graph
from rheobase.interop.nir_import_layers import LAYER_NODES, WEIGHTED
from rheobase.interop.nir_import_neurons import NEURON_NODES, neuron_of
from rheobase.interop.trace import INPUT, OUTPUT

if TYPE_CHECKING:
    import nir

_ENDS = ("Input", "Output")


def from_nir(
    graph: "nir.NIRGraph | str | Path", dt: float | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """The model that a graph of NIR, or the file of one, describes; `rheobase.run` runs it and any rule trains it.

    dt: the time that one step stands for, seconds; that of the graph's metadata by default, which `to_nir` writes.
    dtype: of weights and constants; that of the graph's weights by default.

    The equations are stepped by Euler's method, as all importers do; a neuron spikes where it reaches the threshold
    (NIR has: where it exceeds it). A cycle of edges becomes `rheobase.Recurrent` or `rheobase.Feedback`: one step
    passes where it returns to the node at which the signal enters it. Constants that our neurons can say give `LIF`,
    `PLIF`, `IF`, `LI` or `CubaLIF`, others `EulerNeuron`.

    Raises ValueError naming the node that cannot be read, with the reason.
    """
    graph = given_graph(graph)
    dt = _step(graph, dt)
    nodes, edges = _flat(graph)
    dtype = dtype or _weights_dtype(nodes)
    names = _names(nodes)
    layers = {names[name]: _module(node, name, dt, dtype) for name, node in nodes.items() if _kind(node) not in _ENDS}
    wires = [(names[source], names[target]) for source, target in edges]
    shapes = {names[name]: _shape(node) for name, node in nodes.items()}
    return assembled(layers, wires, shapes).to(dtype)


def _step(graph: "nir.NIRGraph", dt: float | None) -> float:
    dt = graph.metadata.get("dt") if dt is None else dt
    if dt is None:
        raise ValueError(
            "The graph does not say how long a step is: give dt in seconds, such as from_nir(graph, dt=1e-4)."
        )
    if not isinstance(dt, (int, float, np.number)) or not 0 < dt < np.inf:
        raise ValueError(f"Expected a step of dt > 0 seconds, got {dt}.")
    return float(dt)


def _flat(graph: "nir.NIRGraph") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """All nodes and edges, with one input and one output.

    Raises ValueError for edges that lead nowhere.
    """
    try:
        nodes, edges = _inlined(graph)
    except RecursionError as error:
        raise ValueError("A graph inside the graph holds itself.") from error
    entries, exits = (_named(nodes, kind) for kind in _ENDS)
    lost = [
        (source, target)
        for source, target in edges
        if not {source, target} <= nodes.keys() or source == exits or target == entries
    ]
    if lost:
        raise ValueError(f"Expected edges from one node to another, on the way from input to output, got {lost}.")
    return nodes, edges


def _inlined(graph: "nir.NIRGraph", prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """All nodes and edges, those of graphs inside the graph too, without their inputs and outputs."""
    nir = optional("nir", "nir")
    nodes: dict[str, Any] = {}
    edges = [(prefix + source, prefix + target) for source, target in dict.fromkeys(map(tuple, graph.edges))]
    for name, node in graph.nodes.items():
        found = {prefix + name: node}
        if isinstance(node, nir.NIRGraph):
            inner, inside = _inlined(node, f"{prefix}{name}.")
            edges = _spliced(edges, inside, prefix + name, *(_named(inner, kind, prefix + name) for kind in _ENDS))
            found = {key: value for key, value in inner.items() if _kind(value) not in _ENDS}
        if found.keys() & nodes.keys():
            raise ValueError(
                f"Expected a name of its own for each node, got {', '.join(found.keys() & nodes.keys())} twice."
            )
        nodes |= found
    return nodes, edges


def _spliced(
    edges: list[tuple[str, str]], inside: list[tuple[str, str]], name: str, entry: str, exit: str
) -> list[tuple[str, str]]:
    """The edges with those of a graph in place of its node."""
    heads = [target for source, target in inside if source == entry]
    tails = [source for source, target in inside if target == exit]
    if exit in heads:
        raise ValueError(f"Expected nodes between input and output of the graph {name!r}, got an edge.")
    made = [edge for edge in inside if entry not in edge and exit not in edge]
    for source, target in edges:
        made += [
            (s, t) for s in (tails if source == name else [source]) for t in (heads if target == name else [target])
        ]
    return made


def _kind(node: Any) -> str:
    return type(node).__name__


def _named(nodes: dict[str, Any], kind: str, where: str = "the graph") -> str:
    """The name of the only node of this kind."""
    found = [name for name, node in nodes.items() if _kind(node) == kind]
    if len(found) != 1:
        raise ValueError(f"Expected one {kind} node in {where}, found {len(found)}: {', '.join(found) or 'none'}.")
    return found[0]


def _names(nodes: dict[str, Any]) -> dict[str, str]:
    """What each node is called here: the two ends INPUT and OUTPUT, and no other so."""
    names = {_named(nodes, kind): ours for kind, ours in zip(_ENDS, (INPUT, OUTPUT), strict=True)}
    for name in [name for name in nodes if name not in names]:
        ours = name
        while ours in (INPUT, OUTPUT) or (ours != name and ours in nodes):
            ours += "_"
        names[name] = ours
    return names


def _weights_dtype(nodes: dict[str, Any]) -> torch.dtype:
    """The one that holds them all."""
    weights = [np.asarray(node.weight).dtype for node in nodes.values() if _kind(node) in WEIGHTED]
    floating = [dtype for dtype in weights if dtype.kind == "f"]
    return torch.as_tensor(np.zeros(1, np.result_type(*floating))).dtype if floating else torch.float32


def _shape(node: Any) -> tuple[int, ...] | None:
    """Of one sample's output, where the node knows it."""
    made = (node.output_type or {}).get("output")
    return None if made is None else tuple(int(size) for size in np.atleast_1d(made))


def _module(node: Any, name: str, dt: float, dtype: torch.dtype) -> nn.Module:
    kind = _kind(node)
    if kind not in NEURON_NODES and kind not in LAYER_NODES:
        raise ValueError(
            f"Node {name!r} is a {kind}, which is not read; known: {', '.join((*NEURON_NODES, *LAYER_NODES))}."
        )
    try:
        return neuron_of(node, dt, dtype) if kind in NEURON_NODES else LAYER_NODES[kind](node)
    except (ValueError, TypeError, RuntimeError, AttributeError, LookupError) as error:
        raise ValueError(f"Node {name!r} ({kind}) cannot be read: {error}") from error

"""Graphs of NIR as models."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rheobase.interop.extras import optional
from rheobase.interop.graph import assembled
from rheobase.interop.nir_import_neurons import NEURON_NODES, neuron_of
from rheobase.interop.tracing import INPUT, OUTPUT
from rheobase.layers import Scale

if TYPE_CHECKING:
    import nir


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
    graph = _read(graph)
    dt = _step(graph, dt)
    nodes, edges = _inlined(graph)
    dtype = dtype or _weights_dtype(nodes)
    entries, exits = (_named(nodes, kind) for kind in ("Input", "Output"))
    layers = {name: _module(node, name, dt, dtype) for name, node in nodes.items() if name not in (*entries, *exits)}
    renamed = {entries[0]: INPUT, exits[0]: OUTPUT}
    wires = [(renamed.get(source, source), renamed.get(target, target)) for source, target in edges]
    shapes = {name: _shape(node) for name, node in nodes.items()}
    return assembled(layers, wires, shapes).to(dtype)


def _read(graph: "nir.NIRGraph | str | Path") -> "nir.NIRGraph":
    nir = optional("nir", "nir")
    if isinstance(graph, nir.NIRGraph):
        return graph
    if not isinstance(graph, (str, Path)):
        raise TypeError(f"Expected a nir.NIRGraph or the path of its file, got {type(graph).__name__}.")
    if not Path(graph).is_file():
        raise FileNotFoundError(f"No file {graph}.")
    try:
        # Unchecked: nir takes grouped convolutions and oblong kernels for mistakes.
        found = nir.read(graph, type_check=False)
    except (OSError, KeyError, AssertionError, TypeError) as error:
        raise ValueError(f"{graph} is no file that nir {nir.__version__} can read: {error}.") from error
    if not isinstance(found, nir.NIRGraph):
        raise ValueError(f"Expected a graph in {graph}, got a {type(found).__name__}.")
    return found


def _step(graph: "nir.NIRGraph", dt: float | None) -> float:
    dt = graph.metadata.get("dt") if dt is None else dt
    if dt is None:
        raise ValueError(
            "The graph does not say how long a step is: give dt in seconds, such as from_nir(graph, dt=1e-4)."
        )
    if not dt > 0:
        raise ValueError(f"Expected a step of dt > 0 seconds, got {dt}.")
    return float(dt)


def _inlined(graph: "nir.NIRGraph", prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """All nodes and edges, those of graphs inside the graph too, without their inputs and outputs."""
    nir = optional("nir", "nir")
    nodes: dict[str, Any] = {}
    edges = [(prefix + source, prefix + target) for source, target in dict.fromkeys(map(tuple, graph.edges))]
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[prefix + name] = node
            continue
        inner, inside = _inlined(node, f"{prefix}{name}.")
        edges = _spliced(
            edges, inside, prefix + name, *(_named(inner, kind, prefix + name)[0] for kind in ("Input", "Output"))
        )
        nodes |= {key: value for key, value in inner.items() if type(value).__name__ not in ("Input", "Output")}
    return nodes, edges


def _spliced(
    edges: list[tuple[str, str]], inside: list[tuple[str, str]], name: str, entry: str, exit: str
) -> list[tuple[str, str]]:
    """The edges with those of a graph in place of its node."""
    heads = [target for source, target in inside if source == entry]
    tails = [source for source, target in inside if target == exit]
    made = [edge for edge in inside if entry not in edge and exit not in edge]
    for source, target in edges:
        made += [
            (s, t) for s in (tails if source == name else [source]) for t in (heads if target == name else [target])
        ]
    return made


def _named(nodes: dict[str, Any], kind: str, where: str = "the graph") -> list[str]:
    found = [name for name, node in nodes.items() if type(node).__name__ == kind]
    if len(found) != 1:
        raise ValueError(f"Expected one {kind} node in {where}, found {len(found)}: {', '.join(found) or 'none'}.")
    return found


def _weights_dtype(nodes: dict[str, Any]) -> torch.dtype:
    weights = [
        node.weight for node in nodes.values() if type(node).__name__ in ("Linear", "Affine", "Conv1d", "Conv2d")
    ]
    found = torch.as_tensor(np.asarray(weights[0])).dtype if weights else torch.float32
    return found if found.is_floating_point else torch.float32


def _shape(node: Any) -> tuple[int, ...] | None:
    """Of one sample's output, where the node knows it."""
    made = (node.output_type or {}).get("output")
    return None if made is None else tuple(int(size) for size in made)


def _module(node: Any, name: str, dt: float, dtype: torch.dtype) -> nn.Module:
    kind = type(node).__name__
    if kind in NEURON_NODES:
        return neuron_of(node, name, dt, dtype)
    if kind not in _LAYERS:
        raise ValueError(
            f"Node {name!r} is a {kind}, which is not read; known: {', '.join((*NEURON_NODES, *_LAYERS))}."
        )
    return _LAYERS[kind](node, name)


def _linear(node: Any, name: str) -> nn.Module:
    if node.weight.ndim != 2:
        raise ValueError(f"Expected a matrix in node {name!r}, got weights of shape {list(node.weight.shape)}.")
    outputs, inputs = node.weight.shape
    return _filled(nn.Linear(inputs, outputs, bias="bias" in vars(node)), node)


def _convolution(node: Any, name: str) -> nn.Module:
    outputs, inputs, *size = node.weight.shape
    kind, groups = (nn.Conv1d if len(size) == 1 else nn.Conv2d), int(node.groups)
    stride, padding, dilation = (_sizes(each, len(size)) for each in (node.stride, node.padding, node.dilation))
    return _filled(kind(inputs * groups, outputs, tuple(size), stride, padding, dilation, groups), node)  # type: ignore[arg-type]


def _filled(layer: nn.Module, node: Any) -> nn.Module:
    layer.weight = nn.Parameter(torch.tensor(np.asarray(node.weight)))
    if "bias" in vars(node):
        layer.bias = nn.Parameter(torch.tensor(np.asarray(node.bias)))
    return layer


def _sizes(value: Any, axes: int) -> Any:
    """As torch takes them."""
    if isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode()
    found = tuple(int(size) for size in np.atleast_1d(np.asarray(value)))
    return found * axes if len(found) == 1 else found


def _pool(node: Any, name: str) -> nn.Module:
    kernel, stride, padding = (_sizes(each, 2) for each in (node.kernel_size, node.stride, node.padding))
    return nn.AvgPool2d(kernel, stride, padding, divisor_override=1 if type(node).__name__ == "SumPool2d" else None)


def _flatten(node: Any, name: str) -> nn.Module:
    first, last = int(node.start_dim), int(node.end_dim)  # which do not count the batch
    return nn.Flatten(first + 1 if first >= 0 else first, last + 1 if last >= 0 else last)


def _scale(node: Any, name: str) -> nn.Module:
    values = np.unique(node.scale)
    return Scale(float(values[0])) if len(values) == 1 else ScaleEach(torch.tensor(np.asarray(node.scale)))


class ScaleEach(nn.Module):
    """Multiplies each number of a sample by a factor of its own."""

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors)

    def forward(self, input: Tensor) -> Tensor:
        return self.factors * input


_LAYERS: dict[str, Callable[[Any, str], nn.Module]] = {
    "Linear": _linear, "Affine": _linear, "Conv1d": _convolution, "Conv2d": _convolution, "AvgPool2d": _pool,
    "SumPool2d": _pool, "Flatten": _flatten, "Scale": _scale,
}  # fmt: skip

"""A trained model as a graph of NIR, for neuromorphic hardware and other simulators."""

import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from rheobase.inference import require_neurons
from rheobase.interop.extras import optional
from rheobase.interop.fold import FOLDABLE, exchanged, fold_batch_norm, with_weight
from rheobase.interop.nir_layers import SYNAPSES, layer_node, refused, sum_pool
from rheobase.interop.nir_neurons import SoftResetWarning, neuron_node
from rheobase.interop.trace import INPUT, OUTPUT, Node, Trace
from rheobase.interop.tracing import traced
from rheobase.interop.values import Value
from rheobase.layers import Loop
from rheobase.neurons import Neuron
from rheobase.version import __version__

if TYPE_CHECKING:
    import nir


def to_nir(model: nn.Module, sample: Tensor, dt: float = 1e-4) -> "nir.NIRGraph":
    """`model`, as it computes in eval mode, as a graph of NIR (`nir.write(path, graph)` makes a file of it).

    sample: one step of some input, `[N, ...]`; only its shape and dtype count.
    dt: the time that one step stands for, seconds: a decay becomes tau = dt / (1 - decay). Whoever runs the graph has
        to step by dt as well; snnTorch's importer takes 1e-4 and nothing else.

    Batch normalisation, standardised weights and factors are folded into the weights; dropout is left out; adaptive
    pools become those of the sample's size. Signals that are added are edges into one node. A loop is a cycle of edges,
    on which one step passes; the bias of what comes back is added to that of what comes in. What NIR has no field for
    (dt, the kind of reset, the surrogate, exact decays) is in the metadata, from where `from_nir` takes it.

    Warns SoftResetWarning where neurons subtract the threshold, as NIR's return to a value: other simulators and
    hardware will not spike as the model does.

    Raises ValueError naming the layer or function that NIR cannot say, with the reason.
    """
    if not dt > 0:
        raise ValueError(f"Expected a step of dt > 0 seconds, got {dt}.")
    require_neurons(model)
    trace = traced(_plain(model, sample), sample)
    graph = _Builder(trace, dt).graph()
    soft = [name for name, node in graph.nodes.items() if node.metadata.get("reset") == "subtract"]
    if soft:
        warnings.warn(
            f"NIR's neurons return to v_reset, but {len(soft)} of this model subtract the threshold ({_listed(soft)}). "
            "That is written in their metadata, which rheobase.from_nir reads and others do not: elsewhere the spikes "
            'will differ. For hardware, train with reset="zero".',
            SoftResetWarning,
            stacklevel=2,
        )
    return graph


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _plain(model: nn.Module, sample: Tensor) -> nn.Module:
    """A copy without norms, whose loops have no bias on the way back: others start without what comes back."""
    plain = fold_batch_norm(model, sample)
    places = Counter(module for _, module in plain.named_modules(remove_duplicate=False))
    new: dict[nn.Module, nn.Module] = {}
    for loop in plain.modules():
        if not isinstance(loop, Loop) or not all(isinstance(part, FOLDABLE) for part in (loop.synapse, loop.recurrent)):
            continue
        synapse, back = loop.synapse, loop.recurrent
        if isinstance(back.bias, Tensor) and places[synapse] == places[back] == 1:
            bias = back.bias if synapse.bias is None else synapse.bias + back.bias  # type: ignore[operator]
            new[synapse] = with_weight(synapse, synapse.weight, bias)  # type: ignore[arg-type]
            new[back] = with_weight(back, back.weight, None)  # type: ignore[arg-type]
    return exchanged(plain, new)


class _Builder:
    """The nodes and edges of the graph of one trace."""

    def __init__(self, trace: Trace, dt: float) -> None:
        self.trace, self.dt = trace, dt
        self.nir = optional("nir", "nir")
        self.nodes: dict[str, nir.NIRNode] = {INPUT: self.nir.Input(np.array(trace.given))}
        self.edges: list[tuple[str, str]] = []
        self.scales: dict[tuple[str, float], str] = {}  # nodes that multiply, by source and factor
        self.own: dict[str, float] = {}  # the factors that synapses take into their weights
        self.binary: set[str] = set()  # what gives out zeros and ones

    def graph(self) -> "nir.NIRGraph":
        for name, node in self.trace.nodes.items():
            factors = set(self.trace.uses(name))
            if isinstance(node.layer, SYNAPSES) and len(factors) == 1:
                self.own[name] = factors.pop()
        for node in self.trace.nodes.values():
            self._add(node)
        self._connect(self.trace.output, OUTPUT)
        self.nodes[OUTPUT] = self.nir.Output(np.array(self.trace.made))
        metadata = {"dt": self.dt, "rheobase": __version__}
        return self.nir.NIRGraph(self.nodes, self.edges, metadata=metadata)

    def _add(self, node: Node) -> None:
        if node.layer is None:
            raise refused(node, "is not in NIR")
        if not node.inputs:
            raise refused(node, "hears what does not come from the model's input, as far as its functions tell")
        if isinstance(node.layer, nn.MaxPool2d):
            self._add_largest(node.layer, node)
            return
        common = 1.0
        if isinstance(node.layer, Neuron):
            made = neuron_node(node.layer, node.made, self.dt, repr(node.where))
            self.binary |= {node.name} if node.layer.spiking else set()
        else:
            own, left = self.own.get(node.name, 1.0), self._left(node.inputs)
            common = left.pop() if isinstance(node.layer, SYNAPSES) and len(left) == 1 else 1.0
            made = layer_node(node, own * common, own)
        self._connect(node.inputs, node.name, common)
        self._put(node.name, made, node.given, node.made)

    def _add_largest(self, pool: nn.MaxPool2d, node: Node) -> None:
        """The largest of zeros and ones is 1 where their sum is."""
        (source, factor), *others = node.inputs.items()
        if others or factor != 1 or source not in self.binary:
            raise refused(node, "pools real numbers: NIR can say the largest of zeros and ones alone")
        summed = self._free(f"{node.name}_sum")
        self._connect(node.inputs, summed)
        self._put(summed, sum_pool(pool, node), node.given, node.made)
        self.edges.append((summed, node.name))
        self._put(node.name, self.nir.Threshold(np.full(node.made, 0.5)), node.made, node.made)
        self.binary.add(node.name)

    def _put(self, name: str, made: "nir.NIRNode", given: tuple[int, ...], output: tuple[int, ...]) -> None:
        made.input_type, made.output_type = {"input": np.array(given)}, {"output": np.array(output)}
        self.nodes[name] = made

    def _left(self, value: Value) -> set[float]:
        """The factors that the producers do not have in their weights."""
        return {1.0 if name in self.own else factor for name, factor in value.items()}

    def _connect(self, value: Value, name: str, common: float = 1.0) -> None:
        """Edges to the node from what is added up; a factor that no weight has taken becomes a node of its own."""
        for source, factor in value.items():
            known = source in self.own or factor == common
            self.edges.append((source if known else self._scaled(source, factor / common), name))

    def _scaled(self, source: str, factor: float) -> str:
        if (source, factor) not in self.scales:
            name = self.scales[source, factor] = self._free(f"{source}_times_{factor:.6g}")
            shape = self.trace.given if source == INPUT else self.trace.nodes[source].made
            self.nodes[name] = self.nir.Scale(np.full(shape, factor))
            self.edges.append((source, name))
        return self.scales[source, factor]

    def _free(self, name: str) -> str:
        while name in self.nodes or name in self.trace.nodes or name == OUTPUT:
            name += "_"
        return name

"""Layers wired as a graph, whose cycles become recurrent layers."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from rheobase.interop.trace import INPUT, OUTPUT
from rheobase.layers import Feedback, Recurrent
from rheobase.neurons import Neuron
from rheobase.synapses import SYNAPSES

Edges = list[tuple[str, str]]
Shapes = Mapping[str, tuple[int, ...] | None]


class Graph(nn.Module):
    """Layers, each of which hears the sum of what its sources give out.

    layers: by name, in an order in which they can compute. sources: of each layer and of "output"; "input" is one.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sources: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.names = _attributes(layers)
        self.layers = nn.ModuleDict({self.names[name]: layer for name, layer in layers.items()})
        self.sources = {name: tuple(given) for name, given in sources.items()}

    def forward(self, input: Tensor) -> Tensor:
        values = {INPUT: input}
        for name, key in self.names.items():
            values[name] = self.layers[key](self._sum(values, name))
        return self._sum(values, OUTPUT)

    def _sum(self, values: Mapping[str, Tensor], name: str) -> Tensor:
        first, *rest = self.sources[name]
        total = values[first]
        for source in rest:
            total = total + values[source]
        return total


def _attributes(names: Iterable[str]) -> dict[str, str]:
    """For each name one of its own that a module may have: without dots, and none that modules have themselves."""
    taken, found = {*dir(nn.Sequential()), *dir(nn.ModuleDict())}, {}
    for name in names:
        found[name] = name.replace(".", "_")
        while found[name] in taken or not found[name]:
            found[name] += "_"
        taken.add(found[name])
    return found


def assembled(layers: Mapping[str, nn.Module], edges: Edges, shapes: Shapes) -> nn.Module:
    """The layers wired by the edges, from "input" to "output"; a plain nn.Sequential where they are a chain.

    shapes: of one sample's output of each layer, where known; a loop over several layers needs it.

    Raises ValueError for a layer that nothing reaches, and for a cycle that is no loop around one sum.
    """
    layers, edges = dict(layers), list(edges)
    while back := _way_back(edges):
        _close(
            layers,
            edges,
            shapes,
            *min(((tail, head) for tail, head in back), key=lambda edge: len(_body(edges, *edge))),
        )
    sources: dict[str, list[str]] = {name: [] for name in (*_order(layers, edges), OUTPUT)}
    for source, target in edges:
        sources[target].append(source)
    if not sources[OUTPUT]:
        raise ValueError("Nothing leads to the output of the graph.")
    return _wired({name: layers[name] for name in sources if name != OUTPUT}, sources)


def _wired(layers: Mapping[str, nn.Module], sources: Mapping[str, Sequence[str]]) -> nn.Module:
    before = [INPUT, *layers]
    if all(list(sources[name]) == [source] for source, name in zip(before, (*layers, OUTPUT), strict=True)):
        names = _attributes(layers)
        return nn.Sequential(OrderedDict((names[name], layer) for name, layer in layers.items()))
    return Graph(layers, sources)


def _order(layers: Mapping[str, nn.Module], edges: Edges) -> list[str]:
    """The layers, each after its sources."""
    waits: dict[str, set[str]] = {name: set() for name in layers}
    for source, target in edges:
        if target != OUTPUT:
            waits[target].add(source)
    done = {INPUT: None}
    while ready := [name for name, sources in waits.items() if sources and sources <= done.keys()]:
        for name in ready:
            del waits[name]
            done[name] = None
    if waits:
        raise ValueError(f"Nothing leads to {', '.join(map(repr, waits))} in the graph.")
    return list(done)[1:]


def _way_back(edges: Edges) -> Edges:
    """The edges that lead back to a layer on the way from "input" to where they start."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    found: Edges = []
    path, seen = [(INPUT, iter(targets.get(INPUT, ())))], {INPUT}
    while path:
        name, ahead = path[-1]
        following = next(ahead, None)
        if following is None:
            path.pop()
        elif following in [each for each, _ in path]:
            found.append((name, following))
        elif following not in seen:
            seen.add(following)
            path.append((following, iter(targets.get(following, ()))))
    return found


def _reached(edges: Edges, start: str) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        name = todo.pop()
        new = {target for source, target in edges if source == name} - found
        found |= new
        todo += new
    return found


def _body(edges: Edges, back: str, head: str) -> set[str]:
    """The layers on the ways from the head to the one on the way back, without that."""
    forwards = [edge for edge in edges if back not in edge]
    backwards = [(target, source) for source, target in forwards]
    tails = [source for source, target in edges if target == back]
    reached = set().union(*(_reached(backwards, tail) for tail in tails)) if tails else set()
    return _reached(forwards, head) & reached


def _close(layers: dict[str, nn.Module], edges: Edges, shapes: Shapes, back: str, head: str) -> None:
    """Puts one recurrent layer in the place of those of a cycle, which starts at the head."""
    body = _body(edges, back, head)
    last = _checked(layers, edges, body, back, head)
    entering = [source for source, target in edges if target == head and source != back]
    synapse: nn.Module = nn.Identity()
    if len(entering) == 1 and isinstance(layers.get(entering[0]), SYNAPSES):
        (only,) = entering
        if [target for source, target in edges if source == only] == [head]:
            synapse, entering = layers.pop(only), [source for source, target in edges if target == only]
            edges[:] = [edge for edge in edges if only not in edge]
    inside = [(INPUT, head), *((s, t) for s, t in edges if s in body and t in body), (last, OUTPUT)]
    parts = {name: layers.pop(name) for name in list(layers) if name in body}
    layers[last] = _loop(synapse, layers.pop(back), parts, inside, last, shapes)
    leaving = [(s, t) for s, t in edges if s == last and t not in body and t != back]
    outside = [(s, t) for s, t in edges if not {s, t} & (body | {back})]
    edges[:] = [*outside, *((source, last) for source in entering), *leaving]


def _loop(
    synapse: nn.Module, recurrent: nn.Module, parts: dict[str, nn.Module], inside: Edges, last: str, shapes: Shapes
) -> nn.Module:
    neuron = parts[last]
    if len(parts) == 1 and isinstance(neuron, Neuron):
        return Recurrent(synapse, recurrent, neuron)
    if not any(isinstance(module, Neuron) for part in parts.values() for module in part.modules()):
        raise ValueError(f"Expected neurons on a cycle, got none among {', '.join(sorted(parts))}: it holds no state.")
    shape = shapes.get(last)
    if shape is None:
        raise ValueError(f"The shape of {last!r} is not known, whose output comes back: read the graph with its types.")
    return Feedback(synapse, recurrent, assembled(parts, inside, shapes), shape)


def _checked(layers: Mapping[str, nn.Module], edges: Edges, body: set[str], back: str, head: str) -> str:
    """The last layer of the cycle, once it is known to be a loop around the sum at the head."""
    tails = [source for source, target in edges if target == back]
    returns = [target for source, target in edges if source == back]
    entries = {target for source, target in edges if target in body and source not in body and source != back}
    exits = {source for source, target in edges if source in body and target not in body}
    if (
        not isinstance(layers[back], SYNAPSES)
        or len(tails) != 1
        or returns != [head]
        or entries - {head}
        or exits != set(tails)
    ):
        raise ValueError(
            f"Expected a cycle that is entered at one layer, left at its last one, and closed by one linear or "
            f"convolutional layer, got {', '.join(sorted(body))} closed by {back!r} ({type(layers[back]).__name__})."
        )
    return tails[0]

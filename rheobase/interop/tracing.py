"""A model as a graph of layers, read off while it computes one step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from rheobase.engine import override
from rheobase.interop.values import FACTORS, SUMS, Value, added, marked, multiplied, scaled, summed, value_of
from rheobase.layers import Loop, Scale, TimeSharedDropout
from rheobase.neurons import Neuron
from rheobase.synapses import SYNAPSES, computes_as_its_kind
from rheobase.treatment import Forward
from rheobase.wiring import tensors

_DROPOUTS = (TimeSharedDropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_LINEAR, _LARGEST = (*_AVERAGES, nn.Flatten), (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_SAME = ("contiguous", "detach", "clone", "alias")
_SHAPING = ("flatten", "reshape", "view", "squeeze", "unsqueeze")
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Node:
    """What a layer, or a function called in a forward (`layer` None), computes of the sum of its inputs.

    kind: the layer's class or the function's name. where: the layer's name in the model, or that of the module whose
        forward calls the function.
    given, made: shapes of one sample of the first input and of the output.
    """

    name: str
    layer: nn.Module | None
    kind: str
    inputs: Value
    given: tuple[int, ...]
    made: tuple[int, ...]
    where: str

    def __str__(self) -> str:
        if self.layer is None:
            return f"{self.kind}() in the forward of {self.where!r}" if self.where else f"{self.kind}() in the forward"
        return f"{self.where!r} ({self.kind})"


@dataclass
class Trace:
    """The nodes in the order in which they compute, the output, and the shapes of one sample going in and coming out.

    What comes back one step later makes the graph cyclic.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    output: Value = field(default_factory=dict)
    given: tuple[int, ...] = ()
    made: tuple[int, ...] = ()

    def uses(self, name: str) -> list[float]:
        """The factors that the node's output is used with, one a use."""
        values = [*(node.inputs for node in self.nodes.values()), self.output]
        return [value[name] for value in values if name in value]


def traced(model: nn.Module, sample: Tensor) -> Trace:
    """The graph of `model` as it is in eval mode, for a sample `[N, ...]` of one step.

    Raises ValueError where the output does not depend on the sample.
    """
    modes = {module: module.training for module in model.modules()}
    tracer = _Tracer(model)
    try:
        with torch.no_grad():
            return tracer.run(model.eval(), sample)
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Tracer(TorchFunctionMode):
    """While active, every tensor carries the value that it is, through layers and functions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.trace = Trace()
        self.names = {module: name for name, module in model.named_modules()}
        self.before: dict[str, Value] = {}  # what stands for the output of a loop one step before
        self.inside: list[nn.Module] = [model]
        self.paused = 0

    def run(self, model: nn.Module, sample: Tensor) -> Trace:
        x = marked(sample.clone(), {INPUT: 1.0})
        with override(model, self._forward_of), self:
            output = model(x)
        if not isinstance(output, Tensor) or not value_of(output):
            raise ValueError(
                f"Expected {type(model).__name__} to return one tensor made of its input, got "
                f"{'a constant' if isinstance(output, Tensor) else type(output).__name__}."
            )
        self.trace.output = self._resolved(value_of(output))
        self.trace.given, self.trace.made = tuple(sample.shape[1:]), tuple(output.shape[1:])
        for name, node in self.trace.nodes.items():
            self.trace.nodes[name] = replace(node, inputs=self._resolved(node.inputs))
        return self.trace

    def _resolved(self, value: Value) -> Value:
        found: Value = {}
        for name, factor in value.items():
            terms = self._resolved(self.before[name]) if name in self.before else {name: 1.0}
            found = added(found, {term: factor * each for term, each in terms.items()})
        return found

    @contextmanager
    def _pause(self) -> Iterator[None]:
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    def _forward_of(self, module: nn.Module) -> Forward:
        if isinstance(module, Neuron):
            return partial(self._layer, module, partial(_first_spikes, module))
        if isinstance(module, Loop):
            return partial(self._loop, module)
        if isinstance(module, (*_DROPOUTS, nn.Identity)):
            return lambda x: x
        if isinstance(module, Scale):
            return partial(self._scale, module)
        if _is_layer(module):
            return partial(self._layer, module, module.forward)
        return partial(self._container, module, module.forward)

    def _container(self, module: nn.Module, plain: Forward, *inputs: Any, **options: Any) -> Any:
        self.inside.append(module)
        try:
            return plain(*inputs, **options)
        finally:
            self.inside.pop()

    def _layer(self, module: nn.Module, plain: Forward, *inputs: Tensor, **options: Any) -> Tensor:
        with self._pause():
            output = plain(*inputs, **options)
        if len(inputs) != 1 or options:
            return self._function(type(module).__name__, tensors((inputs, options.values())), output)
        return self._made(module, inputs[0], output)

    def _made(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        value, factor = value_of(x), 1.0
        if isinstance(layer, nn.Flatten) and output.shape == x.shape:
            return x
        factors = set(value.values())
        if len(factors) == 1 and (isinstance(layer, _LINEAR) or (isinstance(layer, _LARGEST) and max(factors) > 0)):
            factor = factors.pop()  # handed on to what comes after
            value = dict.fromkeys(value, 1.0)
        where = self.names.get(layer) or f"{self._where()}.{type(layer).__name__}".lstrip(".")
        return marked(output, {self._node(where, layer, type(layer).__name__, value, x, output): factor})

    def _scale(self, scale: Scale, x: Tensor) -> Tensor:
        with self._pause():
            output = scale.factor * x
        return marked(output, scaled(value_of(x), scale.factor))

    def _loop(self, loop: Loop, x: Tensor) -> Tensor:
        self.inside.append(loop)
        current = loop.synapse(x)
        with self._pause():
            silence = loop.silence(current)
        name = f"{self.names[loop]} before"
        output: Tensor = loop.body(current + loop.recurrent(marked(silence, {name: 1.0})))
        self.before[name] = value_of(output)
        self.inside.pop()
        return output

    def _node(self, where: str, layer: nn.Module | None, kind: str, value: Value, x: Tensor, y: Tensor) -> str:
        name = where if layer else f"{where}.{kind}".lstrip(".")
        unique, number = name, 1
        while unique in self.trace.nodes or unique in (INPUT, OUTPUT):
            number += 1
            unique = f"{name}_{number}"
        self.trace.nodes[unique] = Node(unique, layer, kind, value, tuple(x.shape[1:]), tuple(y.shape[1:]), where)
        return unique

    def _where(self) -> str:
        return self.names.get(self.inside[-1], "")

    def _function(self, name: str, given: Iterable[Tensor], output: Any) -> Any:
        """A function that no layer stands for: whatever it makes comes from all that it is given."""
        sources = [x for x in given if value_of(x)]
        value: Value = {}
        for x in sources:
            value |= value_of(x)
        made = list(tensors((output,)))
        if made:
            node = self._node(self._where(), None, name, value, sources[0], made[0])
            for y in made:
                marked(y, {node: 1.0})
        return output

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        values = [dict(value_of(x)) for x in tensors(args)]  # before the call, which may work in place
        output = func(*args, **options)
        if self.paused or not any(map(value_of, tensors((args, options.values())))):
            return output
        if not isinstance(output, (Tensor, tuple, list)) or not list(tensors((output,))):
            return output
        name = func.__name__.strip("_")
        found = self._known(name, args, options, values, output) if isinstance(output, Tensor) else None
        if found is not None:
            return found
        return self._function(name, tensors((args, options.values())), output)

    def _known(self, name: str, args: tuple[Any, ...], options: dict[str, Any], values: list[Value], y: Tensor) -> Any:
        """The output with its value, where the function is one that a layer or a factor stands for; else None."""
        x = args[0] if args else None
        if name in SUMS and len(args) == 2 and not options:
            return summed(name, args, values, y)
        if name in FACTORS and len(args) == 2 and not options:
            return multiplied(name, args, y)
        if not isinstance(x, Tensor) or len(values) != 1:
            return None
        if name in _SAME or ("dropout" in name and not options.get("training", True)):
            return marked(y, values[0])
        if name in _SHAPING and len(y) == len(x):
            return marked(y, values[0]) if y.shape == x.shape else self._shaped(x, y)
        if name in _POOLS:
            return self._made(_POOLS[name](*args[1:], **options), x, y)
        return None

    def _shaped(self, x: Tensor, y: Tensor) -> Tensor | None:
        return self._made(nn.Flatten(), x, y) if y.dim() == 2 else None


_POOLS: dict[str, Callable[..., nn.Module]] = {
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "max_pool2d": nn.MaxPool2d,
}


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, SYNAPSES):
        return computes_as_its_kind(module)
    return isinstance(module, _BatchNorm) or (
        type(module).__module__.startswith("torch.nn.modules.") and not list(module.children())
        and not isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    )  # fmt: skip


def _first_spikes(neuron: Neuron, current: Tensor) -> Tensor:
    return neuron.dynamics(current, neuron.initial_state(current))[0]

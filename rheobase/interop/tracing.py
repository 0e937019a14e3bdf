"""A model as a graph of layers, read off while it computes one step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from rheobase.aside import override
from rheobase.interop.one_step import used_twice
from rheobase.interop.trace import INPUT, OUTPUT, Node, Trace
from rheobase.interop.values import (
    FACTORS,
    SUMS,
    Value,
    added,
    has_changed,
    marked,
    multiplied,
    scaled,
    summed,
    value_of,
)
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


def traced(model: nn.Module, sample: Tensor) -> Trace:
    """The graph of `model` as it is in eval mode, for a sample `[N, ...]` of one step.

    Raises ValueError where the output does not depend on the sample.
    """
    modes = {module: module.training for module in model.modules()}
    tracer = _Tracer(model)
    try:
        # Tensors of inference mode do not tell of their changes.
        with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return tracer.run(model.eval(), sample)
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Tracer(TorchFunctionMode):
    """While active, every tensor carries the value that it is, through layers and functions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.trace = model, Trace()
        self.names = {module: name for name, module in model.named_modules()}
        self.before: dict[str, Value] = {}  # what stands for the output of a loop one step before
        self.stateful: set[nn.Module] = set()  # neurons and loops that have been used
        self.inside: list[nn.Module] = [model]
        self.paused = 0

    def run(self, model: nn.Module, sample: Tensor) -> Trace:
        x = marked(sample.clone(), {INPUT: 1.0})
        with override(model, self._forward_of), self:
            output = model(x)
        value = self._value(output)
        if not isinstance(output, Tensor) or not value:
            raise ValueError(
                f"Expected {type(model).__name__} to return one tensor made of its input, got "
                f"{'a constant' if isinstance(output, Tensor) else type(output).__name__}."
            )
        self.trace.output = self._resolved(value)
        self.trace.given, self.trace.made = tuple(sample.shape[1:]), tuple(output.shape[1:])
        for name, node in self.trace.nodes.items():
            self.trace.nodes[name] = replace(node, inputs=self._resolved(node.inputs))
        return self.trace

    def _value(self, x: Any) -> Value:
        """What x is made of; of what was written to in place, a function that no layer stands for."""
        with self._pause():
            if has_changed(x):
                marked(x, {self._node(self._where(), None, "change_in_place", value_of(x), x, x): 1.0})
        return value_of(x)

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
            return partial(self._once, module, partial(self._layer, module, partial(_first_spikes, module)))
        if isinstance(module, Loop):
            return partial(self._once, module, partial(self._loop, module))
        if not is_layer(module):
            return partial(self._container, module, module.forward)
        if isinstance(module, (*_DROPOUTS, nn.Identity)):
            return lambda x: x
        if isinstance(module, Scale):
            return partial(self._scale, module)
        return partial(self._layer, module, module.forward)

    def _once(self, module: nn.Module, compute: Forward, *inputs: Tensor, **options: Any) -> Tensor:
        if module in self.stateful:
            raise used_twice(self.model, module)
        self.stateful.add(module)
        return compute(*inputs, **options)

    def _container(self, module: nn.Module, plain: Forward, *inputs: Any, **options: Any) -> Any:
        self.inside.append(module)
        try:
            return plain(*inputs, **options)
        finally:
            self.inside.pop()

    def _layer(self, module: nn.Module, plain: Forward, *inputs: Tensor, **options: Any) -> Tensor:
        given = list(tensors((inputs, options.values())))
        values = [self._value(x) for x in given]  # before the call, which may work in place
        with self._pause():
            output = plain(*inputs, **options)
            if len(inputs) == len(values) == 1 and not options:
                return self._made(module, inputs[0], values[0], output)
            self._function(type(module).__name__, given, values, output)
        return output

    def _made(self, layer: nn.Module, x: Tensor, value: Value, output: Tensor) -> Tensor:
        factor = 1.0
        if isinstance(layer, nn.Flatten) and output.shape == x.shape:
            return marked(output, value)
        factors = set(value.values())
        if len(factors) == 1 and (isinstance(layer, _LINEAR) or (isinstance(layer, _LARGEST) and max(factors) > 0)):
            factor = factors.pop()  # handed on to what comes after
            value = dict.fromkeys(value, 1.0)
        where = self.names.get(layer) or f"{self._where()}.{type(layer).__name__}".lstrip(".")
        return marked(output, {self._node(where, layer, type(layer).__name__, value, x, output): factor})

    def _scale(self, scale: Scale, x: Tensor) -> Tensor:
        with self._pause():
            output = scale.factor * x
        return marked(output, scaled(self._value(x), scale.factor))

    def _loop(self, loop: Loop, x: Tensor) -> Tensor:
        self.inside.append(loop)
        current = loop.synapse(x)
        with self._pause():
            silence = loop.silence(current)
        name = f"{self.names[loop]} before"
        output: Tensor = loop.body(current + loop.recurrent(marked(silence, {name: 1.0})))
        self.before[name] = self._value(output)
        self.inside.pop()
        return output

    def _node(self, where: str, layer: nn.Module | None, kind: str, value: Value, x: Tensor, y: Tensor) -> str:
        name = (where if layer else f"{where}.{kind}".lstrip(".")).replace("/", "_")  # which parts names in a file
        unique, number = name, 1
        while unique in self.trace.nodes or unique in (INPUT, OUTPUT):
            number += 1
            unique = f"{name}_{number}"
        self.trace.nodes[unique] = Node(unique, layer, kind, value, tuple(x.shape[1:]), tuple(y.shape[1:]), where)
        return unique

    def _where(self) -> str:
        return self.names.get(self.inside[-1], "")

    def _function(self, name: str, given: list[Tensor], values: list[Value], output: Any) -> None:
        """A function that no layer stands for: whatever it makes comes from all that it is given."""
        made = list(tensors((output,)))
        sources = [(x, value) for x, value in zip(given, values, strict=True) if value]
        if not made or not sources:
            return
        everything: Value = {}
        for _, value in sources:
            everything |= value
        node = self._node(self._where(), None, name, everything, sources[0][0], made[0])
        for y in made:
            marked(y, {node: 1.0})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if self.paused:
            return func(*args, **options)
        given = list(tensors((args, options.values())))
        values = [self._value(x) for x in given]  # before the call, which may work in place
        output = func(*args, **options)
        if list(tensors((output,))):
            self.trace.direct |= {x for x in given if isinstance(x, nn.Parameter)}
        if any(values):
            name = func.__name__.strip("_")
            if not isinstance(output, Tensor) or self._known(name, args, options, values, output) is None:
                self._function(name, given, values, args[0] if name == "setitem" else output)
        return output

    def _known(self, name: str, args: tuple[Any, ...], options: dict[str, Any], values: list[Value], y: Tensor) -> Any:
        """The output with its value, where the function is one that a layer or a factor stands for; else None."""
        x = args[0] if args else None
        if name in SUMS and len(args) == 2 and not options:
            return summed(name, args, values, y)
        if name in FACTORS and len(args) == 2 and not options:
            return multiplied(name, args, values, y)
        if not isinstance(x, Tensor) or len(values) != 1:
            return None
        if name in _SAME or ("dropout" in name and not (args[2:3] or (options.get("training", True),))[0]):
            return marked(y, values[0])
        if name in _SHAPING and x.dim() and y.dim() and len(y) == len(x):
            return marked(y, values[0]) if y.shape == x.shape else self._shaped(x, values[0], y)
        if name in _POOLS:
            return self._made(_POOLS[name](*args[1:], **options), x, values[0], y)
        return None

    def _shaped(self, x: Tensor, value: Value, y: Tensor) -> Tensor | None:
        return self._made(nn.Flatten(), x, value, y) if y.dim() == 2 else None


_POOLS: dict[str, Callable[..., nn.Module]] = {
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "max_pool2d": nn.MaxPool2d,
}


def is_layer(module: nn.Module) -> bool:
    """Whether the module computes what its kind does, so that its settings tell all."""
    if "forward" in vars(module):  # someone's own, of this module alone
        return False
    if isinstance(module, SYNAPSES):
        return computes_as_its_kind(module)
    if isinstance(module, _BatchNorm):
        return type(module).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    if type(module) in (Scale, TimeSharedDropout):
        return True
    return (
        type(module).__module__.startswith("torch.nn.modules.")
        and not list(module.children())
        and not isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    )


def _first_spikes(neuron: Neuron, current: Tensor) -> Tensor:
    return neuron.dynamics(current, neuron.initial_state(current))[0]

"""What the layers of a model compute on one sequence: multiplications, additions at spikes, updates of neurons."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from rheobase.neurons import Neuron
from rheobase.synapses import CONVOLUTIONS, SYNAPSES, Operation, computes_as_its_kind, effective_weight, operation

_PRODUCTS = {
    torch.ops.aten.mm: slice(0, 2), torch.ops.aten.bmm: slice(0, 2),
    torch.ops.aten.addmm: slice(1, 3), torch.ops.aten.baddbmm: slice(1, 3),
}  # fmt: skip


class Count:
    """Of one layer, over all samples and steps seen.

    dense: multiplications of its synapses or products, with zeros and padding. effective: those of inputs and weights
        other than zero. all_ones: as `effective`, if no input and no weight were zero.
    effective_macs, effective_acs: `effective` by step, where the step's inputs are not or are all 0, 1 or -1.
    updates: of neurons.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.dense = self.updates = 0
        self.effective = self.all_ones = self.effective_macs = self.effective_acs = 0.0
        self.inputs, self.outputs = Values(), Values()

    @property
    def spike_driven(self) -> bool:
        """Whether all that it receives is 0 or of one size, which a weight can hold: then it only adds."""
        return self.inputs.is_of_one_size


class Values:
    """Tensors that came by: the shape for one sample, how many values, how many not zero, the sizes of these."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.number = self.active = 0
        self.least, self.most = math.inf, 0.0

    def see(self, x: Tensor) -> None:
        self.shape, sizes = tuple(x.shape[1:]), x.detach().abs()
        present = sizes[sizes > 0]
        self.number, self.active = self.number + x.numel(), self.active + present.numel()
        if present.numel():
            self.least, self.most = min(self.least, float(present.min())), max(self.most, float(present.max()))

    @property
    def is_of_one_size(self) -> bool:
        """Also where all are zero."""
        return self.most <= self.least

    @property
    def rate(self) -> float:
        return self.active / self.number if self.number else 0.0


class Counting(TorchDispatchMode):
    """Counts what the layers of a model compute while it is entered; `counts` by name, in the order of first use.

    samples: N of the sequences that will come.
    """

    def __init__(self, model: nn.Module, samples: int) -> None:
        super().__init__()
        self._model, self._samples, self._layers = model, samples, layers_of(model)
        self.counts: dict[str, Count] = {}
        self._running: list[tuple[str, nn.Module]] = []
        self._fans: dict[tuple[str, torch.Size], tuple[Operation, Tensor, Tensor]] = {}  # by the shape of the input
        self._looks_on = False
        self._hooks = ExitStack()

    def __enter__(self) -> "Counting":
        for name, module in self._model.named_modules():
            if is_part(name, self._layers):
                continue
            before = module.register_forward_pre_hook(partial(self._before, name))
            after = module.register_forward_hook(partial(self._after, name), with_kwargs=True)
            self._hooks.callback(before.remove)
            self._hooks.callback(after.remove)
        self._hooks.enter_context(attention_in_products())
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry and self._running and not self._looks_on:
            name, module = self._running[-1]
            if not isinstance(module, SYNAPSES):
                with self._looking_on():
                    self._product(self._of(name, module), packet, args, kwargs or {}, out)
        return out

    def _before(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._running.append((name, module))

    def _after(
        self, name: str, module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], output: Any
    ) -> None:
        self._running.pop()
        inputs = (*given, *named.values())
        if name not in self._layers or not inputs or not isinstance(output, Tensor):
            return
        with self._looking_on():
            count = self._of(name, module)
            count.inputs.see(inputs[0])
            count.outputs.see(output)
            if isinstance(module, Neuron):
                count.updates += output.numel()
            if isinstance(module, SYNAPSES):
                self._synapse(count, name, module, inputs[0].detach(), output.detach())

    @contextmanager
    def _looking_on(self) -> Iterator[None]:
        self._looks_on = True
        try:
            with torch.no_grad():
                yield
        finally:
            self._looks_on = False

    def _of(self, name: str, module: nn.Module) -> Count:
        return self.counts.setdefault(name, Count(type(module).__name__))

    def _synapse(self, count: Count, name: str, synapse: nn.Module, x: Tensor, output: Tensor) -> None:
        made = dense_macs(synapse, x, output)
        count.dense += made
        if not computes_as_its_kind(synapse):
            self._add(count, float(made), float(made), x)
            return
        place = name, x.shape[1:]
        if place not in self._fans:
            self._fans[place] = fans(synapse, name, x[:1], output[:1])
        made_of, fan, fan_of_ones = self._fans[place]
        effective = ((made_of.prepare(x) != 0) * fan).flatten(1).sum(1, dtype=torch.float64)
        count.all_ones += len(x) * float(fan_of_ones.sum(dtype=torch.float64))
        count.effective += float(effective.sum())
        steps = x.flatten(1).unflatten(0, (-1, self._samples)).flatten(1)
        is_binary = ((steps == 0) | (steps.abs() == 1)).all(1)
        by_step = effective.unflatten(0, (-1, self._samples)).sum(1)
        count.effective_acs += float(by_step[is_binary].sum())
        count.effective_macs += float(by_step[~is_binary].sum())

    def _product(self, count: Count, packet: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> None:
        made = flop_registry[packet](*args, **kwargs, out_val=out) // 2
        count.dense += made
        if packet not in _PRODUCTS:
            count.inputs.see(args[0])
            self._add(count, float(made), float(made), args[0])
            return
        first, second = args[_PRODUCTS[packet]]
        effective = float(((first != 0).double().sum(-2) * (second != 0).double().sum(-1)).sum())
        spiking = next((x for x in (first, second) if is_of_one_size(x)), first)
        count.inputs.see(spiking)
        self._add(count, effective, float(made), spiking)

    @staticmethod
    def _add(count: Count, effective: float, all_ones: float, x: Tensor) -> None:
        count.effective += effective
        count.all_ones += all_ones
        if bool(((x == 0) | (x.abs() == 1)).all()):
            count.effective_acs += effective
        else:
            count.effective_macs += effective


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """What is looked at as one, by name: synapses and neurons, whatever their parts, and modules without parts."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        whole = isinstance(module, (Neuron, *SYNAPSES)) or next(module.children(), None) is None
        if whole and not is_part(name, found):
            found[name] = module
    return found


def is_part(name: str, layers: Iterable[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def dense_macs(synapse: nn.Module, x: Tensor, output: Tensor) -> int:
    """The multiplications of `output = synapse(x)`, with zeros and padding: half of its floating-point operations."""
    if isinstance(synapse, nn.Linear):
        return output.numel() * synapse.in_features
    assert isinstance(synapse, CONVOLUTIONS)
    swept = x if synapse.transposed else output
    return swept.numel() // swept.shape[1] * synapse.weight.numel()


def fans(synapse: nn.Module, name: str, x: Tensor, output: Tensor) -> tuple[Operation, Tensor, Tensor]:
    """Its operation, and to how many outputs each input goes: by weights other than zero, and by all weights.

    In float32, which has all these whole numbers, whatever the precision of the model.
    """
    made = operation(synapse, name)
    ones, prepared = torch.ones_like(output, dtype=torch.float32), made.prepare(x).float()
    present = (effective_weight(synapse).detach() != 0).float()
    with torch.autocast(x.device.type, enabled=False):
        return (
            made,
            made.input_gradient(ones, prepared, present),
            made.input_gradient(ones, prepared, torch.ones_like(present)),
        )


@contextmanager
def attention_in_products() -> Iterator[None]:
    """Inside, PyTorch's attention is made of matrix products, which can be counted, and not of kernels of its own."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def is_of_one_size(x: Tensor) -> bool:
    values = Values()
    values.see(x)
    return values.is_of_one_size

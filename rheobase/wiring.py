"""Which neurons a synapse hears and which it feeds, read off a model while it runs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rheobase.neurons import Neuron

Origins = frozenset[nn.Module]
OUTPUT = nn.Identity()  # stands for the output of the model among the receivers


def origins(x: Tensor) -> Origins:
    """The synapses and neurons whose outputs reach `x` without passing another one; empty for the model's input."""
    return getattr(x, "_rheobase_origins", frozenset())


def _mark(x: Tensor, sources: Origins) -> Tensor:
    if sources:
        x._rheobase_origins = sources  # type: ignore[attr-defined]
    return x


def tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among the values and in the collections among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list, ValuesView)):
            yield from tensors(value)


def written(func: Callable[..., Any], args: tuple[Any, ...], out: Any) -> Iterator[Tensor]:
    """The tensors that `func` made or wrote into, and of what the latter are views."""
    for x in tensors(args[:1] if func is Tensor.__setitem__ else (out,)):
        yield x
        if args and x is args[0] and x._base is not None:
            yield x._base


class Wiring(TorchFunctionMode):
    """While active, every tensor carries its origins through whatever the model computes."""

    def __init__(self) -> None:
        super().__init__()
        self.senders: defaultdict[nn.Module, set[nn.Module]] = defaultdict(set)
        self.receivers: defaultdict[nn.Module, set[nn.Module]] = defaultdict(set)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        made = list(written(func, args, out))
        if made:
            given = tensors((args, (kwargs or {}).values()))
            sources = frozenset[nn.Module]().union(*(origins(x) for x in given))
            for x in made:
                _mark(x, sources | origins(x))
        return out

    def arrive(self, module: nn.Module, x: Tensor) -> None:
        """Notes that `x` enters a synapse or neuron, or, for OUTPUT, leaves the model."""
        for source in origins(x):
            self.receivers[source].add(module)
            self.senders[module].add(source)

    def carry(self, x: Tensor, y: Tensor) -> None:
        """Notes that `y` comes from `x`, where no torch function shows it."""
        _mark(y, origins(x))

    def leave(self, module: nn.Module, x: Tensor) -> None:
        """Notes that `x` is the output of a synapse or neuron."""
        _mark(x, frozenset([module]))

    def neurons_before(self, synapse: nn.Module) -> set[Neuron]:
        """The neurons whose output enters the synapse, also through other synapses."""
        return self._reach(synapse, self.senders)

    def neurons_after(self, synapse: nn.Module) -> set[Neuron]:
        """The neurons that the synapse feeds, also through other synapses."""
        return self._reach(synapse, self.receivers)

    @staticmethod
    def _reach(start: nn.Module, steps: Mapping[nn.Module, set[nn.Module]]) -> set[Neuron]:
        found: set[Neuron] = set()
        seen, todo = {start}, [start]
        while todo:
            for module in steps.get(todo.pop(), ()):
                if isinstance(module, Neuron):
                    found.add(module)
                elif module not in seen:
                    seen.add(module)
                    todo.append(module)
        return found

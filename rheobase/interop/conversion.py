"""What the conversions from all libraries share: one walk over a net, and what stays of it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from rheobase.explained import explained
from rheobase.interop.loops import called_in_loops
from rheobase.neurons import Neuron

_Kind = TypeVar("_Kind")
LIBRARIES = {"spikingjelly": "from_spikingjelly", "snntorch": "from_snntorch", "norse": "from_norse"}
# What computes the same for a sequence [T, N, F] as for its steps [N, F].
TIMELESS = (
    nn.Linear, nn.LayerNorm, nn.Identity, nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Dropout,
)  # fmt: skip


@dataclass(frozen=True)
class Library:
    """package: of LIBRARIES.

    containers: its modules whose children are layers of the net; those of others are a matter of their own.
    models: the part of it whose modules are nets, written as a user would write them.
    """

    package: str
    containers: tuple[str, ...] = ()
    models: str | None = None

    def owns(self, module: nn.Module) -> bool:
        """Whether the module, or a class that it comes from, is the library's."""
        return any(
            _within(kind, self.package) and not (self.models is not None and _within(kind, self.models))
            for kind in type(module).__mro__
        )

    def layers(self, net: nn.Module) -> dict[str, nn.Module]:
        """The modules of the net by path, parents first, but for what is inside the library's own layers."""
        if not isinstance(net, nn.Module):
            raise TypeError(f"Expected a torch.nn.Module, got {type(net).__name__}.")
        found: dict[str, nn.Module] = {}
        closed: set[str] = set()
        for path, module in net.named_modules():
            parent = path.rpartition(".")[0]
            if path and parent in closed:
                closed.add(path)
                continue
            found[path] = module
            if self.owns(module) and type(module).__name__ not in self.containers:
                closed.add(path)
        return found


class Copier:
    """Copies the parts of one net, each once: what is shared in the net is shared in the copy.

    copy: parameters and buffers are copied too; otherwise the copy has the net's own.
    """

    def __init__(self, net: nn.Module, copy: bool) -> None:
        self.copy = copy
        self.stateful: set[nn.Module] = set()  # what neurons stand for
        self.registered = set(net.modules())
        self._memo = without_graphs(net)
        if not copy:
            self._memo |= {id(part): part for part in (*net.parameters(), *net.buffers())}

    def of(self, part: Any) -> Any:
        """The copy of a module or a parameter."""
        return deepcopy(part, self._memo)

    def replace(self, module: nn.Module, made: nn.Module) -> None:
        """From now on the copy of `module` is `made`."""
        self._memo[id(module)] = made
        if any(isinstance(part, Neuron) for part in made.modules()):
            self.stateful.add(module)

    def as_kind(self, module: nn.Module, kind: type[nn.Module]) -> nn.Module:
        """A copy of the module, of another class that has the same attributes."""
        made = kind.__new__(kind)
        made.__dict__ = {name: self.of(part) for name, part in vars(module).items()}
        return made

    def in_sequence(self, container: nn.Sequential) -> nn.Sequential:
        """A plain `nn.Sequential` of what stands for the layers of the container, by the same names."""
        layers = container._modules.items()  # named_children() has a layer that stands in two places once
        made = nn.Sequential(OrderedDict((name, self.of(layer)) for name, layer in layers))
        made.training = container.training
        return made


def without_graphs(net: nn.Module) -> dict[int, Any]:
    """A memo for `deepcopy`: what the modules keep of earlier runs is copied without the graph that it hangs on."""
    kept = (part for module in net.modules() for part in _held(vars(module).values(), Tensor))
    return {id(part): part.detach().clone() for part in kept if not part.is_leaf}


def _held(values: Iterable[Any], kind: type[_Kind]) -> Iterator[_Kind]:
    """What of this kind is among the values and in the collections among them."""
    for value in values:
        if isinstance(value, kind):
            yield value
        elif isinstance(value, dict):
            yield from _held(value.values(), kind)
        elif isinstance(value, list | tuple):
            yield from _held(value, kind)


Convert = Callable[[nn.Module, str, Copier], nn.Module | None]


def converted(net: nn.Module, library: Library, convert: Convert, *, copy: bool) -> nn.Module:
    """The net with the library's modules replaced; the net itself, or a copy of it, if it has none of them.

    convert: (module, path, copier) -> what stands for it, or None for what stays. Children come before parents. Raises
        ValueError with the reason for what it refuses.

    Raises ValueError that names every module that cannot be converted, and why.
    """
    _refuse_others(net, library)
    if not any(library.owns(module) for module in net.modules()):
        return deepcopy(net) if copy else net
    copier = Copier(net, copy)
    problems = []
    for path, module in reversed(library.layers(net).items()):
        try:
            _replace(module, path, library, convert, copier)
        except ValueError as reason:
            problems.append(f"{path or 'the net'} ({type(module).__name__}): {reason}")
            copier.replace(module, nn.Identity())
    if problems:
        found = "\n".join(f"  {problem}" for problem in reversed(problems))
        raise explained(
            ValueError(f"{LIBRARIES[library.package]} cannot convert this net exactly:\n{found}"), "conversion"
        )
    return copier.of(net)  # type: ignore[no-any-return]


def _replace(module: nn.Module, path: str, library: Library, convert: Convert, copier: Copier) -> None:
    made = convert(module, path, copier)
    if made is not None:
        if any(vars(module)[hooks] and not vars(made)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks")):
            raise ValueError("it has forward hooks, which its counterpart would not have. Remove them first.")
        if type(module).__name__ not in library.containers:
            made.train(module.training)
        copier.replace(module, made)
    elif library.owns(module):
        raise ValueError("no counterpart with the same dynamics is known. Write it as a rheobase.Neuron.")
    else:
        _refuse_hidden(module, library, copier)
        _refuse_loops(module, copier)


def step_of(module: nn.Module) -> nn.Module | None:
    """What does with one step [N, ...] what a plain module does with a sequence [T, N, ...]; None if it does so itself.

    Raises ValueError where that is not known.
    """
    if type(module) in TIMELESS or type(module) is nn.Sequential:
        return None
    if type(module) is nn.Flatten and module.start_dim >= 2 and (module.end_dim < 0 or module.end_dim >= 2):
        return nn.Flatten(module.start_dim - 1, module.end_dim - (module.end_dim > 0))
    raise ValueError("it sees whole sequences [T, N, ...] here, so what it does with one step [N, ...] cannot be told.")


def number(value: float | Tensor, name: str) -> float:
    """A setting as a number.

    Raises ValueError for one that is learned or differs between neurons.
    """
    if isinstance(value, Tensor):
        if value.requires_grad or value.numel() != 1:
            raise ValueError(
                f"{name} is {'learned' if value.requires_grad else f'a tensor of shape {list(value.shape)}'}; here it "
                "can only be a number."
            )
        return value.item()
    return float(value)


def _within(kind: type, package: str) -> bool:
    return kind.__module__ == package or kind.__module__.startswith(package + ".")


def _refuse_others(net: nn.Module, library: Library) -> None:
    for package, entry in LIBRARIES.items():
        for path, module in net.named_modules():
            if package != library.package and Library(package).owns(module):
                raise ValueError(
                    f"{path or 'the net'} ({type(module).__name__}) is a module of {package}: use rheobase.{entry}."
                )


def _refuse_hidden(module: nn.Module, library: Library, copier: Copier) -> None:
    """Refuses modules in plain lists and dictionaries alone, which neither PyTorch nor a conversion finds."""
    parts = {part for held in _held(vars(module).values(), nn.Module) for part in held.modules()}
    if any(library.owns(part) for part in parts - copier.registered):
        raise ValueError("it keeps modules in a plain list or dictionary. Use nn.ModuleList or nn.ModuleDict.")


def _refuse_loops(module: nn.Module, copier: Copier) -> None:
    """Refuses a forward that calls neurons within a loop, which pass through time there."""
    names = [
        name
        for name in sorted(called_in_loops(module))
        if any(part in copier.stateful for part in module.get_submodule(name).modules())
    ]
    if names:
        raise ValueError(
            f"its forward calls {', '.join(names)} within a loop. Write it for one step [N, ...], without the loop: "
            "rheobase.run and the rules go through the steps, and start from rest."
        )

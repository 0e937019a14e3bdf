"""What a model computes in one step: a graph of layers and functions."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from rheobase.interop.values import Value

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

    direct: the parameters that functions in a forward take, past the layers that have them.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    output: Value = field(default_factory=dict)
    given: tuple[int, ...] = ()
    made: tuple[int, ...] = ()
    direct: set[Tensor] = field(default_factory=set)

    def uses(self, name: str) -> list[float]:
        """The factors that the node's output is used with, one a use."""
        values = [*(node.inputs for node in self.nodes.values()), self.output]
        return [value[name] for value in values if name in value]

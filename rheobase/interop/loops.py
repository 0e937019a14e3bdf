"""Loops over time in a forward, found in its source: here a forward is one step."""

import ast
import inspect
from textwrap import dedent

from torch import nn


def called_in_loops(module: nn.Module) -> set[str]:
    """The names of the module's children that its forward calls as `self.child(...)` within a loop.

    Empty where the source is not at hand.
    """
    try:
        tree = ast.parse(dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError):
        return set()
    repeated: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While):
            repeated += node.body
        elif isinstance(node, ast.ListComp | ast.GeneratorExp):
            repeated.append(node.elt)
    calls = [part.func for part in repeated for part in ast.walk(part) if isinstance(part, ast.Call)]
    return {
        call.attr
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "self"
    } & {name for name, child in module._modules.items() if child is not None}

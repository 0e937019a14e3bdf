"""From the words of the command line to a command."""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import FunctionType
from typing import Any

import tyro

from rheobase.cli.importing import imported, told_of_imports
from rheobase.names import choose

# Where each command is found, a file and a function in it; only the one that is called is imported.
COMMANDS = {
    "train": "commands.train",
    "compare": "comparing.compare",
    "evaluate": "commands.evaluate",
    "resume": "commands.go_on",
    "runs": "runs.runs",
    "recipes": "recipes.show_recipes",
    "audit": "auditing.audit",
    "profile": "profiling.profile",
    "plan": "profiling.plan",
    "plot": "picturing.plot",
    "report": "reporting.report",
    "explain": "explaining.explain",
    "export": "exporting.export",
    "cite": "citing.print_citation",
    "list": "commands.show_list",
    "data": "data.data",
    "completion": "completing.completion",
}


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name; its exit code.

    Raises ValueError naming the nearest commands for a name that is none.
    """
    name, *rest = imported(arguments) or [""]
    command = command_named(name)
    with told_of_imports():
        if name == "train":
            from rheobase.cli.recipes import starting_point

            experiment, rest = starting_point(rest)
            command = starting_from(experiment, command)
        code: int = tyro.cli(command, prog=f"rheobase {name}", args=rest, registry=registry())
    return code


def command_named(name: str) -> Callable[..., int]:
    file, _, function = choose("command", name, COMMANDS).partition(".")
    command: Callable[..., int] = getattr(import_module(f"rheobase.cli.{file}"), function)
    return command


def starting_from(experiment: Any, train: Callable[..., int]) -> Callable[..., int]:
    """The command `train` with the experiment's fields as its flags' defaults."""
    assert isinstance(train, FunctionType)
    command = FunctionType(train.__code__, train.__globals__, train.__name__, train.__defaults__)
    command.__doc__, command.__annotations__ = train.__doc__, train.__annotations__
    assert command.__defaults__ is not None
    command.__defaults__ = (experiment, *command.__defaults__[1:])
    return command


def registry() -> tyro.constructors.ConstructorRegistry:
    """On the command line a rule is its text."""
    made = tyro.constructors.ConstructorRegistry()

    @made.primitive_rule
    def rule(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[str] | None:
        if str(info.type) != "str | rheobase.rules.rule.Rule":  # by name: not every command needs PyTorch
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="RULE",
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: isinstance(value, str),
            str_from_instance=lambda value: [value],
        )

    return made

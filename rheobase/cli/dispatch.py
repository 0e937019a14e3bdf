"""From the words of the command line to a command."""

from collections.abc import Callable, Sequence
from types import FunctionType

import tyro

from rheobase.cli.auditing import audit
from rheobase.cli.commands import evaluate, go_on, show_list, train
from rheobase.cli.comparing import compare
from rheobase.cli.data import data
from rheobase.cli.picturing import plot
from rheobase.cli.profiling import plan, profile
from rheobase.cli.recipes import show_recipes, starting_point
from rheobase.cli.reporting import report
from rheobase.cli.runs import runs
from rheobase.rules.rule import Rule
from rheobase.training import DivergedError, Experiment
from rheobase.training.out_of_memory import OutOfMemory

EXPECTED = (ValueError, TypeError, OSError, NotImplementedError, ImportError, DivergedError, OutOfMemory)

COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "compare": compare,
    "evaluate": evaluate,
    "resume": go_on,
    "list": show_list,
    "data": data,
    "recipes": show_recipes,
    "runs": runs,
    "audit": audit,
    "profile": profile,
    "plan": plan,
    "plot": plot,
    "report": report,
}


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name; its exit code."""
    commands = dict(COMMANDS)
    if arguments[0] == "train":
        experiment, rest = starting_point(arguments[1:])
        arguments, commands["train"] = ["train", *rest], starting_from(experiment)
    code: int = tyro.extras.subcommand_cli_from_dict(
        commands, prog="rheobase", description="Train spiking networks with many learning rules.", args=arguments,
        sort_subcommands=False, registry=registry(),
    )  # fmt: skip
    return code


def starting_from(experiment: Experiment) -> Callable[..., int]:
    """The command `train` with the experiment's fields as its flags' defaults."""
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
        if info.type != (str | Rule):
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="RULE",
            instance_from_str=lambda words: words[0],
            is_instance=lambda value: isinstance(value, str),
            str_from_instance=lambda value: [value],
        )

    return made

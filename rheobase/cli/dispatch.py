"""From the words of the command line to a command."""

from collections.abc import Callable, Sequence

import tyro

from rheobase.cli.commands import evaluate, go_on, show_list, train
from rheobase.cli.comparing import compare
from rheobase.rules.rule import Rule
from rheobase.training import DivergedError

EXPECTED = (
    ValueError, TypeError, FileNotFoundError, FileExistsError, NotImplementedError, ImportError, DivergedError,
)  # fmt: skip

COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "compare": compare,
    "evaluate": evaluate,
    "resume": go_on,
    "list": show_list,
}


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name; its exit code."""
    code: int = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="rheobase", description="Train spiking networks with many learning rules.", args=arguments,
        sort_subcommands=False, registry=registry(),
    )  # fmt: skip
    return code


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

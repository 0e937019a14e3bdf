"""The command `rheobase completion`: what a shell needs to complete commands, flags and names."""

import io
import re
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from rheobase.cli.dispatch import COMMANDS, command_named, registry
from rheobase.cli.exporting import Format
from rheobase.cli.flags import Kind
from rheobase.cli.importing import FLAG
from rheobase.datasets import DATASETS
from rheobase.datasets.published import PUBLISHED
from rheobase.explained import TOPICS
from rheobase.losses import LOSSES
from rheobase.models import MODELS
from rheobase.neurons import NEURONS
from rheobase.recipes import RECIPES
from rheobase.rules import RULES

Shell = Literal["bash", "zsh", "fish"]

# What may follow a command, and what a word, besides what the command's own help says.
AFTER_COMMAND: dict[str, Iterable[str]] = {
    "train": RECIPES,
    "recipes": RECIPES,
    "compare": RULES,
    "cite": RULES,
    "list": get_args(Kind),
    "data": ("list", "check", "fetch"),
    "explain": TOPICS,
    "completion": get_args(Shell),
}
AFTER_FLAG: dict[str, Iterable[str]] = {
    "--rule": RULES,
    "--rules": RULES,
    "--data": DATASETS,
    "--model": MODELS,
    "--neuron": NEURONS,
    "--loss": LOSSES,
    "--format": get_args(Format),
}
# At the start of a line of help, in a box or without one: the flag and its choices.
_FLAG = re.compile(r"^[│ ] (?:-h, )?(--[\w-]+)(?: \[?\{([\w,.-]+)\})?", re.MULTILINE)


def completion(shell: Annotated[Shell, tyro.conf.Positional]) -> int:
    """Print a script by which a shell completes commands, flags and names.

    Args:
        shell: yours. Write the script to where it looks for such: docs/command-line.md says where.
    """
    commands = [Words.of(name) for name in COMMANDS]
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](commands), end="")
    return 0


@dataclass(frozen=True)
class Words:
    """What may come after a command: names, flags, and what may come after some of those."""

    command: str
    names: tuple[str, ...]
    flags: tuple[str, ...]
    after: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, command: str) -> "Words":
        flags = flags_of(command) | {FLAG: ()}  # these are read before the help is made
        if command == "train":
            flags |= {"--from": (), "--set": ()}
        after = {flag: (*AFTER_FLAG.get(flag, ()), *choices) for flag, choices in flags.items()}
        if command == "data":
            after |= dict.fromkeys(("check", "fetch"), tuple(PUBLISHED))
        after = {word: given for word, given in after.items() if given}
        return cls(command, tuple(AFTER_COMMAND.get(command, ())), tuple(flags), after)


def flags_of(command: str) -> dict[str, tuple[str, ...]]:
    """The flags in the command's help, each with its choices."""
    shown = io.StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        tyro.cli(command_named(command), prog=command, args=["--help"], registry=registry())
    choices = {flag: values.split(",") for flag, values in _FLAG.findall(shown.getvalue())}
    return {flag: tuple(value for value in values if value and value != "None") for flag, values in choices.items()}


def bash(commands: list[Words]) -> str:
    after = [(f"'{words.command} {word}'", given) for words in commands for word, given in words.after.items()]
    own = [(f"'{words.command} '-*", words.flags) for words in commands]
    own += [(f"'{words.command} '*", words.names) for words in commands]
    lines = [
        "_rheobase() {",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=",
        '    case "${COMP_WORDS[1]} $before" in',
        *(f"        {pattern}) words='{' '.join(given)}' ;;" for pattern, given in after),
        '        *) case "${COMP_WORDS[1]} $current" in',
        *(f"            {pattern}) words='{' '.join(given)}' ;;" for pattern, given in own),
        "        esac ;;",
        "    esac",
        f"    [ \"$COMP_CWORD\" = 1 ] && words='{' '.join(words.command for words in commands)}'",
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _rheobase rheobase",
    ]
    return "\n".join(lines) + "\n"


def zsh(commands: list[Words]) -> str:
    """Bash's script, which zsh can read."""
    return "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" + bash(commands)


def fish(commands: list[Words]) -> str:
    lines = [f"complete -c rheobase -f -n __fish_use_subcommand -a '{' '.join(words.command for words in commands)}'"]
    for words in commands:
        start = f"complete -c rheobase -n '__fish_seen_subcommand_from {words.command}"
        lines += [f"{start}' -f -a '{' '.join(words.names)}'"] if words.names else []
        lines += [f"{start}' -l {flag[2:]}" for flag in words.flags if flag not in words.after]
        for word, given in words.after.items():
            where = f"' -l {word[2:]} -x" if word.startswith("--") else f"; and __fish_seen_subcommand_from {word}' -f"
            lines.append(f"{start}{where} -a '{' '.join(given)}'")
    return "\n".join(lines) + "\n"

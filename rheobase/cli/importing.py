"""`--import MODULE`: rules, and other things with a name, of the user's own on the command line."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

FLAG = "--import"
_UNKNOWN = re.compile(r"\bUnknown (rule|neuron|model|data set|loss) '")


def imported(arguments: Sequence[str]) -> list[str]:
    """The arguments without each `--import MODULE`, after importing those modules, also from the current folder.

    Raises ImportError for a module that cannot be imported.
    """
    left: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != FLAG:
            left.append(word)
            continue
        module = value if equals else next(words, "")
        import_named(module)
    return left


def import_named(module: str) -> None:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        if not module or module.startswith(("-", ".")):
            raise ModuleNotFoundError(name=module)
        import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            name = module.removesuffix(".py") if module.removesuffix(".py").isidentifier() else "my_rule"
            raise ImportError(
                f"Found no module {module!r}: write {FLAG} {name} for the file {name}.py in this folder."
            ) from error
        raise ImportError(f"{FLAG} {module}: {type(error).__name__}: {error}") from error


@contextmanager
def told_of_imports() -> Iterator[None]:
    """An error about an unknown name gets a word on names of one's own."""
    try:
        yield
    except ValueError as error:
        if _UNKNOWN.search(str(error)):
            error.add_note(
                f"One of your own needs {FLAG} MODULE, the module that adds it to rheobase.RULES or the like."
            )
        raise

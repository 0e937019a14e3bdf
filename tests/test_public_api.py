"""The public names and their parameters, as public_api.txt has them.

`python tests/test_public_api.py` writes that file anew.
"""

import difflib
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import rheobase as rb

PINNED = Path(__file__).with_name("public_api.txt")
UPDATE = (
    "The public API is not as tests/public_api.txt has it. If that is meant, run `python tests/test_public_api.py`, "
    "commit the file, and say it in CHANGELOG.md; what goes away is deprecated first (docs/deprecations.md).\n"
)


def public_api() -> list[str]:
    """A line for each public name, in alphabetical order within its module."""
    found, lines = dict[int, str](), list[str]()
    for module in (rb, *(importlib.import_module(f"rheobase.{name}") for name in rb._MODULES)):
        for name in sorted(names_of(module)):
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            if isinstance(value, ModuleType):
                lines.append(f"{path}: module")
            elif id(value) in found and not isinstance(value, str):
                lines.append(f"{path} = {found[id(value)]}")
            else:
                found[id(value)] = path
                lines += described(path, value)
    return lines


def names_of(module: ModuleType) -> list[str]:
    """What `import *` gives; of a module that does not say, what is defined in it and its tables."""
    if "__all__" in vars(module):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (isinstance(value, dict) or getattr(value, "__module__", "") == module.__name__)
    ]


def described(path: str, value: Any) -> Iterator[str]:
    """The name with its parameters, and of a class with its public methods."""
    if inspect.isclass(value):
        yield path + parameters(value)
        for name, member in sorted(vars(value).items()):
            is_field = is_dataclass(value) and name in {field.name for field in fields(value)}
            if name.startswith("_") or name == "extra_repr" or is_field:
                continue
            member = getattr(member, "__func__", member)  # class and static methods
            if inspect.isfunction(member):
                yield f"{path}.{name}{parameters(member)}"
            elif isinstance(member, property):
                yield f"{path}.{name}"
    elif isinstance(value, dict):
        yield f"{path}: {', '.join(sorted(map(str, value)))}"
    elif callable(value) and hasattr(value, "__name__"):
        yield path + parameters(value)
    else:
        yield f"{path}: {type(value).__name__}"


def parameters(of: Any) -> str:
    """As in a definition, without types: "(model, xs, *, chunk=None)"; none of what is made as torch or Python says."""
    maker = of
    if inspect.isclass(of):
        maker = next(kind for kind in of.__mro__ if "__init__" in vars(kind) or "__new__" in vars(kind))
    if maker.__module__.partition(".")[0] in ("torch", "builtins") or getattr(of, "_is_protocol", False):
        return ""
    plain = [
        parameter.replace(annotation=parameter.empty, default=Shown.of(parameter.default))
        for parameter in inspect.signature(of).parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(plain))


class Shown:
    """A default, written in the same way in every process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def of(cls, default: Any) -> Any:
        if default in (inspect.Parameter.empty, MISSING):
            return default
        if isinstance(default, Enum) or not (callable(default) and hasattr(default, "__qualname__")):
            return cls(repr(default))
        return cls(default.__qualname__)


def test_the_public_api_is_the_one_written_down() -> None:
    before, now = PINNED.read_text().splitlines(), public_api()
    changes = [line for line in difflib.unified_diff(before, now, lineterm="", n=0) if not line.startswith("@@")]
    assert not changes, UPDATE + "\n".join(changes)


def test_a_changed_parameter_or_name_is_noticed() -> None:
    def old(model: object, xs: object, *, chunk: int | None = None) -> None: ...
    def new(model: object, xs: object, *, chunk: int | None = 1) -> None: ...

    assert list(described("rb.run", old)) == ["rb.run(model, xs, *, chunk=None)"]
    assert list(described("rb.run", old)) != list(described("rb.run", new))
    assert "rheobase.LIF.dynamics(current, state)" in public_api()
    assert "rheobase.neurons.LIF = rheobase.LIF" in public_api()


def test_no_line_hangs_on_the_process_that_wrote_it() -> None:
    assert not [line for line in public_api() if " at 0x" in line or "<function" in line]


if __name__ == "__main__":
    PINNED.write_text("\n".join(public_api()) + "\n")

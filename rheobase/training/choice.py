"""Choosing by text: "sltt", "sltt(steps=2)", "lif(decay=0.9, surrogate=atan)"."""

import ast
import collections.abc
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rheobase.names import choose

_CALL = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_LONGEST = 1000
_WORDS = {"true": True, "false": False, "none": None}


def read_call(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options in `text`, "name" or "name(option=value, ...)". Nothing in it is run.

    Values are Python literals; a word or a call without quotes, as in `surrogate=atan(alpha=2)`, stays text.
    """
    match = _CALL.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError(text)
        return match[1], {_option(word.arg): _value(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise ValueError(
            f"Cannot read {shown!r}: write name or name(option=value, ...), a path in quotes of its own, as in "
            "mnist(root='/data/mine')."
        ) from error


def written_call(name: str, options: Mapping[str, object]) -> str:
    """The inverse of `read_call`."""
    text = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}({text})" if text else name


def _option(name: str | None) -> str:
    if name is None:
        raise ValueError("** is not an option")
    return name


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.Call):
        return ast.unparse(node)
    return ast.literal_eval(node)


def options_of(make: Callable[..., Any]) -> dict[str, Any]:
    """The options that text can give to `make`, with their defaults: keywords that are data, not functions."""
    hints = get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    return {
        name: parameter.default
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and get_origin(hints.get(name)) is not collections.abc.Callable
    }


def chosen(
    kind: str, text: str, table: Mapping[str, Any], *, given: tuple[str, ...] = ()
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The entry of `table` that `text` names, and the checked options to call it with.

    given: parameters that are not for the text to choose.

    Raises ValueError for an unknown name, an unknown or missing option, or a value of the wrong type.
    """
    name, options = read_call(text)
    make = choose(kind, name, table)
    known = {option: default for option, default in options_of(make).items() if option not in given}
    hints = get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]
    for option, value in options.items():
        choose(f"option of {kind} {name!r}:", option, known)
        require_fit(f"{name}({option}=...)", value, hints[option])
    missing = [o for o, default in known.items() if default is inspect.Parameter.empty and o not in options]
    if missing:
        raise ValueError(f"{kind.capitalize()} {name!r} needs {', '.join(missing)}: write {name}({missing[0]}=value).")
    return make, options


def require_fit(what: str, value: Any, hint: Any) -> None:
    """Raises ValueError unless `value` may stand where the annotation is `hint`."""
    if not _fits(value, hint):
        expected = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
        expected = re.sub(r"\b(?:\w+\.)+", "", expected)
        raise ValueError(f"{what} expects {expected}, got {value!r}.")


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin in (collections.abc.Sequence, list, tuple):
        return isinstance(value, (list, tuple)) and all(_fits(v, parts[0]) for v in value if parts)
    if hint in (int, float):
        return not isinstance(value, bool) and isinstance(value, (int, hint))
    if hint in (None, NoneType):
        return value is None
    return isinstance(value, hint) if isinstance(hint, type) else True


def text_of(name: str, thing: object) -> str:
    """The text that makes the dataclass `thing` again under `name`, with the fields that are not the default."""
    if not is_dataclass(thing):
        return name
    own = {field.name: getattr(thing, field.name) for field in fields(thing) if field.init}
    defaults = {field.name: field.default for field in fields(thing)}
    return written_call(name, {option: value for option, value in own.items() if value != defaults[option]})

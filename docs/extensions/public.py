"""What is public: the modules whose `__all__` the reference holds, and where each name has its entry."""

import importlib
from types import ModuleType
from typing import Any

import rheobase

MODULES = ("rheobase", *(f"rheobase.{name}" for name in rheobase._MODULES))


def names_of(module: str) -> list[str]:
    """The public names of a module, without modules and dunders."""
    found = importlib.import_module(module)
    named = getattr(found, "__all__", None) or [name for name in vars(found) if _is_own(found, name)]
    return [name for name in named if not name.startswith("_") and not isinstance(getattr(found, name), ModuleType)]


def _is_own(module: ModuleType, name: str) -> bool:
    thing = getattr(module, name)
    return not name.startswith("_") and (isinstance(thing, dict) or getattr(thing, "__module__", "") == module.__name__)


def entries() -> dict[str, str]:
    """Each public name as `module.name`, and the one of its places that has the entry: the shortest."""
    homes: dict[Any, str] = {}
    found: dict[str, str] = {}
    for module in MODULES:
        for name in names_of(module):
            thing = getattr(importlib.import_module(module), name)
            found[f"{module}.{name}"] = homes.setdefault(id(thing), f"{module}.{name}")
    return found

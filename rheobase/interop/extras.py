"""Optional packages, imported when they are needed."""

import importlib
from types import ModuleType

from rheobase.explained import explained


def optional(package: str, extra: str) -> ModuleType:
    """The package. Raises ImportError that names the extra which brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise explained(
            ImportError(f"This needs the package {package!r}: pip install 'rheobase[{extra}]'."), "extras"
        ) from error

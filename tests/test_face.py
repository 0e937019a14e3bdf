"""What `import rheobase` gives, and what it costs."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import rheobase as rb

LIGHT = {"rheobase", "rheobase.version"}


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has after `code`, which may set `before` to leave some out."""
    program = f"import json, sys\nbefore = set(sys.modules)\n{code}\nprint(json.dumps(list(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def foreign(modules: set[str]) -> set[str]:
    return {module for module in modules if module.partition(".")[0] not in {*sys.stdlib_module_names, "rheobase"}}


def test_importing_rheobase_imports_no_other_package_and_nothing_of_its_own() -> None:
    found = modules_after("import rheobase")
    assert foreign(found) == set()
    assert {module for module in found if module.startswith("rheobase")} == LIGHT


def test_beyond_torch_and_numpy_neurons_rules_and_layers_import_nothing_either() -> None:
    names = [name for name in rb._HOME if rb._HOME[name] not in ("citing", "interop")]
    code = f"import torch\nbefore = set(sys.modules)\nimport rheobase as rb\nfor name in {names}: getattr(rb, name)"
    found = modules_after(code)
    assert "rheobase.engine" in found
    assert {module.partition(".")[0] for module in foreign(found)} <= {"numpy"}
    parts = {module.split(".")[1] for module in found if module.startswith("rheobase.")}
    assert not parts & {"datasets", "models", "transforms", "events", "training", "measure", "plots", "report", "cli"}


def test_each_public_name_is_found_where_it_is_defined() -> None:
    for name in rb.__all__:
        value = getattr(rb, name)
        if name in rb._MODULES:
            assert value is importlib.import_module(f"rheobase.{name}")
        elif name != "__version__":
            assert value is vars(importlib.import_module(f"rheobase.{rb._HOME[name]}"))[name]
            assert vars(rb)[name] is value  # the next access costs nothing


def test_type_checkers_are_told_the_same_names_in_the_same_places() -> None:
    tree = ast.parse(Path(rb.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.asname: ("" if node.module == "rheobase" else node.module.removeprefix("rheobase."))
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname == alias.name
    }
    assert told == rb._HOME | dict.fromkeys(rb._MODULES, "")


def test_the_names_are_listed_and_a_wrong_one_is_an_attribute_error() -> None:
    assert set(rb.__all__) <= set(dir(rb))
    assert len(set(rb.__all__)) == len(rb.__all__)
    with pytest.raises(AttributeError, match="no attribute 'SLTTT'"):
        _ = rb.SLTTT


def test_no_name_is_also_that_of_a_file() -> None:
    package = Path(rb.__file__).parent
    files = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert not set(rb._HOME) & files

"""The arrows of the architecture."""

import ast
from pathlib import Path

import pytest

import rheobase as rb

PACKAGE = Path(rb.__file__).parent
# Who may import whom: a folder or file to what it may import, besides itself.
BASE = {"names", "explained", "dual", "version", "processes", "units"}
MODEL = BASE | {"surrogates", "neurons", "layers", "synapses"}
INSIDE = {
    "kernels",
    "aside",
    "once",
    "wiring",
    "layout",
    "views",
    "norms",
    "pools",
    "treatment",
    "casts",
    "moments",
    "synchronised",
}
ENGINE = MODEL | INSIDE | {"engine", "sequence", "chunks", "inference"}
ARROWS = {
    "names": set(),
    "explained": set(),
    "dual": set(),
    "version": set(),
    "units": set(),
    "processes": set(),
    "casts": BASE,
    "moments": BASE | {"casts"},
    "synchronised": BASE | {"layers", "kernels", "casts", "moments"},
    "metrics": BASE | {"flow_losses"},
    "precision": BASE,
    "citing": BASE | {"rules", "training"},
    "learner": ENGINE | {"rules"},
    "watching": ENGINE | {"rules"},
    "recorder": ENGINE | {"watching"},
    "plots": BASE | {"recorder", "metrics", "training", "datasets", "events", "measure"},
    "distributed": BASE | {"synchronised"},
    "surrogates": BASE,
    "neurons": BASE | {"surrogates"},
    "layers": BASE | {"surrogates", "neurons"},
    "kernels": BASE | {"surrogates", "neurons"},
    "models": MODEL,
    "synapses": BASE | {"layers"},
    "aside": BASE,
    "once": BASE | {"casts"},
    "layout": BASE,
    "views": BASE,
    "pools": BASE,
    "norms": BASE | {"layers", "kernels", "casts", "moments", "synchronised"},
    "wiring": BASE | {"neurons"},
    "sequence": BASE,
    "treatment": ENGINE,
    "engine": ENGINE,
    "chunks": ENGINE,
    "inference": ENGINE,
    "losses": BASE | {"flow_losses"},
    "flow_losses": BASE,
    "rules": ENGINE,
    "interop": ENGINE | {"training", "models", "datasets", "metrics"},
    "transforms": BASE,
    "events": BASE,
    "datasets": BASE | {"transforms", "events", "metrics"},
}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rheobase."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("rheobase.")}
    return found


@pytest.mark.parametrize("part", ARROWS)
def test_imports_point_one_way(part: str) -> None:
    files = list((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for file in files:
        assert imported(file) <= ARROWS[part] | {part}, file


def test_training_and_measuring_know_rules_by_their_contract_alone() -> None:
    for folder in ("training", "measure"):
        for file in (PACKAGE / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rheobase.rules"):
                    assert node.module in ("rheobase.rules", "rheobase.rules.rule"), file
                    assert {alias.name for alias in node.names} <= {"RULES", "Rule", "Result", "Loss", "Backward"}, file


def test_no_file_holds_more_than_one_idea() -> None:
    long = {
        str(file.relative_to(PACKAGE)): lines
        for file in PACKAGE.rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 350
    }
    assert not long

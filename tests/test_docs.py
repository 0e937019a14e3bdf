"""What the documentation shows is run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from datasets.writers import write_cifar10

from rheobase.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICK = ["--epochs", "1", "--limit", "128"]


def blocks(language: str) -> list[object]:
    found = []
    for page in PAGES:
        pattern = rf"```{language}\n(.*?)```"
        for number, text in enumerate(re.findall(pattern, page.read_text(), re.DOTALL)):
            found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_shown_runs(code: str) -> None:
    for package in ("lightning", "accelerate"):
        if f"import {package}" in code:
            pytest.importorskip(package)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("text", blocks("console"))
def test_commands_shown_run(text: str, tmp_path: Path) -> None:
    """In order, in one folder; training for one epoch on few samples."""
    binary = Path(sys.executable).parent / "rheobase"
    write_cifar10(tmp_path / "cifar10", 20)
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
            continue
        quick = QUICK if words[1:2] in (["train"], ["compare"]) else []
        if words[1:2] == ["train"] and words[2] in RECIPES:
            quick = ["--set", "epochs=1", "batch_size=16", "model.width=0.125", "data.verify=false", "data.steps=2"]
        done = subprocess.run(
            [str(binary), *words[1:], *quick],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RHEOBASE_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"

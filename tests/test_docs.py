"""What the documentation shows is run, what it links to is there, and what it quotes was recorded."""

import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from datasets.writers import write_cifar10, write_recordings
from torch import nn

import rheobase as rb
from rheobase.recipes import RECIPES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "gallery" not in page.parts)]
QUICK = ["--epochs", "1", "--limit", "128"]
OPTIONAL = {  # packages that an example may need, and what tells so
    "lightning": r"import lightning",
    "accelerate": r"import accelerate",
    "spikingjelly": r"spikingjelly",
    "snntorch": r"snntorch",
    "norse": r"norse",
    "nir": r"\bnir\b|_nir\(",
    "onnx": r"onnx",
}


def blocks(language: str) -> list[object]:
    found = []
    for page in PAGES:
        pattern = rf"```{language}\n(.*?)```"
        for number, text in enumerate(re.findall(pattern, page.read_text(), re.DOTALL)):
            found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def require_packages(text: str) -> None:
    for package, sign in OPTIONAL.items():
        if re.search(sign, text):
            pytest.importorskip(package)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_shown_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages(code)
    monkeypatch.setenv("RHEOBASE_CACHE", str(tmp_path / "kept"))
    if "benchmarks/results" not in code:  # what is read there; all else is written to an empty folder
        monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("text", blocks("console"))
def test_commands_shown_run(text: str, tmp_path: Path) -> None:
    """In order, in one folder; training for one epoch on few samples."""
    require_packages(text)
    binary = Path(sys.executable).parent / "rheobase"
    write_cifar10(tmp_path / "cifar10", 20)
    write_recordings(tmp_path / "recordings")
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
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "RHEOBASE_DATA": str(tmp_path),
                "RHEOBASE_CACHE": str(tmp_path / "kept"),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("thing", [rb.Learner, rb.record])
def test_examples_in_docstrings_run(thing: object) -> None:
    (code,) = re.findall(r"\n\n((?:    .*\n)+)", inspect.getdoc(thing) or "")
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), rb.LIF(), nn.Linear(4, 2))
    xs, target = torch.rand(5, 2, 3), torch.tensor([0, 1])
    names = {"rheobase": rb, "model": model, "xs": xs, "target": target}
    names["learner"] = rb.Learner(model, rb.SLTT(), rb.losses.cross_entropy)
    exec(compile(dedent(code), "example", "exec"), names)


def anchors(page: Path) -> set[str]:
    """What a link to a heading may name, as forges and the site build it."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for file, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        target = page if not file else page.parent / file
        assert target.exists(), f"{page.name}: {file}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {file}#{anchor}"


def script(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDED = script(DOCS / "rules" / "recorded.py")


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in RECORDED.PAGES])
def test_the_figures_on_the_pages_of_rules_are_the_recorded_ones(page: Path) -> None:
    assert page.read_text() == RECORDED.renewed(page), "Run python docs/rules/recorded.py"


def test_the_results_page_is_what_its_script_writes() -> None:
    assert (DOCS / "results.md").read_text() == script(DOCS / "results" / "report.py").main()


def test_each_named_rule_has_a_page_with_its_equation_its_failures_its_cost_and_its_paper() -> None:
    pages = {"truncated-bptt": "bptt"}
    for name in rb.RULES:
        text = (DOCS / "rules" / f"{pages.get(name, name)}.md").read_text()
        for part in (
            "$$",
            "| drops |",
            "## When it fails",
            "## Cost",
            "## Example",
            "## Paper",
            "](../pictures/rules/",
        ):
            assert part in text, f"{name}: {part}"


def test_pictures_are_shown_somewhere() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links_of_pictures(page)}
    assert {*(DOCS / "pictures").rglob("*.png")} - shown == set()


def links_of_pictures(page: Path) -> list[str]:
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())

"""What `python -m build` makes, and that it works where nothing else of ours is."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import rheobase as rb

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE")
STEP = """
import torch, rheobase as rb
from torch import nn
net = nn.Sequential(nn.Linear(4, 5), rb.LIF(), nn.Linear(5, 3))
rb.SLTT().backward(net, torch.rand(6, 2, 4), torch.randint(3, (2,)), loss=rb.losses.cross_entropy)
assert net[0].weight.grad.abs().sum() > 0
print(rb.__file__)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel, of a copy of the sources with tests, a run and caches beside them."""
    pytest.importorskip("build")
    tree = tmp_path_factory.mktemp("tree")
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    for name in ("rheobase", "tests"):
        shutil.copytree(ROOT / name, tree / name)
    for name in ("runs/mine/config.json", "rheobase/__pycache__/x.pyc", "tests/__pycache__/x.pyc", "docs/index.md"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("{}")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tree / "dist"), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = (tree / "dist").glob("*.tar.gz"), (tree / "dist").glob("*.whl")
    return sdist, wheel


def package_files() -> set[str]:
    """What belongs into both."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rheobase").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_whole_package_the_licence_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    info = f"rheobase-{rb.__version__}.dist-info"
    assert {name for name in names if not name.startswith(info)} == package_files()
    assert f"{info}/licenses/LICENSE" in names
    assert {"rheobase/py.typed", "rheobase/report/page.css", "rheobase/citations.bib"} <= names
    assert "rheobase/explanations/layout.md" in names


def test_the_sdist_holds_what_the_wheel_is_made_of_and_no_tests_runs_or_caches(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames() if sdist.getmember(name).isfile()}
    made = {name for name in names if name.startswith("rheobase.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - made == package_files() | set(FILES)


def test_the_metadata_are_valid_and_the_readme_is_in_them(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = Metadata.from_email(wheel.read(name), validate=True)
    assert (metadata.name, str(metadata.version)) == ("rheobase", rb.__version__)
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.description_content_type == "text/markdown"
    assert (metadata.description or "").strip() == (ROOT / "README.md").read_text().strip()


def test_the_wheel_works_in_an_environment_of_its_own(built: tuple[Path, Path], tmp_path: Path) -> None:
    """PyTorch and the rest are lent by this one, behind the environment's own packages."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(home / "bin" / "python"),
        "install",
        "--no-deps",
        "--no-compile",
        "--quiet",
    ]
    subprocess.run([*pip, "--no-index", "--disable-pip-version-check", str(built[1])], check=True)
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    there = {"cwd": tmp_path, "capture_output": True, "text": True}

    python = subprocess.run([home / "bin" / "python", "-c", STEP], **there)
    assert python.returncode == 0, python.stderr
    assert Path(python.stdout.strip()).parent == own / "rheobase"
    for words, shown in (
        ([], "rheobase train"),
        (["explain", "layout"], "time-first"),
        (["cite", "sltt"], "@inproceedings"),
    ):
        command = subprocess.run([home / "bin" / "rheobase", *words], **there)
        assert command.returncode == 0, command.stderr
        assert shown in command.stdout

"""The site of the documentation: built once, without running the tutorials."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

for package in ("sphinx", "furo", "myst_parser", "sphinx_gallery", "sphinx_copybutton", "matplotlib"):
    pytest.importorskip(package, reason="The site needs `pip install 'rheobase[docs]'`.")

ROOT = Path(__file__).parent.parent
MADE_BY_SPHINX = {"genindex.html", "search.html", "py-modindex.html", "sg_execution_times.html"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the site is made of, as the gallery writes beside its sources."""
    there = tmp_path_factory.mktemp("repository")
    generated = shutil.ignore_patterns("gallery", "__pycache__", "sg_execution_times.rst")
    for part in ("docs", "benchmarks/results", "rheobase/explanations"):
        shutil.copytree(ROOT / part, there / part, ignore=generated)
    for file in ("benchmarks/README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / file, there / file)
    return there


@pytest.fixture(scope="module")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    site = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-n", "-D", "plot_gallery=0"]
    command = [sys.executable, "-m", "sphinx", *options, str(sources / "docs"), str(site)]
    return site, subprocess.run(command, capture_output=True, text=True)


class Links(HTMLParser):
    """What a page leads to, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.leads.append(given["href"])
        if tag in ("script", "img", "link", "iframe") and (given.get("src") or given.get("href")):
            self.loads.append(given.get("src") or given["href"])


def pages(site: Path) -> set[Path]:
    return {page for page in site.rglob("*.html") if page.name not in MADE_BY_SPHINX and "_static" not in page.parts}


def test_it_is_built_without_a_warning(built) -> None:
    _, done = built
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_each_public_name_has_an_entry(built, monkeypatch: pytest.MonkeyPatch) -> None:
    from sphinx.util.inventory import InventoryFile

    monkeypatch.syspath_prepend(str(ROOT / "docs" / "extensions"))
    from public import entries

    inventory = InventoryFile.loads((built[0] / "objects.inv").read_bytes(), uri="")
    listed = {
        name
        for kind in ("class", "function", "exception", "data", "attribute")
        for name in inventory.data[f"py:{kind}"]
    }
    places = set(entries().values())
    assert len(places) > 150
    assert places - listed == set()


def test_each_page_is_reached_from_the_index(built) -> None:
    site, _ = built
    reached, todo = set(), [site / "index.html"]
    while todo:
        page = todo.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        for link in Links(page).leads:
            parts = urlsplit(link)
            if not parts.scheme and parts.path.endswith(".html"):
                todo.append((page.parent / unquote(parts.path)).resolve())
    assert len(reached) > 40
    assert pages(site) - reached == set()


def test_links_within_the_site_lead_to_a_place_that_is_there(built) -> None:
    site, _ = built
    places = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text())) for page in site.rglob("*.html")}
    for page in pages(site):
        for link in Links(page).leads:
            parts = urlsplit(link)
            if parts.scheme or not (parts.path or parts.fragment):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.exists(), f"{page.name}: {link}"
            if parts.fragment and target in places:
                assert unquote(parts.fragment) in places[target], f"{page.name}: {link}"


def test_each_topic_that_errors_name_is_on_the_page_of_errors(built) -> None:
    topics = list((ROOT / "rheobase" / "explanations").glob("*.md"))
    headings = re.findall(r"<h2>", (built[0] / "errors.html").read_text())
    assert len(headings) == len(topics) > 0


def test_pages_load_nothing_from_elsewhere(built) -> None:
    for page in pages(built[0]):
        for link in Links(page).loads:
            assert not urlsplit(link).scheme or link.startswith("data:"), f"{page.name}: {link}"


def test_no_path_of_this_machine_is_on_the_site(built, sources: Path) -> None:
    site, _ = built
    private = {str(ROOT), str(sources), str(site), sys.prefix, str(Path.home()) + "/"}
    for file in [*site.rglob("*.html"), *site.rglob("*.js"), *site.rglob("*.rst.txt")]:
        text = file.read_text(errors="replace")
        for path in private:
            assert path not in text, f"{file.relative_to(site)}: {path}"

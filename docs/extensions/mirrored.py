"""Pages of the site whose text stands elsewhere in the repository; links to those files lead to the pages."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {  # page of the site: the file
    "benchmarks": "benchmarks/README.md",
    "benchmark-results": "benchmarks/results/cpu/results.md",
    "planner-results": "benchmarks/results/cpu/planner.md",
    "changelog": "CHANGELOG.md",
}
EXPLAINED = "errors"  # holds the texts of `rheobase explain`
TUTORIALS, GALLERY = ROOT / "docs" / "tutorials", ROOT / "docs" / "gallery"  # scripts, and what is rendered of them
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    docs = ROOT / "docs"
    if page in PAGES:
        origin = ROOT / PAGES[page]
        source[0] = moved(origin.read_text(), origin.parent, docs)
    elif page == EXPLAINED:
        texts = [file.read_text() for file in sorted((ROOT / "rheobase" / "explanations").glob("*.md"))]
        source[0] += "\n" + "\n".join(re.sub(r"^#", "##", text, flags=re.MULTILINE) for text in texts)
    elif (docs / f"{page}.md").exists():
        folder = (docs / page).parent
        source[0] = moved(source[0], folder, folder)


def moved(text: str, before: Path, after: Path) -> str:
    """Markdown from the folder `before` as it must read in `after`."""
    mirrors = {str(ROOT / file): str(ROOT / "docs" / f"{page}.md") for page, file in PAGES.items()}

    def link(found: re.Match[str]) -> str:
        target = os.path.normpath(before / found[1])
        target = mirrors.get(target, target)
        if Path(target) == TUTORIALS:
            target = str(GALLERY / "index.rst")
        elif Path(target).parent == TUTORIALS:
            target = str(GALLERY / f"{Path(target).stem}.rst")
        return f"]({os.path.relpath(target, after)}{found[2] or ''})"

    return _LINK.sub(link, text)

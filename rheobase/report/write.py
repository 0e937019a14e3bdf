"""From folders to a page."""

from collections.abc import Sequence
from pathlib import Path

from rheobase.report.audit import audit_chapter
from rheobase.report.benchmark import benchmark_chapter
from rheobase.report.comparison import comparison_chapter
from rheobase.report.page import Chapter, page
from rheobase.report.records import records_in
from rheobase.report.run import run_chapter
from rheobase.training.files import CONFIG, REPORT, read_json, write_aside

AUDIT, RESULTS = "audit.json", "results.json"


def report(folders: Sequence[str | Path]) -> str:
    """The page about what is in the folders, in their order: runs, comparisons, audits and benchmarks.

    All dates are those of the figures, so the same folders give the same page.

    Raises ValueError for a folder that holds none of these, and where its files cannot be read.
    """
    if not folders:
        raise ValueError("Expected at least one folder to report on.")
    return page([chapter_of(Path(folder)) for folder in folders])


def write_report(folders: Sequence[str | Path], path: str | Path | None = None) -> Path:
    """Writes the page; where it is. path: by default report.html in the folder, of several in the working folder."""
    if path is None:
        path = Path(folders[0] if len(folders) == 1 else ".") / REPORT
    content = report(folders).encode(errors="replace")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: file.write(content))
    return path


def chapter_of(folder: Path) -> Chapter:
    if not folder.is_dir():
        raise FileNotFoundError(f"No folder {folder}: name the folder of a run, a comparison, an audit or a benchmark.")
    try:
        chapter = found_in(folder)
    except (KeyError, IndexError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{folder} was written by another version, or damaged: its figures cannot be read "
            f"({type(error).__name__}: {error})."
        ) from error
    if chapter is None:
        raise ValueError(
            f"Nothing to report on in {folder}: expected {CONFIG} of a run, {RESULTS} of `rheobase compare` or of "
            f"`python -m benchmarks`, or {AUDIT}."
        )
    return chapter


def found_in(folder: Path) -> Chapter | None:
    if (folder / CONFIG).is_file():
        return run_chapter(folder)
    if (folder / AUDIT).is_file():
        return audit_chapter(folder, read_json(folder / AUDIT))
    if (folder / RESULTS).is_file() and "rules" in (found := read_json(folder / RESULTS)):
        return comparison_chapter(folder, found)
    records = records_in(folder)
    return benchmark_chapter(folder, records) if records else None

"""Which gesture was made when: the label files of DVS128-Gesture."""

from pathlib import Path

TITLES = "class,startTime_usec,endTime_usec"
CLASSES = 11
DIGITS = 18


def read_gesture_labels(path: str | Path) -> list[tuple[int, int, int]]:
    """The rows (class, start, stop) of a label file: class 1 .. 11 as in the file, times in microseconds.

    Rows may overlap: in the published user22_led_labels.csv one gesture ends after the next has begun.

    Raises ValueError, naming the file and the line, for anything else.
    """
    path = Path(path)
    lines = [line.strip() for line in path.read_text("utf-8-sig", "replace").splitlines()]
    if not lines or lines[0].replace(" ", "") != TITLES:
        raise ValueError(f"{path}: expected {TITLES!r} in line 1, got {lines[0] if lines else 'an empty file'!r}.")
    rows = [row(line, path, number) for number, line in enumerate(lines[1:], start=2) if line]
    if not rows:
        raise ValueError(f"{path}: no gestures after line 1.")
    return rows


def row(line: str, path: Path, number: int) -> tuple[int, int, int]:
    """Class, start and stop from one line; ValueError for what is none."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 3 or not all(cell.isascii() and cell.isdigit() and len(cell) <= DIGITS for cell in cells):
        raise ValueError(f"{path}: expected three whole numbers {TITLES} in line {number}, got {line[:200]!r}.")
    kind, start, stop = map(int, cells)
    if not 1 <= kind <= CLASSES:
        raise ValueError(f"{path}: expected a class in 1 .. {CLASSES} in line {number}, got {kind}.")
    if start >= stop:
        raise ValueError(f"{path}: expected a start before the end in line {number}, got {start} and {stop}.")
    return kind, start, stop

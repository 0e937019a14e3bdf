"""Benchmark records, as `python -m benchmarks` writes them: seconds, ratios and bytes of each case."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rheobase.training.files import read_json
from rheobase.training.history import number, text

OURS = "Rheobase"
# To whose fastest exact BPTT times are compared; the first of these libraries that ran.
REFERENCES = {
    "SpikingJelly": ("BPTT, single-step", "BPTT, multi-step"), "plain PyTorch": ("BPTT, loop", "BPTT, layer by layer"),
}  # fmt: skip

Place = tuple[str, int]  # network and T
Key = tuple[str, str]  # library and case


@dataclass
class Case:
    """One way to train at one place.

    seconds: of a step, under the better allocator setting. relative: the same, in units of the reference's.
    kept, peak: bytes. reasons: why something is missing, of "times" and "memory".
    """

    seconds: float | None = None
    relative: float | None = None
    kept: float | None = None
    peak: float | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why something is missing, "" where nothing is."""
        return next(filter(None, self.reasons.values()), "")


@dataclass
class Bench:
    """What was found at one place. reference: the library whose fastest BPTT is 1, "" for none."""

    batch: int = 0
    reference: str = ""
    cases: dict[Key, Case] = field(default_factory=dict)

    @property
    def rival(self) -> Case | None:
        """The fastest case of the reference."""
        known = [
            case for (library, name), case in self.cases.items()
            if library == self.reference and name in REFERENCES[library] and case.seconds is not None
        ]  # fmt: skip
        return min(known, key=lambda case: case.seconds or math.inf, default=None)


def records_in(folder: Path) -> list[dict[str, Any]]:
    """The records among the folder's JSON files, the oldest first."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            record = read_json(file)
        except ValueError:
            continue
        if isinstance(record.get("times"), list) and isinstance(record.get("memory"), list):
            found.append(record)
    return sorted(found, key=lambda record: text(record, "date"))


def benches(records: Sequence[Mapping[str, Any]]) -> dict[Place, Bench]:
    """By network and T, at the last record's batch. Times are those of the last record that has the place, as ratios
    are of one run.
    """
    found: dict[Place, Bench] = {}
    for record in records:
        for kind in ("memory", "times"):
            by_place: dict[Place, list[dict[str, Any]]] = {}
            for row in record[kind]:
                by_place.setdefault((row["net"], row["steps"]), []).append(row)
            for place, rows in by_place.items():
                bench = found.setdefault(place, Bench())
                if bench.batch != rows[0]["batch"]:  # what there is of another batch does not compare
                    bench = found[place] = Bench(rows[0]["batch"])
                add_memory(bench, rows) if kind == "memory" else add_times(bench, rows)
    return dict(sorted(found.items(), key=lambda pair: pair[0][1]))


def add_memory(bench: Bench, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["status"] != "not measured":
            case = bench.cases.setdefault((row["library"], row["case"]), Case())
            case.kept, case.peak = number(row, "kept"), number(row, "peak")
            case.reasons["memory"] = reason(row)


def add_times(bench: Bench, rows: Sequence[Mapping[str, Any]]) -> None:
    timed = [row for row in rows if "median" in row]
    bench.reference = next(
        (library for library, names in REFERENCES.items() if any(is_of(row, library, names) for row in timed)), ""
    )
    units = dict(unit_times(timed, bench.reference))
    for case in bench.cases.values():
        case.seconds = case.relative = None
        case.reasons.pop("times", None)
    for row in rows:
        case = bench.cases.setdefault((row["library"], row["case"]), Case())
        if "median" not in row:
            case.reasons["times"] = case.reasons.get("times") or reason(row)
            continue
        same = [r for r in timed if all(r[name] == row[name] for name in ("library", "case", "allocator"))]
        case.seconds = least(case.seconds, same[0]["median"])
        ratios = [r["median"] / units[r["group"]] for r in same if r["group"] in units]
        if ratios:
            case.relative = least(case.relative, statistics.fmean(ratios))


def unit_times(timed: Sequence[Mapping[str, Any]], reference: str) -> Iterator[tuple[int, float]]:
    """The reference's fastest time in each group of cases that ran interleaved, of those in which it ran."""
    if reference:
        for group in {row["group"] for row in timed}:
            names = REFERENCES[reference]
            medians = [r["median"] for r in timed if r["group"] == group and is_of(r, reference, names)]
            if medians:
                yield group, min(medians)


def is_of(row: Mapping[str, Any], library: str, names: Sequence[str]) -> bool:
    return row["library"] == library and row["case"] in names


def reason(row: Mapping[str, Any]) -> str:
    return "" if row["status"] == "ok" else f"{row['status']}: {row.get('reason') or 'no reason recorded'}"


def least(a: float | None, b: float) -> float:
    return b if a is None else min(a, b)

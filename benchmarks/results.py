"""Reads recorded results: seconds, ratios to the reference, bytes."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.cases import CASES, PLAIN_REFERENCES, REFERENCES

Place = tuple[str, int]  # network and T


@dataclass
class Timing:
    """One case at one place, for each allocator setting.

    relative: seconds over those of the fastest reference in the same group, so that drift of the machine cancels.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    relative: dict[str, float] = field(default_factory=dict)
    status: str = "ok"
    reason: str = ""

    @property
    def best(self) -> float | None:
        return min(self.relative.values(), default=None)


@dataclass
class Results:
    """runs: what each run was made with. batch, reference, times, memory: by network and T, then by case."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    batch: dict[Place, int] = field(default_factory=dict)
    reference: dict[Place, str] = field(default_factory=dict)
    times: dict[Place, dict[str, Timing]] = field(default_factory=dict)
    memory: dict[Place, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def nets(self) -> list[str]:
        return list(dict.fromkeys(net for net, _ in self.batch))

    @property
    def allocators(self) -> list[str]:
        return list(dict.fromkeys(name for run in self.runs for name in run["allocators"]))

    def steps(self, net: str) -> list[int]:
        return sorted(steps for name, steps in self.batch if name == net)

    def keys(self, net: str) -> list[str]:
        """The cases that ran on the network, in the order of the table of cases."""
        places = [(net, steps) for steps in self.steps(net)]
        ran = {key for place in places for key, timing in self.times.get(place, {}).items() if timing.seconds}
        ran |= {key for place in places for key, row in self.memory.get(place, {}).items() if row["status"] == "ok"}
        order = [case.key for case in CASES]
        return sorted(ran, key=lambda key: order.index(key) if key in order else len(order))

    def best(self, place: Place, key: str) -> float | None:
        """The case's relative time under its best allocator setting; exactly 1 for the faster reference."""
        timing = self.times.get(place, {}).get(key)
        return timing.best if timing else None

    def ratio(self, place: Place, key: str, against: tuple[str, ...]) -> float | None:
        """Time over the fastest of `against`, each under its best setting."""
        mine, fastest = self.best(place, key), self.fastest(place, against)
        return mine / fastest if mine is not None and fastest is not None else None

    def fastest(self, place: Place, keys: tuple[str, ...]) -> float | None:
        if keys == REFERENCES:
            return 1.0 if self.reference.get(place) == "SpikingJelly" else None
        return min((best for key in keys if (best := self.best(place, key)) is not None), default=None)

    def bytes(self, place: Place, key: str, what: str) -> int | None:
        found: int | None = self.memory.get(place, {}).get(key, {}).get(what)
        return found


def load(records: list[Path]) -> Results:
    """The results of one or several runs.

    Where several have a network and T, the times of the last one count, as ratios are of one run; memory is taken case
    by case.
    """
    results = Results()
    for record in records:
        run = json.loads(record.read_text())
        results.runs.append({name: value for name, value in run.items() if name not in ("times", "memory")})
        for kind in ("memory", "times"):
            by_place: dict[Place, list[dict[str, Any]]] = defaultdict(list)
            for row in run[kind]:
                by_place[row["net"], row["steps"]].append(row)
            for place, rows in by_place.items():
                results.batch[place] = rows[0]["batch"]
                if kind == "memory":
                    results.memory.setdefault(place, {}).update((key_of(row), row) for row in rows)
                else:
                    read_times(results, place, rows)
    return results


def key_of(row: dict[str, Any]) -> str:
    return f"{row['library']}/{row['case']}"


def read_times(results: Results, place: Place, rows: list[dict[str, Any]]) -> None:
    timed = [row for row in rows if "median" in row]
    keys = next((keys for keys in (REFERENCES, PLAIN_REFERENCES) if any(key_of(row) in keys for row in timed)), ())
    results.reference[place] = keys[0].split("/")[0] if keys else "nothing"
    references = dict[int, float]()
    for group in {row["group"] for row in timed}:
        medians = [row["median"] for row in timed if row["group"] == group and key_of(row) in keys]
        if medians:
            references[group] = min(medians)
    found: dict[str, Timing] = {}
    for row in rows:
        timing = found.setdefault(key_of(row), Timing())
        if "median" not in row:
            timing.status, timing.reason = row["status"], row.get("reason", "")
            continue
        same = [r for r in timed if key_of(r) == key_of(row) and r["allocator"] == row["allocator"]]
        timing.seconds[row["allocator"]] = same[0]["median"]
        compared = [r for r in same if r["group"] in references or not keys]
        if compared:
            timing.relative[row["allocator"]] = mean(r["median"] / references.get(r["group"], 1.0) for r in compared)
    results.times[place] = found

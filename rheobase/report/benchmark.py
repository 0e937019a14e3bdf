"""What is told of benchmarks: time and memory of each way to train, network by network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rheobase.report.bars import Bar, bar_chart
from rheobase.report.html import Markup, code, element, folded, joined, listed, paragraph
from rheobase.report.lines import Axes, Line, line_chart
from rheobase.report.page import Chapter, Section
from rheobase.report.records import OURS, Bench, Case, Key, Place, benches
from rheobase.report.table import Cell, Row, table
from rheobase.report.texts import NONE, brief, bytes_cell, cell, day, versions
from rheobase.training.history import mapping
from rheobase.units import size

LIBRARIES = (OURS, "SpikingJelly", "plain PyTorch")  # their order gives their colours
SHOWN = 12  # lines of a chart over T


def benchmark_chapter(folder: Path, records: Sequence[Mapping[str, Any]]) -> Chapter:
    """records: the oldest first."""
    found = benches(records)
    nets = list(
        dict.fromkeys(str(net) for record in records for kind in ("times", "memory") for net in nets_of(record[kind]))
    )
    sections = [section for net in nets for section in net_sections(net, found)]
    machines = dict.fromkeys(str(mapping(record, "machine").get("cpu")) for record in records)
    days = list(dict.fromkeys(day(record)[:10] for record in records))
    notes = [
        "Medians of training steps, each way under its better allocator setting. "
        "Kept: alive when the backward pass starts."
    ]
    if any(record.get("quick") for record in records):
        notes.insert(0, "A quick run on tiny networks: it shows that everything works; its figures mean nothing.")
    return Chapter(
        f"Benchmarks {folder.resolve().name}", headline(nets, found),
        " · ".join([*machines, " to ".join(dict.fromkeys((days[0], days[-1])))]),
        [*sections, Section("How it was made", [origin(records)])], notes,
    )  # fmt: skip


def nets_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [row["net"] for row in rows]


def headline(nets: Sequence[str], found: Mapping[Place, Bench]) -> Markup:
    """Our fastest way to train beside the reference, on the first network, at its longest sequence that has both."""
    for net in nets:
        for place in sorted((place for place in found if place[0] == net), key=lambda place: -place[1]):
            bench = found[place]
            ours = {key: case for key, case in bench.cases.items() if trains(key) and case.relative is not None}
            if ours and bench.reference and bench.rival is not None:
                (_, name), case = min(ours.items(), key=lambda pair: pair[1].relative or 0.0)
                speed = 1 / (case.relative or 1.0)
                told = f" trains {net} {speed:.1f} times as fast as {bench.reference}'s fastest BPTT"
                kept = (
                    f", keeping {case.kept / bench.rival.kept:.2g} of its memory"
                    if case.kept and bench.rival.kept
                    else ""
                )
                return joined((code(name), f"{told}{kept} (T = {place[1]})."))
    ways = len({key for bench in found.values() for key in bench.cases})
    return joined((f"{ways} ways to train, measured on {', '.join(nets)}.",))


def trains(key: Key) -> bool:
    """Ours, on input that changes; the forward pass alone has a name in small letters."""
    library, name = key
    return library == OURS and name[:1].isupper() and "static image" not in name


def net_sections(net: str, found: Mapping[Place, Bench]) -> Iterator[Section]:
    places = {place: bench for place, bench in found.items() if place[0] == net}
    parts: list[str] = []
    longest = max((p for p in places if times_of(places[p])), default=max(places))
    parts.append(element("div", {"class": "charts"}, *bars(longest, places[longest])))
    if len(places) > 1:
        parts.append(element("div", {"class": "charts"}, *over_steps(places)))
    for place, bench in places.items():
        made = of_place(place, bench)
        parts.append(made if place == longest else folded(f"T = {place[1]}, batch {bench.batch}", made))
    reasons = dict.fromkeys(
        joined((f"{library}: {name}, T = {steps}: {case.reason}",))
        for (_, steps), bench in places.items() for (library, name), case in bench.cases.items() if case.reason
    )  # fmt: skip
    if reasons:
        parts += [paragraph("Not run:"), listed(reasons)]
    yield Section(net, parts)


def times_of(bench: Bench) -> list[Case]:
    return [case for case in bench.cases.values() if case.seconds is not None]


def bars(place: Place, bench: Bench) -> Iterator[Markup]:
    """Time and memory at one place, the least first."""
    timed = sorted(((c.seconds, key) for key, c in bench.cases.items() if c.seconds is not None))
    kept = sorted(((c.kept, key, c.peak or 0.0) for key, c in bench.cases.items() if c.kept is not None))
    at = f"T = {place[1]}, batch {bench.batch}"
    if timed:
        shown = [Bar(named(key), seconds, brief(seconds), colour(key)) for seconds, key in timed]
        yield bar_chart("time of a training step", at, shown)
    if kept:
        shown = [Bar(named(key), count, size(count), colour(key), peak) for count, key, peak in kept]
        yield bar_chart("memory of a training step", f"{at}; full: kept for the backward pass; light: peak", shown)


def over_steps(places: Mapping[Place, Bench]) -> Iterator[Markup]:
    """Time and memory over T, of ways that were measured at two T at least; scaled to the largest batch."""
    largest = max(bench.batch for bench in places.values())
    figures: dict[str, tuple[int, Callable[[Case], float | None], Callable[[float], str]]] = {
        "time of a training step": (10, lambda case: case.seconds, brief),
        "kept for the backward pass": (2, lambda case: case.kept, rounded),
    }
    for title, (base, value, form) in figures.items():
        curves: dict[Key, list[tuple[float, float]]] = {}
        for (_, steps), bench in places.items():
            for key, case in bench.cases.items():
                known = value(case)
                if known and trains(key) | (key[0] != OURS):
                    curves.setdefault(key, []).append((float(steps), known * largest / bench.batch))
        chosen = [(key, points) for key, points in curves.items() if len(points) > 1]
        chosen.sort(key=lambda pair: pair[0][0] != OURS)
        lines = [Line(named(key), points, look) for look, (key, points) in enumerate(chosen[:SHOWN])]
        if lines:
            yield line_chart(
                f"{title}, batch {largest}", lines, Axes("T", y_form=form, doubling=True, log=True, base=base)
            )


def of_place(place: Place, bench: Bench) -> Markup:
    timed = bool(times_of(bench))
    heads = ["way to train", "library", *(["time"] if timed else []), *(["time, relative"] if bench.reference else [])]
    heads += ["memory kept", "peak memory"]
    rows: list[Row] = []
    for (library, name), case in bench.cases.items():
        if case.seconds is None and case.kept is None:
            continue
        cells = [
            *([Cell(NONE) if case.seconds is None else Cell(brief(case.seconds), case.seconds)] if timed else []),
            *([cell(case.relative, "{:.2f}")] if bench.reference else []), bytes_cell(case.kept), bytes_cell(case.peak),
        ]  # fmt: skip
        rows.append((code(name), library, *cells))
    against = f" Relative: to {bench.reference}'s fastest BPTT in the same run." if bench.reference else ""
    return table(f"{place[0]}, T = {place[1]}, batch {bench.batch}.{against}", heads, rows)


def rounded(count: float) -> str:
    return size(count).replace(".0 ", " ")


def named(key: Key) -> str:
    library, name = key
    return name if library == OURS else f"{library}: {name}"


def colour(key: Key) -> int:
    return (0, 4, 6)[LIBRARIES.index(key[0])] if key[0] in LIBRARIES else 5


def origin(records: Sequence[Mapping[str, Any]]) -> Markup:
    rows: list[Row] = []
    for record in records:
        machine = mapping(record, "machine")
        processor = machine.get("gpu" if record.get("device") == "cuda" else "cpu")
        where = f"{processor}, {record.get('threads')} threads"
        changed = " with changes" if record.get("dirty") else ""
        commit = f"{str(record.get('commit') or 'unknown')[:12]}{changed}"
        rows.append(
            (
                day(record),
                code(commit),
                where,
                Cell(versions(record), look="wide"),
                f"{record.get('repeats')} after {record.get('warmup')}",
            )
        )
    return table("The records.", ("date", "commit", "where", "versions", "steps timed"), rows)

"""Results as Markdown tables and plots."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.cases import OURS
from benchmarks.plots import write_plots
from benchmarks.results import Results, load
from benchmarks.targets import targets

Cell = Callable[[int, str], str]
STATIC = "static image"
MISSING = "-"


def write_report(records: list[Path], out: Path) -> None:
    """Writes `out`/results.md and the plots from what runs recorded."""
    results = load(records)
    out.mkdir(parents=True, exist_ok=True)
    pictures = write_plots(results, out)
    (out / "results.md").write_text("\n".join(lines(results, pictures)) + "\n")


def lines(results: Results, pictures: list[str]) -> Iterator[str]:
    yield "# Benchmark results"
    yield ""
    if any(run["quick"] for run in results.runs):
        yield "**A quick run on tiny networks: it shows that everything works; its figures mean nothing.**"
        yield ""
    for run in results.runs:
        yield from described(run)
    yield "What is measured, and how: `benchmarks/README.md`."
    yield ""
    if "summary.png" in pictures:
        yield from ("![Time and memory of each rule](summary.png)", "")
    yield from judged(results)
    for net in results.nets:
        yield from of_net(results, net, pictures)


def described(run: dict[str, Any]) -> Iterator[str]:
    machine, versions = run["machine"], run["versions"]
    where = machine["gpu"] if run["device"] == "cuda" else f"{machine['cpu']}, {run['threads']} threads"
    commit = (run["commit"] or "unknown")[:12] + (" with changes" if run["dirty"] else "")
    yield f"- {run['date']}, commit {commit}, {where} ({machine['cores']} cores, {machine['memory_gib']} GiB)"
    yield "- " + ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())
    yield f"- median of {run['repeats']} steps after {run['warmup']} rounds of warm-up, cases interleaved"
    for name, variables in run["allocators"].items():
        told = " ".join(f"{variable}={value}" for variable, value in variables.items()) or "nothing set"
        yield f"- allocator setting `{name}`: {told}"
    yield f"- processor time of the cases that were waiting, in all: {run['idle_cpu_seconds']} s"
    yield ""


def judged(results: Results) -> Iterator[str]:
    """All targets, whether met or not."""
    found = list(targets(results))
    if not found:
        return
    yield from ("## Targets", "")
    yield (
        "Ratios; of times each side's best allocator setting counts, and the last columns show ours under each setting "
        "against the same rival."
    )
    yield ""
    names = results.allocators
    rows = [
        [
            target.what,
            f"<= {target.limit:.2f}",
            MISSING if target.measured is None else f"{target.measured:.2f}",
            target.verdict,
            *(f"{target.settings[name]:.2f}" if name in target.settings else "" for name in names),
        ]
        for target in found
    ]
    yield from table(["ratio", "target", "measured", "verdict", *names], rows)


def of_net(results: Results, net: str, pictures: list[str]) -> Iterator[str]:
    yield from (f"## {net}", "")
    if f"{net}.png" in pictures:
        yield from (f"![Time and memory of {net}]({net}.png)", "")
    places = {steps: (net, steps) for steps in results.steps(net)}
    reference = next((results.reference[place] for place in places.values() if place in results.reference), "nothing")

    def seconds(allocator: str) -> Cell:
        def cell(steps: int, key: str) -> str:
            timing = results.times.get(places[steps], {}).get(key)
            if timing is None or not timing.seconds:
                return MISSING if timing is None else timing.status
            return f"{timing.seconds[allocator]:.3g}" if allocator in timing.seconds else MISSING

        return cell

    def relative(steps: int, key: str) -> str:
        best = results.best(places[steps], key)
        return MISSING if best is None or results.reference[places[steps]] == "nothing" else f"{best:.2f}"

    def megabytes(what: str) -> Cell:
        def cell(steps: int, key: str) -> str:
            row = results.memory.get(places[steps], {}).get(key, {"status": "skipped"})
            return f"{row[what] / 1e6:.1f}" if what in row else MISSING if row["status"] == "skipped" else row["status"]

        return cell

    for allocator in results.allocators:
        yield from by_steps(results, net, f"Seconds a step, allocator setting `{allocator}`", seconds(allocator))
    fastest = "the fastest exact BPTT of SpikingJelly" if reference == "SpikingJelly" else f"{reference}'s fastest BPTT"
    title = f"Time relative to {fastest} in the same run, each side under its best setting"
    yield from by_steps(results, net, title, relative)
    yield from by_steps(results, net, "MB alive when the backward pass starts", megabytes("kept"))
    yield from by_steps(results, net, "MB at the peak", megabytes("peak"))
    if results.runs[-1]["device"] == "cuda":
        yield from by_steps(results, net, "MB reserved by CUDA's allocator", megabytes("reserved"))
    yield from static_image(results, net)
    yield from left_out(results, net)


def by_steps(results: Results, net: str, title: str, cell: Cell) -> Iterator[str]:
    steps = results.steps(net)
    usual = max(results.batch[net, count] for count in steps)
    heads = [
        f"T = {count}" if results.batch[net, count] == usual else f"T = {count} (batch {results.batch[net, count]})"
        for count in steps
    ]
    rows = [[key.replace("/", ": ", 1), *(cell(count, key) for count in steps)] for key in results.keys(net)]
    if all(entry == MISSING for row in rows for entry in row[1:]):
        return
    yield from (f"### {title}", "")
    yield from table([f"{net}, batch {usual}", *heads], rows)


def static_image(results: Results, net: str) -> Iterator[str]:
    """What a constant input saves: the layers before the first neuron are computed once per sequence."""
    rows = []
    for steps in results.steps(net):
        for key in results.keys(net):
            changing = key.removesuffix(f", {STATIC}")
            ratio = results.ratio((net, steps), key, (changing,)) if changing != key else None
            if ratio is not None:
                rows.append([changing.removeprefix(f"{OURS}/"), str(steps), f"{ratio:.2f}"])
    if rows:
        yield from ("### Time with a static image / with a new image at each step", "")
        yield from table(["rule", "T", "ratio"], rows)


def left_out(results: Results, net: str) -> Iterator[str]:
    """Each case that did not run, with its reason."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for steps in results.steps(net):
        place = (net, steps)
        found = {key: (timing.status, timing.reason) for key, timing in results.times.get(place, {}).items()}
        found |= {
            key: (row["status"], row.get("reason", ""))
            for key, row in results.memory.get(place, {}).items()
            if row["status"] not in ("ok", "not measured")
        }
        for key, (status, reason) in found.items():
            if status not in ("ok", "not measured"):
                reasons.setdefault((key, f"{status}: {reason}"), []).append(steps)
    if reasons:
        yield from ("### Not run", "")
        for (key, reason), counts in reasons.items():
            yield f"- {key.replace('/', ': ', 1)}, T = {', '.join(map(str, counts))}: {reason}"
        yield ""


def table(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" + "|---:" * (len(heads) - 1) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""

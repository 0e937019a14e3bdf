"""Plots of time and memory: of each network against T, and one that sums up."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from benchmarks.cases import JELLY, OURS, PLAIN
from benchmarks.results import Results

COLOURS = {
    "BPTT": "#000000",
    "BPTT, less memory": "#d55e00",
    "SLTT": "#0072b2",
    "SLTT, one step learns": "#56b4e9",
    "OTTT": "#e69f00",
    "RateBP": "#009e73",
    "S-TLLR": "#cc79a7",
    "forward only": "#888888",
}
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"ls": "-", "marker": "o", "lw": 1.8},
    JELLY: {"ls": "--", "marker": "s", "lw": 1.2, "mfc": "white"},
    PLAIN: {"ls": ":", "marker": "^", "lw": 1.2, "mfc": "white"},
}
MARKERS = {f"{JELLY}/BPTT, multi-step": {"marker": "D"}, f"{JELLY}/BPTT, checkpointed": {"marker": "v"}}
DRAWN = {
    f"{JELLY}/BPTT, single-step": "BPTT",
    f"{JELLY}/BPTT, multi-step": "BPTT",
    f"{JELLY}/BPTT, memopt memory": "BPTT, less memory",
    f"{JELLY}/BPTT, checkpointed": "BPTT, less memory",
    f"{JELLY}/SLTT": "SLTT",
    f"{JELLY}/OTTT": "OTTT",
    f"{PLAIN}/BPTT, loop": "BPTT",
    f"{PLAIN}/BPTT, checkpointed": "BPTT, less memory",
    f"{PLAIN}/SLTT": "SLTT",
    f"{PLAIN}/forward only": "forward only",
    f"{OURS}/BPTT()": "BPTT",
    f"{OURS}/BPTT(checkpoint=True)": "BPTT, less memory",
    f"{OURS}/SLTT()": "SLTT",
    f"{OURS}/SLTT(steps=1)": "SLTT, one step learns",
    f"{OURS}/OTTT()": "OTTT",
    f"{OURS}/RateBP()": "RateBP",
    f"{OURS}/STLLR(last=T/4)": "S-TLLR",
}
SIDES = {OURS: "#0072b2", JELLY: "#e69f00", PLAIN: "#999999"}
GREY = "#444444"
SUMMARY_NET, SUMMARY_STEPS = "vgg", (32, 16, 8, 4, 2)
KEPT = "MB alive when the backward pass starts"
QUICK = "quick run on tiny nets: figures mean nothing"


def write_plots(results: Results, out: Path) -> list[str]:
    """Writes PNG files and returns their names."""
    written = []
    quick = any(run["quick"] for run in results.runs)

    def save(figure: Any, name: str) -> None:
        if quick:
            figure.text(0.5, 0.5, QUICK, rotation=20, ha="center", va="center", fontsize=24, color="#cc000055")
        figure.savefig(out / name, dpi=150)
        written.append(name)

    for net in results.nets:
        if len(results.steps(net)) > 1:
            save(against_steps(results, net), f"{net}.png")
        else:
            save(bars(results, net, results.steps(net)[0]), f"{net}.png")
    steps = next((count for count in SUMMARY_STEPS if (SUMMARY_NET, count) in results.times), None)
    if steps is not None:
        save(bars(results, SUMMARY_NET, steps), "summary.png")
    return written


def against_steps(results: Results, net: str) -> Any:
    """Time of a time step and bytes over T, both axes logarithmic, at the usual batch."""
    figure: Any = Figure(figsize=(12, 6.6), layout="constrained")
    panels = figure.subplots(1, 2)
    usual = max(results.batch[net, steps] for steps in results.steps(net))
    handles: dict[str, Any] = {}
    for key in [key for key in results.keys(net) if key in DRAWN]:
        look = STYLES[side(key)] | MARKERS.get(key, {}) | {"color": COLOURS[DRAWN[key]], "ms": 5}
        for panel, values in zip(panels, (milliseconds(results, net, key), kept(results, net, key)), strict=True):
            points = [(t, value * usual / results.batch[net, t]) for t, value in values if value]
            if points:
                (handles[key],) = panel.plot(*zip(*points, strict=True), **look)
    for panel, title in zip(panels, ("ms for each time step of training", KEPT), strict=True):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks(results.steps(net), [str(steps) for steps in results.steps(net)])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        panel.set_title(f"{net}: {title}", fontsize=11)
        panel.set_xlabel("time steps T" + batch_note(results, net, usual))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e5e5e5", lw=0.6)
    entries = in_columns(handles)
    figure.legend(
        [handle for _, handle in entries],
        [name for name, _ in entries],
        loc="outside lower center",
        ncols=len({side(key) for key in handles}) or 1,
        frameon=False,
        fontsize=9,
    )
    return figure


def in_columns(handles: dict[str, Any]) -> list[tuple[str, Any]]:
    """Legend entries, a column for each side, filled up to one length."""
    columns = [[key for key in handles if side(key) == library] for library in STYLES]
    length = max(map(len, columns), default=0)
    blank = Patch(alpha=0)
    return [
        (key.replace("/", ": ", 1), handles[key]) if key else (" ", blank)
        for column in columns
        if column
        for key in column + [""] * (length - len(column))
    ]


def side(key: str) -> str:
    return key.split("/")[0]


def batch_note(results: Results, net: str, usual: int) -> str:
    """The batch, and where some T has another one."""
    batches = {steps: results.batch[net, steps] for steps in results.steps(net)}
    odd = ", ".join(f"T = {steps} (batch {batch})" for steps, batch in batches.items() if batch != usual)
    return f"; batch {usual}, scaled to it: {odd}" if odd else f"; batch {usual}"


def milliseconds(results: Results, net: str, key: str) -> list[tuple[int, float | None]]:
    """Of a training step over T, under the better allocator setting."""
    found = [(steps, results.times.get((net, steps), {}).get(key)) for steps in results.steps(net)]
    return [(t, 1000 * min(timing.seconds.values()) / t if timing and timing.seconds else None) for t, timing in found]


def kept(results: Results, net: str, key: str) -> list[tuple[int, float | None]]:
    found = [(steps, results.bytes((net, steps), key, "kept")) for steps in results.steps(net)]
    return [(steps, size / 1e6 if size else None) for steps, size in found]


def bars(results: Results, net: str, steps: int) -> Any:
    """Each case's time, relative to the reference, and bytes kept; the fastest first."""
    place = (net, steps)
    best = {key: results.best(place, key) for key in results.keys(net) if key in DRAWN}
    times = dict(sorted(((key, time) for key, time in best.items() if time is not None), key=lambda item: item[1]))
    sizes = [(results.bytes(place, key, "kept") or 0) / 1e6 for key in times]
    figure: Any = Figure(figsize=(11, 2.0 + 0.3 * len(times)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colours = [SIDES[side(key)] for key in times]
    rounded = "{:.0f}" if max(sizes, default=0) > 20 else "{:.1f}"
    for panel, values, form in ((left, list(times.values()), "{:.2f}"), (right, sizes, rounded)):
        drawn = panel.barh(range(len(values)), values, color=colours, height=0.7)
        labels = panel.bar_label(drawn, [form.format(value) for value in values], padding=4, fontsize=9, color=GREY)
        for label in labels:
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        panel.margins(x=0.12)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_xticks([])
    left.set_yticks(range(len(times)), [key.split("/", 1)[1] for key in times], fontsize=9.5)
    left.set_ylim(len(times) - 0.4, -0.6)
    if results.reference.get(place, "nothing") != "nothing":
        left.axvline(1, color=GREY, lw=0.8, ls=":")
        left.set_title(f"time of a training step\n1 = fastest exact BPTT of {results.reference[place]}", fontsize=10.5)
    else:
        left.set_title("seconds a training step", fontsize=10.5)
    right.set_title(f"{KEPT}\n(activations, state, traces)", fontsize=10.5)
    figure.suptitle(f"{net}, T = {steps}, batch {results.batch[place]}, {device(results)}: less is better", fontsize=12)
    sides = {side(key) for key in times}
    patches = [Patch(color=colour, label=name) for name, colour in SIDES.items() if name in sides]
    figure.legend(handles=patches, frameon=False, fontsize=10, loc="outside lower center", ncols=3)
    return figure


def device(results: Results) -> str:
    """The last run's device, in words."""
    run = results.runs[-1]
    return run["machine"]["gpu"] if run["device"] == "cuda" else f"CPU, {run['threads']} threads"

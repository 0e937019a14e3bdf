"""Writes the recorded figures into the pages of the rules, between their marks: python docs/rules/recorded.py"""

import json
import statistics
from pathlib import Path
from typing import Any

from rheobase.plots.costs import Cost, benchmark_costs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- recorded: by docs/rules/recorded.py -->\n", "<!-- end of recorded -->\n"
BENCHMARKS = [ROOT / f"benchmarks/results/cpu/{name}.json" for name in ("vgg", "vgg-32", "vgg-memory")]
CASES = {  # of the benchmarks, by page
    "bptt": ["BPTT()", "BPTT(chunk=1)", "BPTT(checkpoint=True)"],
    "rate-bp": ["BPTT()", "RateBP()", "RateBP(chunk=auto)"],
    "sltt": ["BPTT()", "SLTT()", "SLTT(chunk=auto)", "SLTT(steps=1)"],
    "ottt": ["BPTT()", "OTTT()", "OTTT(chunk=auto)"],
    "s-tllr": ["BPTT()", "STLLR()", "STLLR(chunk=auto)", "STLLR(last=T/4)"],
}
TASKS = {  # recorded: what it is, and how the page that helps to choose calls it, where it is there
    "digits": ("digits, T = 8", "digits"),
    "fashion-ms-resnet18": ("Fashion-MNIST, narrow MS-ResNet-18, T = 4", "MS-ResNet-18"),
    "fashion-ms-resnet18-8": ("Fashion-MNIST, narrow MS-ResNet-18, T = 8", ""),
    "fashion-vgg11": ("Fashion-MNIST, narrow VGG-11, T = 4", "VGG-11"),
    "fashion-vgg11-8": ("a third of Fashion-MNIST, narrow VGG-11, T = 8", ""),
    "saccade-fashion-ms-resnet18": ("Fashion-MNIST as events, narrow MS-ResNet-18, T = 12", "events"),
    "saccade-fashion-vgg11": ("Fashion-MNIST as events, narrow VGG-11, T = 12", ""),
    "row-fashion-recurrent": ("Fashion-MNIST by rows, recurrent, T = 28", "rows"),
    "pixel-fashion-recurrent": ("Fashion-MNIST by pixels, recurrent, T = 784", "pixels"),
    "saccade-order-recurrent": ("saccade order, recurrent, T = 12", "saccades, recurrent"),
    "saccade-order-mlp": ("saccade order, feed-forward, T = 12", "saccades, feed-forward"),
}
AS_NEURONS = [f"s-tllr(decay_pre={decay}, acausal=0.0)" for decay in (0.2, 0.25, 0.95)]
ROWS = {  # of the page that helps to choose: the case in the benchmarks, names in the results, the best first
    "`BPTT()`": ("BPTT()", ["bptt"]),
    "`BPTT(checkpoint=True)`": ("BPTT(checkpoint=True)", []),
    "`RateBP()`": ("RateBP()", ["rate-bp"]),
    "`SLTT()`": ("SLTT()", ["sltt"]),
    "`SLTT(steps=...)`": ("SLTT(steps=1)", ["sltt(steps=1)", "sltt(steps=2)", "sltt(steps=3)"]),
    "`OTTT()`": ("OTTT()", ["ottt"]),
    "`OTTT(input_trace=True)`": ("", ["ottt(input_trace=True)"]),
    "`STLLR(...)`": ("STLLR(last=T/4)", [*AS_NEURONS, "s-tllr", "s-tllr(decay_pre=0.95, acausal=0.2)"]),
}


def costs(name: str) -> str:
    found = {case: {cost.steps: cost for cost in own} for case, own in benchmark_costs(BENCHMARKS, "vgg").items()}
    lines = [
        "| a training step of VGG, batch 32 | time, T = 8 | T = 32 | kept, MB, T = 4 | T = 8 | T = 32 |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES[name]:
        own = found[case]
        times = [ratio(own.get(steps), found["BPTT()"][steps]) for steps in (8, 32)]
        kept = [size(own.get(steps)) for steps in (4, 8, 32)]
        lines.append(f"| `{case}` | {' | '.join(times + kept)} |")
    origin = (
        "Time over that of `BPTT()`, and what is kept for the backward pass; from the\n"
        "[benchmarks](../../benchmarks/results/cpu/results.md).\n\n"
    )
    return origin + "\n".join(lines) + "\n\n"


def ratio(cost: Cost | None, of: Cost) -> str:
    return f"{cost.seconds / of.seconds:.2f}" if cost and cost.seconds and of.seconds else "-"


def size(cost: Cost | None) -> str:
    return f"{cost.bytes / 1e6:.0f}" if cost and cost.bytes else "-"


def learned(name: str) -> str:
    lines = ["| task | rule | test accuracy, % | BPTT's | cosine at start | at end |", "|---|---|---|---|---|---|"]
    for task, (title, _) in TASKS.items():
        rules = json.loads((ROOT / f"docs/results/{task}/results.json").read_text())["rules"]
        exact = next(rule for rule in rules if rule["rule"] == "bptt")
        for rule in rules:
            if rule["rule"].startswith(name):
                cosines = (cosine(rule, when) for when in ("agreement_before", "agreement_after"))
                cells = [title, f"`{rule['rule']}`", accuracy(rule), accuracy(exact), *cosines]
                lines.append(f"| {' | '.join(cells)} |")
    origin = (
        "What it learned, three seeds each, and the cosine of its gradient to the exact one, before training and at\n"
        "its own best weights; from the [results](../results.md).\n\n"
    )
    return origin + "\n".join(lines) + "\n\n"


def accuracy(rule: dict[str, Any]) -> str:
    scores = [100 * run["test_score"] for run in rule["runs"]]
    return f"{statistics.fmean(scores):.2f} ± {statistics.stdev(scores):.2f}"


def cosine(rule: dict[str, Any], when: str) -> str:
    return f"{statistics.fmean(run[when]['cosine'] for run in rule['runs']):.3f}"


def chosen() -> str:
    """All rules beside one another, for the page that helps to choose."""
    found = {case: {cost.steps: cost for cost in own} for case, own in benchmark_costs(BENCHMARKS, "vgg").items()}
    shown = {task: short for task, (_, short) in TASKS.items() if short}
    tasks = {task: json.loads((ROOT / f"docs/results/{task}/results.json").read_text())["rules"] for task in shown}
    lines = [f"| rule | {' | '.join(shown.values())} | time | kept, MB |", "|---|" + "---|" * (len(shown) + 2)]
    for rule, (case, names) in ROWS.items():
        scores = []
        for rows in tasks.values():
            row = next((row for name in names for row in rows if row["rule"] == name), None)
            scores.append(f"{statistics.fmean(100 * run['test_score'] for run in row['runs']):.1f}" if row else "-")
        cost = found.get(case, {}).get(32)
        lines.append(f"| {rule} | {' | '.join(scores)} | {ratio(cost, found['BPTT()'][32])} | {size(cost)} |")
    return "\n".join(lines) + "\n\n"


PAGES = {HERE / f"{name}.md": name for name in CASES} | {HERE.parent / "choose-a-rule.md": ""}


def renewed(path: Path) -> str:
    """The page with its figures anew."""
    name, text = PAGES[path], path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    figures = chosen() if not name else costs(name) if name == "bptt" else costs(name) + learned(name)
    return f"{before}{BEGIN}\n{figures}{END}{after}"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(renewed(path))

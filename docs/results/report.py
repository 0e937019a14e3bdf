"""Writes docs/results.md from the results.json files beside this script."""

import json
import statistics
from pathlib import Path
from textwrap import fill
from typing import Any

HERE = Path(__file__).parent
TEXTS = {
    "digits": (
        "Digits",
        "Handwritten digits, T = 8, the same image at each step, MLP 64-256-10. This is `make demo` with three seeds. "
        "The image does not change, so cutting time costs nothing here: every rule gets where BPTT gets.",
    ),
    "saccade-order-recurrent": (
        "Saccade order, recurrent net",
        "In which order did the camera move? T = 12, 100 recurrent neurons, a readout that leaks (0.95). Without "
        "knowing when things happened one is right once in three times at best, by chance once in six. The net itself "
        "remembers, in its recurrence and its readout, so the rules that cut time in the *gradient* still learn to "
        "read the order off its state. RateBP, whose backward pass sees means over time alone, does not get there.",
    ),
    "saccade-order-mlp": (
        "Saccade order, feed-forward net",
        "The same task without recurrence and with a readout that forgets: all memory is in the leak of 100 neurons "
        "(decay 0.95). The weights before these neurons now need credit over time. BPTT, S-TLLR and OTTT with an input "
        "trace give it and learn the task; SLTT, and OTTT in the form of its paper's code, which has no trace at the "
        "first layer, learn most of it through what the leak carries forward; RateBP learns least. The peak of the "
        "online rules is above BPTT's here because the input is large and T is small: it holds the weight gradient of "
        "the first layer, 0.9 MiB, once more while a step's is added.",
    ),
}

TEXTS |= {
    "fashion-ms-resnet18": (
        "Fashion-MNIST, a narrow MS-ResNet-18",
        "All 60 000 + 10 000 images, T = 4, the same image at each step; MS-ResNet-18 with an eighth of its channels, "
        "two epochs. Every rule is within 0.6 points of BPTT, SLTT(1) too, as the papers say of static images: with a "
        "shortcut around each block and the same image at each step the gradients hardly differ (cosine 0.999 at the "
        "start for all but SLTT(1), which sees one step of four). Other work ran on the machine: times of one rule "
        "differ by up to 1.5.",
    ),
    "fashion-ms-resnet18-8": (
        "Fashion-MNIST, a narrow MS-ResNet-18, T = 8",
        "As above, with twice the steps: BPTT keeps nearly twice the bytes, the other rules what they kept at T = 4. "
        "All are within 0.8 points of BPTT; S-TLLR is last, and its gradient has turned furthest of those that "
        "see each step; SLTT(1), which learns at one step of eight now, is 0.4 behind. The runs were stopped and "
        "gone on with, some in a comparison of their own, beside other work: times of one rule differ by up to 2.",
    ),
    "fashion-vgg11": (
        "Fashion-MNIST, a narrow VGG-11",
        "All 60 000 + 10 000 images, T = 4, the same image at each step; VGG-11 with an eighth of its channels, two "
        "epochs: far from trained to the end, so this compares how fast rules learn, not where they arrive. RateBP is "
        "ahead of BPTT, SLTT 0.7 behind, OTTT 1.1. S-TLLR with its defaults is 1.8 behind: its trace "
        "(`decay_pre=0.75`) is longer than the memory of these neurons (decay 0.2), and its non-causal term is no part "
        "of the gradient. With `decay_pre=0.2, acausal=0` it is 0.4 behind, its cosine at the start 0.90 where it was "
        "0.81, and it keeps half the bytes. That form is OTTT with a trace at the first layer too, where OTTT in the "
        "form of its paper's code has none. SLTT(1) is 3.6 behind in half the time: it learns at one step of four, and "
        "its gradient agrees least with BPTT's (cosine 0.6 at the start, 0.5 at the end; on the MS-ResNet above 0.9).",
    ),
    "fashion-vgg11-8": (
        "A third of Fashion-MNIST, a narrow VGG-11, T = 8",
        "20 000 images, T = 8; otherwise as above, so all know less. BPTT keeps twice the bytes it kept at T = 4, "
        "the others what they kept. RateBP learns fastest, SLTT is 1.1 points behind BPTT, OTTT 0.6, S-TLLR 1.5. "
        "SLTT(1) now learns at one step of eight and is 6 points behind in half the time: its cosine to BPTT is 0.4.",
    ),
    "saccade-fashion-ms-resnet18": (
        "Fashion-MNIST as events, a narrow MS-ResNet-18",
        "What an event camera sees of 8000 images on three saccades (4000 to test), T = 12, two epochs. The input "
        "changes from step to step now. SLTT is where BPTT is, with a seventh of its bytes; OTTT, whose paper's form "
        "has no trace at the first layer, is 1.8 points behind. RateBP takes means over time for the input and is 4 "
        "behind, SLTT(1) sees one step of twelve and is 6.5 behind. S-TLLR with its defaults is 15 points behind: "
        "its trace (`decay_pre=0.75`) is longer than the memory of these neurons (decay 0.25), and the non-causal "
        "term does not help here. With `decay_pre=0.25, acausal=0` it is 1.6 behind (one seed: 63.4 by default, 67.7 "
        "with `decay_pre=0.25` alone, 66.0 with `acausal=0` alone, 76.1 with both); its cosine to BPTT is then 0.98 "
        "where it was 0.73. One step at a time the online rules take longer than BPTT on so narrow a net; `chunk` "
        "changes that.",
    ),
    "saccade-fashion-vgg11": (
        "Fashion-MNIST as events, a narrow VGG-11",
        "The same recordings on VGG-11, T = 12. RateBP, SLTT and OTTT are within 1.1 points of BPTT, which is as much "
        "as seeds differ; RateBP takes less than half of BPTT's time, SLTT keeps a sixth of its bytes. (That RateBP is "
        "4 points behind on the MS-ResNet and 0.8 here its cosines do not tell: they are alike.) S-TLLR with its "
        "defaults is 3.2 points behind, with `decay_pre=0.2, acausal=0` 1.0; SLTT(1), which learns at one step of "
        "twelve, 7.8.",
    ),
    "row-fashion-recurrent": (
        "Fashion-MNIST a row a step, recurrent net",
        "All 60 000 + 10 000 images, T = 28, a row of pixels at each step, 128 recurrent neurons and a readout that "
        "leaks (0.95), two epochs. The rules that cut time in the gradient keep a 27th of BPTT's bytes and stay 1.6 "
        "points behind it, S-TLLR, which keeps a 14th, 1.7, RateBP 2.6; SLTT(1), which learns at one of 28 steps, 6.9, "
        "in a third of BPTT's time. One call of backward a step makes SLTT, OTTT and S-TLLR slower than BPTT on so "
        "small a net; `chunk` changes that.",
    ),
    "pixel-fashion-recurrent": (
        "Fashion-MNIST a pixel a step, recurrent net",
        "4000 images (4000 to test), T = 784, one pixel at each step, 128 recurrent neurons and a readout that leak "
        "(0.95), four epochs, gradients clipped to a length of 1. BPTT keeps 78 MiB, 790 times what RateBP and SLTT(1) "
        "keep, which is one step; the online rules keep 28 steps, since `chunk=28` computes so many at once. It is the "
        "beginning of learning (248 updates, by chance one is right in ten), and hard for all: what leaks out in 20 "
        "steps is gone before the next row of 28 pixels. Longer memory did not help so early: with neurons that leak "
        "at 0.99, without clipping, BPTT's seeds got 35, 32 and 42 %. OTTT is 1.1 points behind BPTT and S-TLLR with "
        "the neurons' decay 1.3, less than seeds differ; RateBP 2.1, in a third of BPTT's time; SLTT, which has no "
        "trace, 6.5, SLTT(1) 7.8. Cosines of the whole gradient are near 1 where the readout's part, which most rules "
        "compute alike, is the largest. Of the recurrent weights' gradient at the trained weights they are 0.71 for "
        "OTTT, 0.62 for SLTT, 0.28 for RateBP and 0.14 for SLTT(1).",
    ),
}

INTRODUCTION = """# Results

Generated by `docs/results/report.py` from what `docs/results/make` recorded. Accuracy is that of the test part,
which chose nothing: the weights are those of the best validation epoch. ± is the standard deviation over seeds.
Time is that of training alone, on one CPU thread; kept is what autograd holds for the backward pass of one training
step, peak what is allocated in it. The cosine is that of the gradient to BPTT's for the same objective, on one batch,
at the initial weights and at the rule's own trained ones. The machine was a shared one with two cores: between runs
times differ by a third. Some rows were made in a comparison of their own and put beside the others.
"""


def main() -> str:
    parts = [INTRODUCTION]
    for folder, (title, text) in TEXTS.items():
        found = json.loads((HERE / folder / "results.json").read_text())
        parts.append(f"\n## {title}\n\n{fill(text, 120)}\n\n{table(found['rules'])}\n{origin(found)}\n")
        parts.append(f"\n![{title}](results/{folder}/compare.png)\n")
    return "".join(parts)


def table(rules: list[dict[str, Any]]) -> str:
    lines = [
        "| rule | test accuracy, % | training, s | kept | peak | cosine at start | cosine at end |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule in rules:
        if "refusal" in rule:
            lines.append(f"| `{rule['rule']}` | refused: {rule['refusal']} | | | | | |")
            continue
        runs = rule["runs"]
        accuracies = [100 * run["test_score"] for run in runs]
        cells = [
            f"`{rule['rule']}`",
            f"{statistics.fmean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f}",
            f"{statistics.median(run['seconds'] for run in runs):.1f}",
            size(rule["kept_bytes"]),
            size(rule["peak_bytes"]),
            *(f"{statistics.fmean(run[when]['cosine'] for run in runs):.3f}" for when in MOMENTS),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


MOMENTS = ("agreement_before", "agreement_after")


def size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def origin(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    command = " ".join(f'"{w}"' if " " in w or "(" in w else w for w in found["command"])
    commit = (found.get("rheobase_commit") or found.get("commit") or "unknown")[:10]
    seeds = len(found["rules"][0]["runs"])
    where = f"{found['device']}, {found['threads']} thread, {versions}, {found['date'][:10]}"
    return f"\n`{command}`: {seeds} seeds, commit {commit}, {where}.\n"


if __name__ == "__main__":
    (HERE.parent / "results.md").write_text(main())

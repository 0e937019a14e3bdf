"""Draws how far the gradients of rules are from the exact one: python docs/pictures/rules.py

Computed here, on one thread, in about a minute; the pictures go to docs/pictures/rules.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

import rheobase as rb
from rheobase.measure import gradient_cosine
from rheobase.plots import save
from rheobase.plots.style import COLOURS, LIGHT, new_figure, styled

FOLDER = Path(__file__).parent / "rules"
STEPS, DECAY = 32, 0.9
DECAYS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128)
SEEDS = range(5)
RULES: dict[str, Callable[[int], rb.Rule]] = {  # given T
    "TruncatedBPTT(8)": lambda steps: rb.TruncatedBPTT(8),
    "SLTT()": lambda steps: rb.SLTT(),
    "SLTT(steps=T/4)": lambda steps: rb.SLTT(steps=max(1, steps // 4)),
    "OTTT()": lambda steps: rb.OTTT(),
    "OTTT, exact form": lambda steps: rb.OTTT(input_trace=True, readout_trace=False, bias_trace=True),
    "STLLR()": lambda steps: rb.STLLR(),
    "STLLR(acausal=0)": lambda steps: rb.STLLR(acausal=0.0),
    "RateBP()": lambda steps: rb.RateBP(),
}
SHOWN = {
    "truncated-bptt": ["TruncatedBPTT(8)"],
    "sltt": ["SLTT()", "SLTT(steps=T/4)"],
    "ottt": ["OTTT, exact form", "OTTT()"],
    "s-tllr": ["STLLR(acausal=0)", "STLLR()"],
    "rate-bp": ["RateBP()"],
}


def cosine(rule: rb.Rule, decay: float, steps: int, seed: int) -> float:
    """To the exact gradient, of the first weights of a 100-64-64-10 net at its start; each input spikes once."""
    torch.manual_seed(seed)
    layers = [nn.Linear(100, 64), rb.LIF(decay, detach_reset=True), nn.Linear(64, 64), rb.LIF(decay, detach_reset=True)]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    with torch.no_grad():  # so that a tenth of the neurons fires at each step
        layers[0].weight.mul_(8)
        layers[2].weight.mul_(4)
    times = torch.randint(steps, (16, 100))
    xs = nn.functional.one_hot(times, steps).permute(2, 0, 1).float()
    found = gradient_cosine(rule, rule.exact, net, xs, torch.randint(10, (16,)), rb.losses.cross_entropy)
    return found.of_parameters["0.weight"]


def means(rule: Callable[[int], rb.Rule], places: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """Mean and standard deviation over the seeds, at each (decay, T)."""
    found = [[cosine(rule(steps), decay, steps, seed) for seed in SEEDS] for decay, steps in places]
    return [(statistics.fmean(row), statistics.stdev(row)) for row in found]


def cosines() -> None:
    of_decay = {name: means(rule, [(decay, STEPS) for decay in DECAYS]) for name, rule in RULES.items()}
    of_length = {name: means(rule, [(DECAY, steps) for steps in LENGTHS]) for name, rule in RULES.items()}
    for page, names in SHOWN.items():
        keep(agreement(of_decay, of_length, names), f"{page}-cosine")
    keep(agreement(of_decay, of_length, ["SLTT()", "OTTT, exact form", "STLLR()", "RateBP()"]), "all-cosine")


@styled
def agreement(of_decay: dict[str, Any], of_length: dict[str, Any], names: Sequence[str]) -> Any:
    """The named rules in colour, the others in light grey."""
    figure = new_figure(7.2, 3.1)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, found, xs in ((left, of_decay, DECAYS), (right, of_length, LENGTHS)):
        for name, rows in found.items():
            place = names.index(name) if name in names else None
            line = [mean for mean, _ in rows]
            look = {"color": LIGHT, "lw": 1.0, "zorder": 1} if place is None else {"color": COLOURS[place], "zorder": 2}
            axes.plot(xs, line, label=None if place is None else name, **look)
            if place is not None:
                low, high = ([mean + sign * spread for mean, spread in rows] for sign in (-1, 1))
                axes.fill_between(xs, low, high, color=COLOURS[place], alpha=0.15, lw=0)
        axes.set_ylim(-0.05, 1.05)
        axes.grid(axis="y")
    left.set(xlabel="decay of the membrane", ylabel="cosine to the exact gradient", title=f"T = {STEPS}")
    right.set(xlabel="steps T", title=f"decay {DECAY}", xscale="log", xticks=LENGTHS, xticklabels=LENGTHS)
    right.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=len(names))
    return figure


def keep(figure: Any, name: str) -> None:
    path = save(figure, FOLDER / f"{name}.png", dpi=130)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cosines()

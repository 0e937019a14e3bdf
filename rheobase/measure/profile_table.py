"""A profile as tables for the terminal."""

from collections.abc import Sequence
from typing import Literal

from rich.markup import escape
from rich.table import Table

from rheobase.measure.profile import LayerProfile, Profile
from rheobase.units import energy, short, short_time, size

Order = Literal["place", "cost"]
TITLES = (
    "output", "parameters", "active\nin", "active\nout", "dense\nMACs", "MACs", "ACs", "neuron\nupdates", "state",
    "energy",
)  # fmt: skip


def layer_table(found: Profile, order: Order = "place") -> Table:
    """A line for each layer, in the model's order or the dearest first, and their sums; of one sample's sequence."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("layer", "kind"):
        made.add_column(title, no_wrap=True)
    for title in TITLES:
        made.add_column(title, justify="right", no_wrap=True)
    timed = found.rules[0] if found.rules and found.rules[0].seconds_by_layer else None
    kept = found.rules[0] if found.rules and found.rules[0].kept_by_layer else None
    if timed:
        made.add_column(f"forward\n{escape(timed.rule)}", justify="right", no_wrap=True)
        made.add_column("backward\n", justify="right", no_wrap=True)
    if kept:
        made.add_column("kept\n", justify="right", no_wrap=True)
    for layer in in_order(found.layers, order):
        more = [short_time(each) for each in timed.seconds_by_layer.get(layer.name, (0.0, 0.0))] if timed else []
        more += [size(kept.kept_by_layer.get(layer.name, 0))] if kept else []
        made.add_row(escape(layer.name), layer.kind, *cells(layer), *more)
    sums = [short(found.total(what)) for what in ("dense_macs", "macs", "acs", "updates")]
    made.add_row(
        "all", "", "", f"{round(found.total('parameters')):,}", "", "", *sums, size(found.total("state_bytes")),
        energy(found.total("picojoules")), style="bold",
    )  # fmt: skip
    return made


def in_order(layers: Sequence[LayerProfile], order: Order) -> Sequence[LayerProfile]:
    return layers if order == "place" else sorted(layers, key=lambda layer: -layer.picojoules)


def cells(layer: LayerProfile) -> list[str]:
    counted = (short(value) if value else "-" for value in (layer.dense_macs, layer.macs, layer.acs, layer.updates))
    return [
        " x ".join(map(str, layer.output_shape)),
        f"{layer.parameters:,}" if layer.parameters else "-",
        f"{100 * layer.rate_in:.1f} %",
        f"{100 * layer.rate_out:.1f} %",
        *counted,
        size(layer.state_bytes) if layer.state_bytes else "-",
        energy(layer.picojoules) if layer.picojoules else "-",
    ]


def rule_table(found: Profile) -> Table:
    """A line for each rule, for the batch; beside what was measured the papers' own formulas, for one sample."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("rule", no_wrap=True)
    for title in ("kept", "peak", "time", "by formula:\nMACs", "numbers\nstored", "formula, a sample\nMACs, numbers"):
        made.add_column(title, justify="right", no_wrap=True)
    for rule in found.rules:
        if rule.refusal is not None:
            made.add_row(escape(rule.rule), "[red]refused[/]")
            continue
        theirs = rule.formula
        by_formula = ["-"] * 3 if theirs is None else [short(theirs.macs), short(theirs.values), theirs.text]
        made.add_row(escape(rule.rule), size(rule.kept), size(rule.peak), short_time(rule.seconds), *by_formula)
    return made


def assumptions(found: Profile) -> str:
    """What the energies rest on, in one sentence."""
    prices = found.energy
    dense = energy(found.dense_picojoules)
    return (
        f"One sample, {found.steps} steps. Energy: {prices.mac:g} pJ a MAC, {prices.ac:g} pJ an AC, {prices.update:g} "
        f"pJ a neuron's update, no data moved. Without spikes the synapses would take {dense}."
    )

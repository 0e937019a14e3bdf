"""What an audit comes to: what is wrong with the model, and one sentence for each rule."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rheobase.measure.audit import Audit, RuleAudit
from rheobase.measure.audit_sums import Figures
from rheobase.training.choice import read_call

ALIGNED, PARTLY, LAYER = 0.9, 0.6, 0.7  # least cosines: to be aligned, partly so, and of a layer not worth a word
SLIGHT = 1e-3  # a layer with less of the exact gradient's squared length is not looked at
NONE = 1e-12  # of it is no gradient to speak of
NARROW = 0.01  # share of neurons and steps that carry the slopes
LASTING = 0.99  # decays from here on keep a potential for a hundred steps
LONG, SHORT, NOISY = 2.0, 0.5, 4.0  # times the exact gradient's length; times its noise
BETTER = 0.05  # by how much the cosine of a rule worth trying is larger
ONE_STEP = 0.99
WHERE = "aligned where there is a gradient"
RATE = "SGD wants another learning rate"


@dataclass(frozen=True)
class Finding:
    """What is wrong with the model, whatever the rule.

    kind: "dead" or "saturated" neurons, "narrow" slopes, or "silent": the exact gradient does not reach the layer.
    """

    kind: str
    layer: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """state: "aligned", "aligned in direction" (not in length), "aligned where there is a gradient" (which not even the
        exact rule brings to all layers), "partly aligned", "badly aligned", "opposed", "no gradient" or "refused".

    causes: what is wrong: "reset", "normalisation", "time", "rest" (see `Paths`), "signal", "length", "noise" or
        "silent".
    text: the sentence, state and causes included.
    """

    rule: str
    state: str
    causes: tuple[str, ...]
    text: str


def findings(audit: Audit) -> tuple[Finding, ...]:
    """What is wrong with the model; nothing for a healthy one."""
    found = []
    for layer in audit.neurons:
        told = f"{layer.name!r} ({layer.kind}) "
        if layer.ailment == "dead":
            told += (
                f"is dead, firing at {100 * layer.rate:.2g} % of the steps: lower its threshold or scale its input up"
            )
            found.append(Finding("dead", layer.name, told))
        elif layer.ailment == "saturated":
            told += f"is saturated, firing at {100 * layer.rate:.0f} % of the steps: raise its threshold"
            found.append(Finding("saturated", layer.name, f"{told} or scale its input down"))
        if layer.ailment != "dead" and not layer.sloped >= NARROW:
            share = f"but for {100 * layer.sloped:.2g} % of neurons and steps" if layer.sloped > 0 else "everywhere"
            told = f"{layer.name!r} ({layer.kind}) has slopes of almost zero {share}: widen its surrogate"
            found.append(Finding("narrow", layer.name, told))
    silent = [name for name in audit.layers if all(not r.of_layers[name].share > NONE for r in judged(audit))]
    if silent and judged(audit):
        found.append(
            Finding("silent", silent[0], f"hardly any gradient reaches {named(silent)}, not even the exact one")
        )
    return tuple(found)


def verdicts(audit: Audit) -> tuple[Verdict, ...]:
    """One for each rule."""
    return tuple(verdict(found, audit) for found in audit.rules)


def verdict(found: RuleAudit, audit: Audit) -> Verdict:
    if found.total is None:
        return Verdict(found.rule, "refused", (), f"refused: {found.refusal}")
    cosine = found.total.cosine
    if math.isnan(cosine):
        return Verdict(found.rule, "no gradient", ("silent",), "no gradient: it, or the exact one, is zero everywhere")
    unreached = [name for name, f in found.of_layers.items() if not f.share > NONE]
    state, length = next(s for s, least in STATES.items() if cosine >= least), found.total.norm_ratio
    if state == "aligned" and unreached:
        state = WHERE
    head = f"{state}: {cosine:.2f}"
    if state == "aligned" and is_off(length) and not own_length(found.rule):
        state = "aligned in direction"
        head = f"{state}, {length:.2g} {'of' if length < 1 else 'times'} the length: {cosine:.2f}"
    weak = sorted((f.cosine, name) for name, f in found.of_layers.items() if f.share >= SLIGHT and f.cosine < LAYER)
    silent = [name for name, f in found.of_layers.items() if f.share >= SLIGHT and f.norm_ratio == 0]
    told, causes = [head], list[str]()
    if weak:
        more = f" and {len(weak) - 3} more" if len(weak) > 3 else ""
        told.append("layer " + ", ".join(f"{name!r} {value:.2f}" for value, name in weak[:3]) + more)
    if silent:
        told.append(f"nothing for {named(silent)}")
    if unreached:
        told.append(f"hardly any reaches {named(unreached)}, not even the exact one")
    if silent or unreached:
        causes.append("silent")
    if cosine < ALIGNED or weak:
        layer = weak[0][1] if cosine >= ALIGNED else None  # what is to be explained: that layer, or the whole
        cause = main_cause(found, layer)
        causes.append(cause)
        told.append(f"{reason(cause, found, audit)}: {advice(found, audit, layer)}")
    for cause, text in extras(found.total, own_length(found.rule), state == "aligned in direction"):
        causes.append(cause)
        told.append(text)
    return Verdict(found.rule, state, tuple(causes), "; ".join(told))


STATES = {"aligned": ALIGNED, "partly aligned": PARTLY, "badly aligned": 0.0, "opposed": -math.inf}


def judged(audit: Audit) -> list[RuleAudit]:
    return [found for found in audit.rules if found.total is not None]


def main_cause(found: RuleAudit, layer: str | None) -> str:
    """Of the whole gradient, or of one layer's."""
    if found.one_step < ONE_STEP:
        return "signal"
    paths = found.paths_of_layers.get(layer) if layer is not None else found.paths
    return "rest" if paths is None else paths.main


def reason(cause: str, found: RuleAudit, audit: Audit) -> str:
    lasting = [layer for layer in audit.neurons if layer.decay is not None and layer.decay >= LASTING]
    if cause == "time":
        forget = "forgets" if len(lasting) == 1 else "forget"
        memory = f", which {named([layer.name for layer in lasting])} hardly {forget}" if lasting else ""
        return f"lost through time{memory}"
    return {
        "reset": "lost at the reset (with detach_reset=True the exact gradient leaves it out as well)",
        "normalisation": "lost at the norms' statistics",
        "signal": f"another error signal within a step ({found.one_step:.2f} at T = 1)",
        "rest": "it computes something else in place of the exact terms (traces, means over time, drawn steps)",
    }[cause]


def advice(found: RuleAudit, audit: Audit, layer: str | None) -> str:
    """What to try: the rule's own knobs, and the best other rule of this audit that is not the exact one."""
    options, knobs = read_options(found.rule), []
    if "horizon" in options:
        knobs.append("a longer horizon")
    if options.keys() & {"steps", "at", "last"}:
        knobs.append("more learning steps")
    if found.one_step < ONE_STEP and "signal" in options:
        knobs.append('signal="backprop"')
    own = aligned_at(found, layer)
    others = [r for r in judged(audit) if r.rule.partition("(")[0] != r.exact.partition("(")[0]]
    better = [r for r in others if aligned_at(r, layer) >= own + BETTER]
    better = [r for r in better if r.exact == found.exact] or better
    if better:
        best = max(better, key=lambda r: aligned_at(r, layer))
        another = "" if best.exact == found.exact else " for an objective of its own"
        knobs.append(f"{best.rule} ({aligned_at(best, layer):.2f} here{another})")
    return "consider " + " or ".join(knobs or ["bptt(checkpoint=True), which is exact"])


def aligned_at(found: RuleAudit, layer: str | None) -> float:
    figures = found.total if layer is None else found.of_layers[layer]
    return -1.0 if figures is None or math.isnan(figures.cosine) else figures.cosine


def is_off(length: float) -> bool:
    return not SHORT <= length <= LONG


def own_length(rule: str) -> str:
    """Why a gradient of this rule is meant to have another length than the exact one; "" where it is not."""
    options = read_options(rule)
    if options.get("scale") == "paper":
        return 'as scale="paper" means it to be'
    if options.get("signal", "backprop") != "backprop":
        return "which is that of its feedback matrices"
    if rule.partition("(")[0] == "s-tllr":
        return "which its factors causal and acausal choose"
    return ""


def extras(total: Figures, own: str, is_named: bool) -> Iterator[tuple[str, str]]:
    """own: why another length is meant. is_named: whether the length was told already."""
    if is_off(total.norm_ratio):
        long = f"{total.norm_ratio:.2g} times as long as the exact one" + (f", {own}" if own else "")
        yield "length", RATE if is_named else f"{long} ({RATE})"
    noise = total.noise / total.norm_ratio**2 if total.norm_ratio else math.nan  # at the exact one's length
    if noise > NOISY * total.exact_noise > 0:
        yield "noise", f"{noise / total.exact_noise:.1f} times as noisy as the exact one: larger batches help"


def read_options(rule: str) -> dict[str, object]:
    """The options in the rule's text; none for a rule object that has no name."""
    try:
        return read_call(rule)[1]
    except ValueError:
        return {}


def named(layers: list[str]) -> str:
    shown = ", ".join(map(repr, layers[:3]))
    return f"{shown} and {len(layers) - 3} more" if len(layers) > 3 else shown

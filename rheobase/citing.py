"""What to cite: the papers whose equations a rule follows, and the library, as BibTeX."""

import re
from functools import cache
from importlib.resources import files

from rheobase.rules import BPTT, RULES, STLLR, DirectFeedback, Rule
from rheobase.rules.signals import signal_named
from rheobase.training import rule_named
from rheobase.version import __version__

# For each rule the keys of its entries in citations.bib.
PAPERS = {
    "bptt": ("werbos1990backpropagation", "neftci2019surrogate"),
    "ottt": ("xiao2022online",),
    "rate-bp": ("yu2024advancing",),
    "s-tllr": ("apolinario2025stllr",),
    "sltt": ("meng2023towards",),
    "truncated-bptt": ("williams1990efficient", "neftci2019surrogate"),
}
SOFTWARE = f"""@software{{rheobase,
  author  = {{{{The Rheobase developers}}}},
  title   = {{Rheobase: train deep spiking networks over any number of time steps with the memory of one}},
  version = {{{__version__}}},
  license = {{Apache-2.0}}
}}"""


def cite(rule: Rule | type[Rule] | str | None = None) -> str:
    """The BibTeX entries of the papers whose equations `rule` follows; without a rule the library's own entry.

    rule: an object, a class, or text such as "sltt(steps=2)". The papers of the options chosen are among them:
        checkpoints, direct feedback.

    Raises ValueError for a rule that is not this library's: it has no paper of its own here.
    """
    if rule is None:
        return SOFTWARE
    return "\n\n".join(entries()[key] for key in papers(rule_named(rule) if isinstance(rule, str) else rule))


def papers(rule: Rule | type[Rule]) -> tuple[str, ...]:
    """The keys of its entries."""
    kind = rule if isinstance(rule, type) else type(rule)
    name = next((name for name in PAPERS if RULES[name] is kind), None)
    if name is None:
        raise ValueError(
            f"{kind.__name__} has no paper of its own. Cite the rules whose parts it takes: {', '.join(PAPERS)}."
        )
    chosen = PAPERS[name]
    if isinstance(rule, BPTT) and rule.checkpoint:
        chosen += ("chen2016training",)
    if isinstance(rule, STLLR) and isinstance(signal := signal_named(rule.signal), DirectFeedback):
        chosen += ("frenkel2021learning" if signal.error == "target" else "nokland2016direct",)
    return chosen


@cache
def entries() -> dict[str, str]:
    """The entries of citations.bib by their keys."""
    text = files("rheobase").joinpath("citations.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in re.finditer(r"^@\w+\{(\w+),\n.*?^\}$", text, re.MULTILINE | re.DOTALL)}

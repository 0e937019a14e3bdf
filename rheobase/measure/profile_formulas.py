"""What the papers' own formulas say a rule costs, to stand beside what is measured."""

from dataclasses import dataclass

from rheobase.rules.rule import Rule
from rheobase.training.choice import read_call
from rheobase.training.experiment import rule_text


@dataclass(frozen=True)
class Formula:
    """Of learning from one sample's sequence, the forward pass left out.

    macs: multiplications. values: numbers that are stored. text: the formulas, with m the multiplications of all
        synapses at one step, n the neurons, T the steps and K those that learn. source: whose they are.
    """

    macs: float
    values: float
    text: str
    source: str


def paper_formula(rule: Rule, steps: int, synaptic_macs: float, neurons: int) -> Formula | None:
    """The formula for `rule`; None where none is known.

    synaptic_macs: of all synapses at one step (the papers' sum of N_l N_{l-1}, which holds for dense layers alone).
    """
    try:
        name, options = read_call(rule_text(rule))
    except ValueError:  # of a rule without a name
        return None
    m, n, every = synaptic_macs, neurons, steps
    if name == "bptt":
        if options.get("checkpoint") is not None:
            return None
        return Formula(2 * every * m, every * n, "2 T m, T n", "S-TLLR, TMLR 2025")
    if name == "s-tllr":
        learning = options.get("last") or every
        factor = 3 if options.get("acausal", -1.0) != 0 else 2
        return Formula(factor * learning * m, 2 * n, f"{factor} K m, 2 n", "S-TLLR, TMLR 2025")
    if name == "sltt":
        at = options.get("at")
        learning = options.get("steps") or (every if at is None else len(at))
        return Formula(2 * learning * m + learning * n, n, "2 K m + K n, n", "counted after SLTT, ICCV 2023")
    if name == "ottt":
        return Formula(2 * every * m + 2 * every * n, 2 * n, "2 T m + 2 T n, 2 n", "counted after OTTT, NeurIPS 2022")
    return None

"""Which of several rules to take, given what each needs, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rheobase.units import size


@dataclass(frozen=True)
class Choice:
    """What is foretold for one rule and chunk; `refusal` says why there is nothing.

    is_exact: it gives the exact gradient. computes_twice: most of its forward pass, to save memory.
    bytes: the peak of a training step with the batch asked for, of parameters, optimiser and batch too; NaN where not
        even a probe could be run. seconds: of one `backward`, a guide only.
    largest_batch: the most samples that fit into the budget, 0 for none. fits: whether the batch does.
    cosine: between its gradient and the exact one of its objective, on the probe's samples, at these weights.
    """

    rule: str
    is_exact: bool = False
    computes_twice: bool = False
    bytes: float = math.nan
    seconds: float = math.nan
    largest_batch: int = 0
    fits: bool = False
    cosine: float = math.nan
    refusal: str | None = None


def recommended(choices: Sequence[Choice], samples: int, budget: int) -> tuple[str | None, str]:
    """The rule to take, None where none fits, and why.

    An exact one that fits, once computed before twice, then by time. Else the one whose gradient is nearest to the
    exact one, by hundredths of the cosine, then by time.
    """
    fitting = [choice for choice in choices if choice.fits]
    exact = sorted((c for c in fitting if c.is_exact), key=lambda c: (c.computes_twice, c.seconds))
    if exact:
        return exact[0].rule, _exact_reason(exact[0], choices, budget)
    if fitting:
        best = min(fitting, key=lambda c: (-_known(c.cosine), c.seconds))
        return best.rule, f"{_no_exact(choices, samples, budget)} {_inexact_reason(best, budget)}"
    possible = [c for c in choices if c.refusal is None]
    if not possible:
        return None, "Every rule refuses this model."
    most = max(possible, key=lambda c: (c.largest_batch, c.is_exact))
    if most.largest_batch == 0:
        return None, f"Nothing fits into {size(budget)}: take a smaller model, fewer steps, or more memory."
    return None, (
        f"No rule fits {samples} samples into {size(budget)}. The largest batch is {most.largest_batch}: {most.rule}."
    )


def _exact_reason(best: Choice, choices: Sequence[Choice], budget: int) -> str:
    head = f"{best.rule} gives the exact gradient and needs {size(best.bytes)} of {size(budget)}"
    whole = [c for c in choices if c.is_exact and not c.computes_twice and not math.isnan(c.bytes)]
    if not best.computes_twice or not whole:
        return f"{head}."
    least = min(whole, key=lambda c: c.bytes)
    return f"{head}; {least.rule} would need {size(least.bytes)}. The price: most of the forward pass is made twice."


def _no_exact(choices: Sequence[Choice], samples: int, budget: int) -> str:
    """What stands against the exact gradient."""
    exact = [c for c in choices if c.is_exact and not math.isnan(c.bytes)]
    if not exact:
        return "No rule with the exact gradient was asked for, or none can be run."
    least = min(exact, key=lambda c: c.bytes)
    other = f"; it fits {least.largest_batch} samples" if least.largest_batch else ""
    return f"The exact gradient of {samples} samples needs {size(least.bytes)} of {size(budget)} ({least.rule}){other}."


def _inexact_reason(best: Choice, budget: int) -> str:
    agreement = "unknown" if math.isnan(best.cosine) else f"{best.cosine:.2f}"
    return (
        f"{best.rule} needs {size(best.bytes)}; of the rules that fit its gradient is nearest to the exact one of its "
        f"objective (cosine {agreement} on a few samples, at these weights: `rheobase audit` tells more)."
    )


def _known(cosine: float) -> float:
    return -1.0 if math.isnan(cosine) else round(cosine, 2)

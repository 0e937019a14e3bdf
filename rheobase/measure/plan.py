"""Which rule fits into the memory there is: needs foretold from small batches, and a recommendation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from rheobase.chunks import Chunk
from rheobase.measure.agreement import gradient_cosine
from rheobase.measure.plan_choice import Choice, recommended
from rheobase.measure.plan_time import seconds_needed
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target
from rheobase.training.experiment import rule_named, rule_text
from rheobase.training.free_memory import free_bytes
from rheobase.training.need import DENSE, Need, knobs, need, of_samples

RULES = ("bptt", "bptt(checkpoint=True)", "rate-bp", "sltt", "ottt", "s-tllr")
REFUSALS = (ValueError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class Plan:
    """For sequences of `steps` steps in batches of `batch_size`, within `budget` bytes.

    resident: bytes of parameters, buffers and the optimiser's moments. of_sample: of one sample's input and target.
    recommended: the rule to take; None where none fits. reason: why, in a sentence or two.
    """

    steps: int
    batch_size: int
    budget: int
    resident: int
    of_sample: float
    choices: tuple[Choice, ...]
    recommended: str | None
    reason: str


def plan(
    model: nn.Module,
    xs: Tensor,
    target: Target,
    *,
    loss: Loss,
    budget: int,
    batch_size: int | None = None,
    rules: Sequence[str | Rule] = RULES,
    chunks: Sequence[Chunk] = (None, 1),
    moments: int = 2,
) -> Plan:
    """What each rule needs for batches like this one, which of them fits, and which to take.

    xs: `[T, N, ...]`; a few samples will do (an eighth of a batch), all T steps of them. target: theirs.
    budget: bytes for parameters, gradients, optimiser, batch and what a step allocates. Not counted are Python and
        PyTorch themselves, other processes, what oneDNN takes by itself, and gaps between blocks.
    batch_size: samples of the batches in question; as many as in xs by default.
    chunks: steps computed together; None for the rule's own choice. Only for rules that have this option.
    moments: tensors that the optimiser keeps for each parameter: 2 for Adam, 1 for SGD with momentum.

    Measured are steps with a sixteenth and an eighth of the batch, see `rheobase.training.need.need`, and their time
    with a sixteenth and, where it fits, a half. On a GPU its allocator tells only the peaks; that way is untested. The
    model stays as it is.
    """
    samples = batch_size or xs.shape[1]
    parameters = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    state = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    targets = target.targets if isinstance(target, PerStep) else target
    is_steady = len(xs) > 1 and xs.stride(0) == 0
    of_sample = ((xs[0] if is_steady else xs).nbytes + targets.nbytes) / xs.shape[1]
    ask = _Asked(model, xs, target, loss, samples, budget, state + moments * parameters, of_sample)
    choices = tuple(ask.choice(rule) for rule in _paced(rules, chunks))
    rule, reason = recommended(choices, samples, budget)
    return Plan(len(xs), samples, budget, ask.resident, of_sample, choices, rule, reason)


def _paced(rules: Sequence[str | Rule], chunks: Sequence[Chunk]) -> list[Rule]:
    """Each rule with each chunk, without repetitions."""
    found: dict[Rule, None] = {}
    for named in rules:
        rule = rule_named(named) if isinstance(named, str) else named
        has_chunk = "chunk" in knobs(rule)
        for chunk in chunks if has_chunk else (None,):
            found[rule if chunk is None else replace(rule, chunk=chunk)] = None  # type: ignore[type-var]
    return list(found)


@dataclass(frozen=True)
class _Asked:
    """What is planned for."""

    model: nn.Module
    xs: Tensor
    target: Target
    loss: Loss
    samples: int
    budget: int
    resident: int
    of_sample: float

    def choice(self, rule: Rule) -> Choice:
        text, is_exact, twice = rule_text(rule), rule.exact == rule, bool(knobs(rule).get("checkpoint"))
        try:
            found = self.need(rule, self.samples)
        except REFUSALS as error:
            return Choice(text, is_exact, refusal=str(error))
        if found is None:
            return Choice(text, is_exact, twice)
        most = found.samples_within(min(self.budget, (free_bytes(self.xs.device) or self.budget) // 2))
        seconds = seconds_needed(
            self.model, rule, self.xs, self.target, self.loss, self.samples, most=most
        ).at(self.samples)  # fmt: skip
        size = found.at(self.samples)
        return Choice(
            text, is_exact, twice, size, seconds, self.largest(rule, found), size <= self.budget,
            1.0 if is_exact else self.cosine(rule),
        )  # fmt: skip

    def need(self, rule: Rule, samples: int) -> Need | None:
        """Of all that the budget is for."""
        enough = self.xs.shape[1] >= 4  # for a line, whatever the batch
        few = (self.xs, self.target) if enough else of_samples(self.xs, self.target, 4)
        found = need(self.model, rule, *few, self.loss, batch_size=samples)
        return None if found is None else found.plus(self.resident, self.of_sample)

    def largest(self, rule: Rule, found: Need) -> int:
        """The most samples that fit. Fewer than were asked for are looked at anew: their chunks are longer."""
        fitting, asked = found.samples_within(self.budget), self.samples
        while 0 < fitting < asked and not isinstance(knobs(rule).get("chunk", 1), int):
            again = self.need(rule, fitting)
            fitting, asked = 0 if again is None else min(fitting, again.samples_within(self.budget)), fitting
        return fitting

    def cosine(self, rule: Rule) -> float:
        few = min(max(2, self.samples // DENSE), self.xs.shape[1])
        goal = PerStep(self.target.targets[:, :few]) if isinstance(self.target, PerStep) else self.target[:few]
        return gradient_cosine(rule, rule.exact, self.model, self.xs[:, :few], goal, self.loss).cosine

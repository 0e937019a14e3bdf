"""How far each rule's gradient is from the exact one, for this model and these data, and why."""

import copy
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rheobase.measure.agreement import Gradient, Products, gradient_of, products
from rheobase.measure.audit_exact import Exact, exact_form
from rheobase.measure.audit_neurons import NeuronLayer, neuron_layers
from rheobase.measure.audit_paths import PATHS, Cuts, Grams, Paths
from rheobase.measure.audit_sums import Beside, Figures, Sum
from rheobase.measure.comparison import REFUSALS
from rheobase.rules.rule import Loss, Rule
from rheobase.sequence import PerStep, Target
from rheobase.training.experiment import rule_named, rule_text


@dataclass(frozen=True)
class RuleAudit:
    """What was found about one rule; `refusal` says why there is nothing.

    exact: the rule that it is compared with, as computed. total: of all parameters together. of_layers, of_parameters:
        by name.
    paths, paths_of_layers: where it loses; None and empty where that was not asked for.
    one_step: the cosine on the first step alone. Every rule with an exact error signal has 1 there. NaN for a rule that
        does not take sequences of one step, or without a gradient.
    """

    rule: str
    exact: str = ""
    total: Figures | None = None
    of_layers: dict[str, Figures] = field(default_factory=dict)
    of_parameters: dict[str, Figures] = field(default_factory=dict)
    paths: Paths | None = None
    paths_of_layers: dict[str, Paths] = field(default_factory=dict)
    one_step: float = math.nan
    refusal: str | None = None


@dataclass(frozen=True)
class Audit:
    """layers: the kind of each layer with parameters that learn, by name. neurons: how they do on the first batch.

    batches, draws: how many.
    """

    rules: tuple[RuleAudit, ...]
    layers: dict[str, str]
    neurons: tuple[NeuronLayer, ...]
    batches: int
    draws: int


def audit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Target]],
    rules: Sequence[str | Rule],
    *,
    loss: Loss,
    draws: int = 4,
    exact: Exact = "auto",
    paths: bool = True,
) -> Audit:
    """Each rule's gradient beside the exact one of its own objective (`rule.exact`), over batches.

    batches: pairs of a sequence `[T, N, ...]` and its target; `[(xs, target)]` for one batch. Pairs, because bias and
        noise need several, and loaders give pairs; they are taken as they come, none is kept.
    rules: as on the command line, "sltt(steps=2)", or objects. One that refuses the model is told with its reason.
    draws: a rule or a model that draws at random (SLTT-K, dropout) is averaged over so many draws on each batch.
    exact: "checkpointed" computes the exact gradient with the memory of sqrt(2 T) steps; "whole" is faster; "auto" is
        checkpointed where half of the free memory, by a measurement on two samples, would not do.
    paths: also find where the gradient is lost, which takes three exact gradients more.

    The model is in the mode it is given in: call `model.train()` for the gradient of training. It, its buffers and
    gradients and the random state stay as they are; of gradients only running sums are kept.

    Memory: up to four copies of the model; a gradient in float64 for each rule and exact rule, some ten while a batch
        lasts.
    """
    if not rules or draws < 1 or exact not in ("auto", "whole", "checkpointed"):
        raise ValueError(
            'Expected at least one rule, draws >= 1 and exact "auto", "whole" or "checkpointed", got '
            f"{len(rules)} rules, draws={draws}, exact={exact!r}."
        )
    named = [(rule_text(rule), rule_named(rule) if isinstance(rule, str) else rule) for rule in rules]
    first, rest = _first(batches)
    work = _Work(model, named, loss, draws, exact, paths)
    seen = neuron_layers(model, first[0])
    for number, (xs, target) in enumerate(itertools.chain([first], rest)):
        with torch.random.fork_rng(devices=[xs.device] if xs.is_cuda else []):
            torch.manual_seed(number)  # other draws on each batch, the same in each audit
            work.add(xs, target)
    return Audit(
        tuple(each.found(work.layers) for each in work.rules), kinds(model, work.layers), seen, work.batches, draws
    )


def _first(
    batches: Iterable[tuple[Tensor, Target]],
) -> tuple[tuple[Tensor, Target], Iterable[tuple[Tensor, Target]]]:
    iterator = iter(batches)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError("Expected at least one batch (xs [T, N, ...], target), got none.") from None
    if not isinstance(first, (tuple, list)) or len(first) != 2 or not isinstance(first[0], Tensor):
        raise TypeError("Expected batches as pairs (xs [T, N, ...], target): for one batch, [(xs, target)].")
    return (first[0], first[1]), iterator


class _Reference:
    """An exact rule and the sum of its gradients. form: as it is computed, known from the first batch on."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self.sum = rule, Sum()
        self.form: Rule | None = None
        self.now: tuple[Gradient, dict[str, Gradient]] | None = None  # while a batch lasts, also without each path


class _Audited:
    """One rule while the batches come."""

    def __init__(self, text: str, rule: Rule, reference: _Reference) -> None:
        self.text, self.rule, self.reference = text, rule, reference
        self.beside, self.grams = Beside(reference.sum), Grams()
        self.one_step = math.nan
        self.refusal: str | None = None

    def found(self, layers: dict[str, list[str]]) -> RuleAudit:
        if self.refusal is not None or self.reference.form is None:
            return RuleAudit(self.text, refusal=self.refusal)
        figures, paths = self.beside.figures, self.grams.paths
        names = [name for members in layers.values() for name in members]
        by_layer = {layer: paths(members) for layer, members in layers.items()}
        return RuleAudit(
            self.text, rule_text(self.reference.form), figures(names),
            {layer: figures(members) for layer, members in layers.items()}, {name: figures([name]) for name in names},
            paths(names), {layer: found for layer, found in by_layer.items() if found is not None}, self.one_step,
        )  # fmt: skip


class _Work:
    """All rules while the batches come. layers: the names of the parameters that learn, by layer."""

    def __init__(
        self, model: nn.Module, rules: Sequence[tuple[str, Rule]], loss: Loss, draws: int, exact: Exact, paths: bool
    ) -> None:
        self.model = copy.deepcopy(model)
        self.model.zero_grad(set_to_none=True)
        self.loss, self.draws, self.exact = loss, draws, exact
        self.cuts = Cuts(self.model) if paths else None
        self.layers = layers_of(model)
        self.references: list[_Reference] = []
        self.batches = 0
        self.rules = [_Audited(text, rule, self._reference(rule.exact)) for text, rule in rules]

    def add(self, xs: Tensor, target: Target) -> None:
        self.batches += 1
        for reference in self.references:
            reference.now = None
        for each in self.rules:
            if each.refusal is None:
                self._add(each, xs, target)

    def _add(self, each: _Audited, xs: Tensor, target: Target) -> None:
        try:
            own = gradient_of(each.rule, self.model, xs, target, self.loss, draws=self.draws)
        except REFUSALS as error:
            each.refusal = str(error)
            return
        if not each.beside.batches:
            each.one_step = self._one_step(each.rule, xs, target)
        exact, without = self._exact(each.reference, xs, target)
        each.refusal = not_finite([own, exact, *without.values()], self.batches)
        if each.refusal is not None:
            return
        each.beside.add(own, exact)
        if without:
            each.grams.add(own, exact, without)

    def _exact(self, reference: _Reference, xs: Tensor, target: Target) -> tuple[Gradient, dict[str, Gradient]]:
        """The exact gradient, and that without each kind of path; computed once a batch."""
        if reference.now is not None:
            return reference.now
        if reference.form is None:
            reference.form = exact_form(self.exact, reference.rule, self.model, xs, target, self.loss)
        form, known = reference.form, dict[nn.Module, Gradient]()
        for model in [self.model] if self.cuts is None else [self.model, *self.cuts.without.values()]:
            if model not in known:
                known[model] = gradient_of(form, model, xs, target, self.loss, draws=self.draws)
        without = {} if self.cuts is None else {path: known[self.cuts.without[path]] for path in PATHS}
        reference.now = known[self.model], without
        reference.sum.add(known[self.model])
        return reference.now

    def _one_step(self, rule: Rule, xs: Tensor, target: Target) -> float:
        goal = PerStep(target.targets[:1]) if isinstance(target, PerStep) else target
        given = self.model, xs[:1], goal, self.loss
        try:
            own = gradient_of(rule, *given, draws=self.draws)
            found = products(own, gradient_of(rule.exact, *given, draws=self.draws))
        except REFUSALS:
            return math.nan
        return Products.together(found.values()).cosine

    def _reference(self, rule: Rule) -> _Reference:
        for known in self.references:
            if known.rule == rule:
                return known
        self.references.append(_Reference(rule))
        return self.references[-1]


def not_finite(gradients: Iterable[Gradient], batch: int) -> str | None:
    """Why these gradients of one batch cannot be compared; None where they can."""
    for gradient in gradients:
        for name, part in gradient.items():
            if not part.isfinite().all():
                return (
                    f"The gradient of {name!r} by this rule or by the exact one is not finite on batch {batch}: look "
                    "for NaN, infinity and very large numbers in the weights, the batch and the loss."
                )
    return None


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """The names of the parameters that learn, by the layer that has them."""
    found: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault(name.rpartition(".")[0], []).append(name)
    return found


def kinds(model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    return {layer: type(model.get_submodule(layer)).__name__ for layer in layers}

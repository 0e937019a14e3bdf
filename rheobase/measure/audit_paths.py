"""Where a rule loses: at the reset, at the norms' statistics, or through time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rheobase.measure.agreement import Gradient, Products
from rheobase.measure.audit_cuts import without_reset, without_statistics, without_time

PATHS = ("reset", "normalisation", "time")
NEGLIGIBLE = 1e-6  # of the exact gradient's length: a cut that changes less is rounding


@dataclass(frozen=True)
class Likeness:
    """One gradient beside the exact one, all batches as one vector.

    error: the length of the difference over that of the exact one.
    """

    cosine: float
    norm_ratio: float
    error: float

    @classmethod
    def of(cls, products: Products) -> "Likeness":
        return cls(products.cosine, products.norm_ratio, products.error)


@dataclass(frozen=True)
class Path:
    """One kind of path along which the exact gradient flows, and what becomes of it under the rule.

    without: the exact gradient with these paths cut, and nothing else, beside the exact one: how much hangs on them in
        this model, whatever the rule.
    rule: the rule's gradient beside that cut one; 1 where the rule is the exact gradient without these paths.
    dropped: the share of these paths that the rule drops, 0 for none, 1 for all.
    lost: the exact gradient without that share of these paths, beside the exact one; 1 where nothing is lost here.
    """

    without: Likeness
    rule: Likeness
    dropped: float
    lost: Likeness


@dataclass(frozen=True)
class Paths:
    """What a rule loses, by "reset", "normalisation" and "time".

    The rule's gradient r is taken as the exact one g with shares a of the three cuts, by least squares:

        r = scale * (g + sum over paths of a (g without the path - g) + rest),   rest orthogonal to g and all cuts

    So SLTT has dropped time = 1 and no rest, OTTT in its exact form before a memoryless readout dropped reset = 1, and
    BPTT 0 everywhere. "reset" is the gradient through the spikes that reset the potential; "normalisation" that through
    the mean and the deviation of a batch norm; "time" all that crosses from one step to the next, the reset too.

    scale: a length that is wrong everywhere alike is no loss. 1 for a rule that points away from the exact gradient.
    rest: the exact gradient plus the rest, beside the exact one. It holds what is no cut of a path: means in place of
        products (RateBP), steps that were not drawn (SLTT-K), terms that BPTT has not, another error signal.

    What it does not mean: that the rule computes so. Where a path hardly matters (`without` near 1), its share means
    little; where two cuts do nearly the same (a membrane that only resets), the split between them means little.
    """

    each: dict[str, Path]
    rest: Likeness
    scale: float

    @property
    def main(self) -> str:
        """The path along which most is lost, or "rest"."""
        errors = {path: found.lost.error for path, found in self.each.items()} | {"rest": self.rest.error}
        return max(errors, key=lambda name: errors[name])


class Cuts:
    """A model and its variants without one kind of path."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.without = {
            "reset": without_reset(model),
            "normalisation": without_statistics(model),
            "time": without_time(model),
        }


class Grams:
    """The inner products, summed over batches, of the exact gradient, the effects of the three cuts, and the rule's.

    Of each parameter a matrix [5, 5], in this order.
    """

    def __init__(self) -> None:
        self._of: dict[str, Tensor] = {}

    def add(self, own: Gradient, exact: Gradient, without: Mapping[str, Gradient]) -> None:
        for name, g in exact.items():
            rows = torch.stack([g, *(without[path][name] - g for path in PATHS), own[name]]).flatten(1)
            gram = (rows @ rows.t()).cpu()
            self._of[name] = self._of[name] + gram if name in self._of else gram

    def paths(self, names: Iterable[str]) -> Paths | None:
        """Of the parameters called `names` together; None where nothing was added."""
        if not self._of:
            return None
        gram = torch.stack([self._of[name] for name in names]).sum(0)
        scale, shares = _fitted(gram)
        exact, own = _mix(g=1.0), _mix(rule=1.0)
        each = {
            path: Path(
                without=_likeness(gram, _mix(1.0, {path: 1.0}), exact),
                rule=_likeness(gram, own, _mix(1.0, {path: 1.0})),
                dropped=share,
                lost=_likeness(gram, _mix(1.0, {path: share}), exact),
            )
            for path, share in shares.items()
        }
        rest = own / scale - _mix(0.0, shares)  # the exact gradient and the rest
        return Paths(each, _likeness(gram, rest, exact), scale)


def _fitted(gram: Tensor) -> tuple[float, dict[str, float]]:
    """The scale, and the share of each cut: the smallest where several do, 0 for a cut without effect."""
    scale, *found = _solved(gram[:4, :4], gram[:4, 4])
    if not scale > 0:
        scale, found = (
            1.0,
            _solved(gram[1:4, 1:4], gram[1:4, 4] - gram[1:4, 0], smallest=NEGLIGIBLE * gram[0, 0].sqrt()),
        )
    return scale, {path: share / scale for path, share in zip(PATHS, found, strict=True)}


def _solved(gram: Tensor, products: Tensor, smallest: Tensor | None = None) -> list[float]:
    """The least-squares coefficients of vectors with these inner products, with one another and with the target."""
    lengths = gram.diagonal().sqrt()
    known = lengths > (NEGLIGIBLE * lengths[0] if smallest is None else smallest)
    unit = torch.where(known, 1 / lengths.clamp(min=1e-300), 0.0)
    inverse = torch.linalg.pinv(gram * unit[:, None] * unit, rtol=1e-9, hermitian=True)
    return (unit * (inverse @ (products * unit))).tolist()


def _mix(g: float = 0.0, cuts: Mapping[str, float] | None = None, rule: float = 0.0) -> Tensor:
    return torch.tensor([g, *((cuts or {}).get(path, 0.0) for path in PATHS), rule], dtype=torch.float64)


def _likeness(gram: Tensor, own: Tensor, exact: Tensor) -> Likeness:
    own_square, exact_square = (max(float(mix @ gram @ mix), 0.0) for mix in (own, exact))
    return Likeness.of(Products(own_square, exact_square, float(own @ gram @ exact)))

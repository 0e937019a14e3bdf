"""What many batches tell of a gradient, gathered in sums: no gradient is kept."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rheobase.measure.agreement import Gradient, Products, inner, products


@dataclass(frozen=True)
class Figures:
    """A rule's gradient of some parameters beside the exact one, over batches. NaN stands for what cannot be told.

    cosine, norm_ratio: means over the batches; 1 is exact. A batch without a gradient has no cosine.
    spread: the standard deviation of the cosine over the batches.
    bias: what does not average out: |mean of rule - exact| / |mean of exact|. A wrong length alone shows here too.
    bias_by_chance: the bias that so many batches would show of a rule that has none.
    noise, exact_noise: the variance over the batches of the rule's and of the exact gradient, summed over its entries,
        in units of |mean of exact|^2. A rule twice as long has four times the noise.
    share: of these parameters in the squared length of the exact gradient.
    """

    cosine: float
    spread: float
    norm_ratio: float
    bias: float
    bias_by_chance: float
    noise: float
    exact_noise: float
    share: float


class Sum:
    """The sum of gradients, one a batch."""

    def __init__(self) -> None:
        self.parts: Gradient = {}

    def add(self, gradient: Gradient) -> None:
        for name, part in gradient.items():
            self.parts[name] = self.parts[name].add_(part) if name in self.parts else part.clone()


class Beside:
    """A rule's gradients and the exact ones of the same batches. exact: their sum, which several rules may share."""

    def __init__(self, exact: Sum) -> None:
        self.own, self.exact = Sum(), exact
        self.batches: list[dict[str, Products]] = []

    def add(self, gradient: Gradient, exact: Gradient) -> None:
        """The gradients of one more batch; the exact one is in its sum already."""
        self.own.add(gradient)
        self.batches.append(products(gradient, exact))

    def figures(self, names: Sequence[str]) -> Figures:
        """Of the parameters called `names`, taken together."""
        count = len(self.batches)
        each = [Products.together(batch[name] for name in names) for batch in self.batches]
        sums = [self.means(name) for name in names]
        mean, whole = Products.together(sums), Products.together(self.means(name) for name in self.exact.parts)
        total = Products.together(each)
        cosines = [found.cosine for found in each if not math.isnan(found.cosine)]
        apart = mean.own + mean.exact - 2 * mean.cross
        scattered = variance(total.own + total.exact - 2 * total.cross, apart, count)
        return Figures(
            cosine=mean_of(cosines),
            spread=statistics.stdev(cosines) if len(cosines) > 1 else 0.0 if cosines else math.nan,
            norm_ratio=mean_of(found.norm_ratio for found in each),
            bias=mean.error,
            bias_by_chance=root(ratio(scattered / count, mean.exact)),
            noise=ratio(variance(total.own, mean.own, count), mean.exact),
            exact_noise=ratio(variance(total.exact, mean.exact, count), mean.exact),
            share=ratio(mean.exact, whole.exact),
        )

    def means(self, name: str) -> Products:
        """The inner products of the mean gradients of one parameter."""
        own, exact = self.own.parts[name], self.exact.parts[name]
        count = len(self.batches) ** 2
        return Products(inner(own, own) / count, inner(exact, exact) / count, inner(own, exact) / count)


def variance(squares: float, mean_square: float, count: int) -> float:
    """The sample variance of vectors, from the sum of their squared lengths and the squared length of their mean."""
    return max(squares - count * mean_square, 0.0) / (count - 1) if count > 1 else math.nan


def mean_of(values: Iterable[float]) -> float:
    """Of those that are numbers; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


def root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan

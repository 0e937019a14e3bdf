"""What a recipe is."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rheobase.training import Experiment

NOT_READ = "not found"
SURVEY = "quoted by a survey"
DIGEST = "quoted by a digest of the paper"
TRANSCRIPT = "from a transcription of the paper"


@dataclass(frozen=True)
class Recipe:
    """One published experiment.

    make: the experiment with the paper's settings.
    paper: whose experiment it is.
    published: test accuracy in %, as mean +- deviation (best), or what else the paper reports.
    source: where that figure was read; none was checked in the papers' own tables unless it says so.
    departs: what is not as in the paper's code, and why.

    All papers choose the best epoch by the test part; ours is chosen by a validation part held out of train.
    """

    name: str
    make: Callable[[], Experiment]
    paper: str
    published: str
    source: str
    departs: str = ""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.make.__doc__ or "").partition("\n")[0]

    def partner(self, suffix: str, published: str, source: str, **changes: str) -> "Recipe":
        """The same experiment with other fields, such as another rule, which the paper compares with."""

        def make() -> Experiment:
            return replace(self.make(), **changes)  # type: ignore[arg-type]

        told = ", ".join(f"{field} = {value}" for field, value in changes.items())
        make.__doc__ = f"{self.summary.removesuffix('.')}; {told}."
        return replace(self, name=f"{self.name}-{suffix}", make=make, published=published, source=source)


def recipe(
    name: str, *, paper: str, published: str, source: str, departs: str = ""
) -> Callable[[Callable[[], Experiment]], Recipe]:
    """Makes a recipe of a function that returns its experiment."""

    def made(make: Callable[[], Experiment]) -> Recipe:
        return Recipe(name, make, paper, published, source, departs)

    return made

"""How all pictures look, in one place: colours, sizes, files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rheobase.explained import explained
from rheobase.training.files import write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by the colour-blind (Okabe and Ito, 2008), and on paper by their lightness as far as it goes.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#cc79a7", "#7f7f7f", "#8c6d31")
DASHES = ("-", "--", ":", "-.")  # beyond eight lines the colours come again with other dashes
GREY, LIGHT = "#555555", "#e5e5e5"
ON, OFF = "#d55e00", "#0072b2"  # got brighter, got darker
DEAD_COLOUR, SATURATED_COLOUR = "#d55e00", "#cc79a7"
RC = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "grid.color": LIGHT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
    "figure.titlesize": 11,
}
P = ParamSpec("P")
R = TypeVar("R")


def matplotlib() -> ModuleType:
    """Raises ImportError, saying what to install, where it is missing."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise explained(
            ImportError("The picture needs matplotlib, which is not installed: `pip install 'rheobase[plot]'`."),
            "extras",
        ) from error
    return matplotlib


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """What `draw` makes has the library's look; the user's own settings are as before afterwards."""

    @wraps(draw)
    def within(*arguments: P.args, **options: P.kwargs) -> R:
        with matplotlib().rc_context(RC):
            return draw(*arguments, **options)

    return within


def new_figure(width: float, height: float) -> Any:
    """An empty figure, inches, that belongs to no window."""
    return matplotlib().figure.Figure(figsize=(width, height), layout="constrained")


@contextmanager
def figure(width: float, height: float) -> Iterator["Figure"]:
    """An empty figure, inches, for a picture of your own: what is drawn inside `with` has the library's look.

    It belongs to no window: `save` writes it, and a notebook shows it as the last line of a cell.
    """
    with matplotlib().rc_context(RC):
        yield new_figure(width, height)


def save(figure: "Figure", path: str | Path, *, dpi: int = 150) -> Path:
    """Writes the figure, as PNG, SVG or PDF by the path's suffix; nothing half written is ever there.

    dpi: dots per inch of a PNG. The same figure gives the same bytes.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"Expected a path that ends in .png, .svg or .pdf, got {path}.")
    date = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
    with matplotlib().rc_context({"svg.hashsalt": "rheobase"}):
        write = partial(figure.savefig, format=kind, dpi=dpi, metadata={date: None} if date else None)
        write_aside(path, write)
    return path


def look(place: int) -> dict[str, Any]:
    """Colour and dashes of the line at a place, counted from 0."""
    return {"color": COLOURS[place % len(COLOURS)], "ls": DASHES[place // len(COLOURS) % len(DASHES)]}


def few(values: Sequence[int], most: int) -> list[int]:
    """At most `most` of the values, evenly spread, the first and the last among them."""
    count = min(len(values), most)
    return [values[round(i * (len(values) - 1) / max(1, count - 1))] for i in range(count)]


def whole_numbers(axis: Any) -> None:
    """Ticks of the axis at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def counted(number: int, thing: str) -> str:
    """A number with its noun."""
    return f"{spaced(number)} {thing}{'' if number == 1 else 's'}"


def spaced(number: int) -> str:
    """A number whose thousands are seen."""
    return f"{number:,}".replace(",", " ")


def two_lines(rule: str, longest: int) -> str:
    """A rule of more letters than that, broken before its options."""
    name, bracket, options = rule.partition("(")
    return f"{name}\n{bracket}{options}" if len(rule) > longest else rule

"""What the terminal shows around the commands."""

from rich.console import Console
from rich.markup import escape

from rheobase.explained import notes

WIDE = 200  # columns of tables of which nothing may be cut off or folded, whatever the terminal

_COMMANDS = {
    "Train": (
        ("train --rule sltt --data digits", "one model with one rule"),
        ("compare bptt sltt ottt", "several rules, on a page"),
        ("evaluate runs/mine", "the test score of a run"),
        ("resume runs/mine", "go on after a stop"),
        ("runs", "list runs, compare some"),
        ("recipes sltt", "the papers' experiments"),
    ),
    "Understand": (
        ("audit runs/mine", "how good is the gradient?"),
        ("profile --model vgg11", "what each layer costs"),
        ("plan --steps 32 --memory 8GiB", "which rule and batch fit"),
        ("plot runs/mine", "pictures of a run"),
        ("report runs/mine", "one HTML page"),
        ("explain layout", "what an error means"),
    ),
    "Take along": (
        ("export --help", "to hardware and elsewhere"),
        ("cite sltt", "BibTeX of a rule's paper"),
    ),
    "Choose": (
        ("list rules", "and models, neurons, ..."),
        ("data list", "published data sets"),
        ("completion bash", "for the Tab key"),
    ),
}


def first_screen() -> None:
    """What rheobase does, and for each thing that one may want a command."""
    console = Console(highlight=False)
    console.print(
        "[bold]Rheobase[/] trains spiking networks over any number of time steps with the\n"
        "memory of one step, and says how good the gradient is that you got for it.\n"
    )
    for title, commands in _COMMANDS.items():
        for place, (example, purpose) in enumerate(commands):
            heading = "" if place else title
            console.print(f"{heading:<11}[cyan]{escape(f'rheobase {example}'):<41}[/]{purpose}")
    console.print(
        "\nStart with [bold]rheobase compare[/]: six rules on handwritten digits, about a minute.\n"
        "[bold]rheobase COMMAND --help[/] shows all options; --traceback where an error arose."
    )


def fail(what: str | BaseException) -> None:
    """One red line on standard error; of an error with the page that explains it."""
    text = what if isinstance(what, str) else " ".join([str(what), *notes(what)])
    on_standard_error(f"[bold red]error:[/] [red]{escape(' '.join(text.split()))}[/]")


def note(message: str) -> None:
    """One line on standard error that is no error."""
    on_standard_error(f"[yellow]note:[/] {escape(' '.join(message.split()))}")


def on_standard_error(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)

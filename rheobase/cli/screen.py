"""What the terminal shows around the commands."""

from rich.console import Console
from rich.markup import escape

WIDE = 200  # columns of tables of which nothing may be cut off or folded, whatever the terminal

_COMMANDS = (
    ("rheobase train", "train a model with a learning rule", "rheobase train --rule sltt --data digits"),
    ("rheobase compare", "train with several rules; table, JSON, picture", "rheobase compare bptt sltt ottt"),
    ("rheobase evaluate", "the test accuracy of a run", "rheobase evaluate runs/mine"),
    ("rheobase resume", "go on with a run that was stopped", "rheobase resume runs/mine"),
    ("rheobase audit", "how good each rule's gradient is, and why", "rheobase audit runs/mine"),
    ("rheobase profile", "what each layer computes, keeps and costs", "rheobase profile --model vgg11 --data cifar10"),
    ("rheobase plan", "which rule and batch fit your memory", "rheobase plan --steps 32 --memory 8GiB"),
    ("rheobase report", "one page of a run or a comparison", "rheobase report runs/mine"),
    ("rheobase plot", "pictures of a run", "rheobase plot runs/mine"),
    ("rheobase runs", "list runs, or compare some", "rheobase runs runs/mine runs/other"),
    ("rheobase recipes", "the papers' experiments and what was published", "rheobase train sltt-cifar10"),
    ("rheobase list", "rules, models, data sets, neurons, ...", "rheobase list rules"),
    ("rheobase data", "list, check or fetch published data sets", "rheobase data fetch cifar10"),
)


def first_screen() -> None:
    """What rheobase does, and each command with an example."""
    console = Console(highlight=False)
    console.print(
        "[bold]Rheobase[/] trains spiking networks over any number of time steps with the\n"
        "memory of one step, and says how good the gradient is that you got for it.\n"
    )
    for name, purpose, example in _COMMANDS:
        console.print(f"  [bold]{name:<18}[/] {purpose}\n  {'':<18} [cyan]{escape(example)}[/]")
    console.print(
        "\nStart with [bold]rheobase compare[/]: six rules on handwritten digits, about a minute.\n"
        "[bold]rheobase COMMAND --help[/] shows all options; --traceback where an error arose."
    )


def fail(message: str) -> None:
    """One red line on standard error."""
    on_standard_error(f"[bold red]error:[/] [red]{escape(' '.join(message.split()))}[/]")


def note(message: str) -> None:
    """One line on standard error that is no error."""
    on_standard_error(f"[yellow]note:[/] {escape(' '.join(message.split()))}")


def on_standard_error(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)

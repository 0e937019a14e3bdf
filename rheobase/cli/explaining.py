"""The command `rheobase explain`."""

from typing import Annotated, cast

import tyro
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape

from rheobase.explained import TOPICS, Topic, explanation
from rheobase.names import choose

WIDEST = 100  # columns in which text is read with ease


def explain(topic: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TOPIC]")] = None) -> int:
    """Print the page that an error names, or a list of the pages.

    Args:
        topic: all of them by default.
    """
    console = Console(highlight=False)
    if topic is None:
        for name in TOPICS:
            console.print(f"  [bold]{name:<16}[/] {escape(title(name))}", soft_wrap=True)
        return 0
    choose("topic", topic, dict.fromkeys(TOPICS))
    text = explanation(cast("Topic", topic)).partition("\n")[2]
    console.print(f"[bold]{escape(title(topic))}[/]")
    console.print(Markdown(text), width=min(console.width, WIDEST))
    return 0


def title(topic: str) -> str:
    return explanation(cast("Topic", topic)).partition("\n")[0].removeprefix("# ").replace("`", "")

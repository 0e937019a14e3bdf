"""Errors that say where to read on: `rheobase explain TOPIC`, pages that come with the package."""

from importlib.resources import files
from typing import Literal, TypeVar, get_args

Topic = Literal[
    "conversion", "data-files", "extras", "hardware", "layout", "memory", "model", "nothing-learns", "numbers",
    "refused", "resume", "sequence-norms", "state",
]  # fmt: skip
TOPICS: tuple[str, ...] = get_args(Topic)
Error = TypeVar("Error", bound=BaseException)
_LINK = "Explained by: rheobase explain "


def explained(error: Error, topic: Topic) -> Error:
    """The error with a note, the last line of its traceback, that names the page about it."""
    error.add_note(_LINK + topic)
    return error


def is_explained(error: BaseException) -> bool:
    return any(note.startswith(_LINK) for note in notes(error))


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def explanation(topic: Topic) -> str:
    """The page, Markdown whose first line is its title."""
    return files("rheobase").joinpath("explanations", f"{topic}.md").read_text(encoding="utf-8")

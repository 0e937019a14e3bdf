"""Where figures come from: settings, machine, versions, the command; and the pictures beside them."""

import base64
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rheobase.report.html import Markup, code, element, folded, paragraph
from rheobase.report.page import Section
from rheobase.report.table import settings_table, table
from rheobase.report.texts import day, versions
from rheobase.training.experiment import Experiment
from rheobase.training.history import mapping

NAMES = ("device", "cpu", "system", "threads", "processes", "commit", "rheobase_commit")
PNG = b"\x89PNG\r\n\x1a\n"
ROOM = 1_200_000  # bytes of all pictures together


def settings(values: Mapping[str, Any]) -> Section:
    """The experiment's settings: those that were chosen, and all."""
    found, usual = mapping(values, "experiment"), Experiment().settings()
    changed = {name: value for name, value in found.items() if name not in usual or usual[name] != value}
    parts: list[str] = [
        settings_table("What is not the default.", changed, {}) if changed else paragraph("All are the defaults."),
        folded("All settings", settings_table("Marked: not the default.", found, usual)),
    ]
    if mapping(values, "resolved"):
        full = settings_table("Names with all their options, as they were then.", mapping(values, "resolved"), {})
        parts.append(folded("With all defaults written out", full))
    return Section("Settings", parts)


def environment(values: Mapping[str, Any]) -> Section:
    """Versions, machine and commits, and the command that makes the same again."""
    command = values.get("command")
    parts: list[str] = []
    if isinstance(command, list) and command:
        parts.append(element("pre", {}, code(shlex.join(str(word) for word in command))))
    known = {name: values.get(name) for name in NAMES} | {"versions": versions(values), "date": day(values)}
    rows = [(name.replace("_", " "), code(str(value))) for name, value in known.items() if value not in (None, "")]
    parts.append(table("Machine, versions and commits.", ("what", "value"), rows))
    return Section("How it was made", parts)


def pictures(folder: Path, drawn: Sequence[str]) -> Iterator[Section]:
    """The PNG files in the folder but for those `drawn` by the page itself, as far as there is room."""
    shown, left_out, room = list[Markup](), list[str](), ROOM
    for file in sorted(folder.glob("*.png")):
        if file.name in drawn or not file.is_file():
            continue
        content = file.read_bytes()
        if not content.startswith(PNG):
            continue
        room -= len(content)
        if room < 0:
            left_out.append(file.name)
            room += len(content)
            continue
        name = file.stem.replace("-", " ").replace("_", " ")
        image = {"src": f"data:image/png;base64,{base64.b64encode(content).decode()}", "alt": f"Picture: {name}"}
        shown.append(element("figure", {"class": "picture"}, element("figcaption", {}, name), element("img", image)))
    if left_out:
        shown.append(paragraph(f"Too large to be shown here: {', '.join(left_out)}."))
    if shown:
        yield Section("Pictures", shown)

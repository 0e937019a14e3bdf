"""Profiles and plans as JSON and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rheobase.distributed import device_named
from rheobase.measure.plan import Plan
from rheobase.measure.profile import LayerProfile, Profile
from rheobase.training import Experiment
from rheobase.training.environment import environment
from rheobase.training.files import plain, write_aside, write_json

COLUMNS = tuple(field.name for field in fields(LayerProfile))


def results(experiment: Experiment, found: Profile | Plan, command: Sequence[str] | None = None) -> dict[str, Any]:
    """All that was found, for JSON; null stands for what is not known."""
    known = {
        **environment(device_named(experiment.device), command),
        "experiment": experiment.settings(),
        **asdict(found),
    }
    return plain(known)  # type: ignore[no-any-return]


def write_profile(folder: Path, known: dict[str, Any], found: Profile) -> None:
    """profile.json, and profile.csv with a line for each layer and columns for what each rule keeps and takes there."""
    write_json(folder / "profile.json", known)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rules = [rule for rule in found.rules if rule.refusal is None]
    of_rules = [f"{what}: {rule.rule}" for rule in rules for what in ("kept_bytes", "forward_s", "backward_s")]
    writer.writerow([*COLUMNS, *of_rules])
    for layer in found.layers:
        row = [_cell(getattr(layer, column)) for column in COLUMNS]
        for rule in rules:
            row += [rule.kept_by_layer.get(layer.name, 0), *rule.seconds_by_layer.get(layer.name, ("", ""))]
        writer.writerow(row)
    write_aside(folder / "profile.csv", lambda file: file.write(text.getvalue().encode()))


def write_plan(folder: Path, known: dict[str, Any]) -> None:
    write_json(folder / "plan.json", known)


def _cell(value: object) -> object:
    return "x".join(map(str, value)) if isinstance(value, tuple) else value

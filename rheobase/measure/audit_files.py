"""Audits as JSON and as CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rheobase.distributed import device_named
from rheobase.measure.audit import RuleAudit
from rheobase.measure.audit_sums import Figures
from rheobase.measure.audit_training import Moment
from rheobase.measure.audit_verdict import findings, verdicts
from rheobase.training import Experiment
from rheobase.training.environment import environment
from rheobase.training.files import plain, write_aside, write_json

FIGURES = tuple(field.name for field in fields(Figures))


def results(experiment: Experiment, moments: Sequence[Moment], command: Sequence[str] | None = None) -> dict[str, Any]:
    """All that was found, for JSON; null stands for what cannot be told."""
    found = {
        **environment(device_named(experiment.device), command),
        "experiment": experiment.settings(),
        "moments": [moment_results(moment) for moment in moments],
    }
    return plain(found)  # type: ignore[no-any-return]


def moment_results(moment: Moment) -> dict[str, Any]:
    told = {verdict.rule: verdict for verdict in verdicts(moment.audit)}
    whole = asdict(moment.audit)
    return {
        "title": moment.title,
        "epoch": moment.epoch,
        "findings": [asdict(finding) for finding in findings(moment.audit)],
        **{name: whole[name] for name in ("layers", "neurons", "batches", "draws")},
        "rules": [rule | {"verdict": asdict(told[rule["rule"]])} for rule in whole["rules"]],
    }


def write_audit(folder: Path, found: dict[str, Any], moments: Sequence[Moment]) -> None:
    """audit.json, and audit.csv with a line for each moment, rule, and parameter, layer or all of them."""
    write_json(folder / "audit.json", found)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["moment", "epoch", "rule", "of", "name", *FIGURES])
    for moment in moments:
        for rule in moment.audit.rules:
            writer.writerows([moment.title, moment.epoch, rule.rule, *row] for row in rows(rule))
    write_aside(folder / "audit.csv", lambda file: file.write(text.getvalue().encode()))


def rows(rule: RuleAudit) -> Iterator[list[Any]]:
    if rule.total is None:
        return
    levels = {"all": {"": rule.total}, "layer": rule.of_layers, "parameter": rule.of_parameters}
    for level, members in levels.items():
        for name, figures in members.items():
            yield [level, name, *(getattr(figures, figure) for figure in FIGURES)]

"""Whether a run goes on with the data that it began with."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rheobase.datasets import Data, FlowData

PARTS = ("train", "validation", "test")


def marks(data: Data | FlowData) -> dict[str, str]:
    """What each part is known by: its number of samples and, where they have labels, the beginning of a hash of these.

    Samples are not read: of large sets that takes minutes.
    """
    found = {}
    for name in PARTS:
        part = getattr(data, name)
        found[name] = f"{len(part)} samples"
        if isinstance(targets := part.targets, Tensor) and not targets.is_floating_point():
            found[name] += f", labels {hashlib.sha256(targets.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]}"
    return found


def require_same(settings: Mapping[str, Any], data: Data | FlowData, folder: Path) -> None:
    """Raises ValueError unless the data have the marks in the settings of the run in `folder`; older ones hold none."""
    now = marks(data)
    then = settings.get("marks", now)
    if then != now:
        changed = [name for name in PARTS if then.get(name) != now[name]]
        other = "; ".join(f"{name}: {then.get(name)} then, {now[name]} now" for name in changed)
        raise ValueError(
            f"The data of {data.name} are not those with which the run in {folder} began ({other}). Bring the files "
            "back, or give resume(..., data=...) what fit(..., data=...) was given; to use the weights with these "
            f"data, train with --weights {folder}."
        )

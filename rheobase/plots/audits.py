"""How far rules' gradients are from the exact one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rheobase.measure import Audit, Moment


def audit(found: "Audit | Sequence[Moment]", title: str = "") -> "Figure":
    """What `rheobase audit` draws: cosines to the exact gradient, layers x rules, and where the rest of it is lost.

    found: what `measure.audit` found; or `measure.audit_training`, of which the first and the last moment are shown,
        and between them the course of the whole gradient. Rules that refused are left out.
    """
    from rheobase.measure import Audit, Moment  # which draws in this package's style
    from rheobase.measure.audit_figure import audit_figure

    moments = [Moment(f"batches: {found.batches}", 0, found)] if isinstance(found, Audit) else list(found)
    if not moments or all(rule.total is None for rule in moments[-1].audit.rules):
        raise ValueError("Nothing to draw: every rule refused; `refusal` of each of `rules` says why.")
    return audit_figure(moments, title)

"""The command `rheobase cite`."""

from typing import Annotated

import tyro

from rheobase.citing import cite


def print_citation(
    rule: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RULE]")] = None,
) -> int:
    """Print BibTeX of the papers whose equations a rule follows; without a RULE of Rheobase itself.

    Args:
        rule: as for train, such as sltt or "s-tllr(signal=dfa)".
    """
    print(cite(rule))
    return 0

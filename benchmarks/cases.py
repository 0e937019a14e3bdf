"""The table of cases. To add or change one, edit `CASES`."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from typing import Any

import rheobase as rb
from benchmarks import ours, plain
from benchmarks.nets import NETS
from benchmarks.task import Step, Task

OURS, JELLY, PLAIN = "Rheobase", "SpikingJelly", "plain PyTorch"
RESNET = ("resnet18",)


@dataclass(frozen=True)
class Case:
    """One way to train.

    keeps_all: it keeps all T steps, so it is not run at large T. short: it is left out there to save time.
    skip: why it is not run on a network, by the network's name. only: the networks it is meant for, None for all.
    """

    side: str
    name: str
    build: Callable[[Task], Step]
    keeps_all: bool = False
    skip: dict[str, str] | None = None
    short: bool = False
    only: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        return f"{self.side}/{self.name}"

    def reason_against(self, net: str, steps: int) -> str | None:
        """Why the case is not run there, None if it is."""
        if self.skip and net in self.skip:
            return self.skip[net]
        if self.keeps_all and steps > NETS[net].bptt_until:
            return f"keeps all {steps} steps"
        if self.short and steps > NETS[net].bptt_until:
            return "run on shorter sequences only"
        return None


def jelly(function: str, *arguments: Any, **options: Any) -> Callable[[Task], Step]:
    """`benchmarks.jelly.function(*arguments, **options)`, imported when the case is built; names of kits are looked up.

    Without arguments the function itself takes the task.
    """

    def build(task: Task) -> Step:
        module = import_module("benchmarks.jelly")
        made = getattr(module, function)
        if arguments or options:
            made = made(*(getattr(module, a) if a.endswith("KIT") else a for a in arguments), **options)
        return made(task)

    return build


NO_BLOCKS = {"recurrent": "the recurrent cell is not a block its optimiser can wrap"}
NO_OTTT = {
    "resnet18": "its OTTT container is sequential: residual blocks do not fit",
    "recurrent": "its OTTT container is sequential: a recurrent cell does not fit",
}

CASES = (
    Case(JELLY, "BPTT, single-step", jelly("single_step"), keeps_all=True),
    Case(JELLY, "BPTT, multi-step", jelly("multi_step"), keeps_all=True),
    Case(JELLY, "BPTT, memopt speed", jelly("optimised", "speed"), keeps_all=True, skip=NO_BLOCKS),
    Case(JELLY, "BPTT, memopt memory", jelly("optimised", "memory"), keeps_all=True, skip=NO_BLOCKS),
    Case(JELLY, "BPTT, checkpointed", jelly("checkpointed"), keeps_all=True, skip=NO_BLOCKS),
    Case(JELLY, "SLTT", jelly("online", "SLTT_KIT")),
    Case(JELLY, "OTTT", jelly("online", "OTTT_KIT"), skip=NO_OTTT),
    Case(JELLY, "OTTT, updates each step", jelly("online", "OTTT_KIT", updates_each_step=True), skip=NO_OTTT),
    Case(PLAIN, "BPTT, loop", plain.bptt, keeps_all=True),
    Case(PLAIN, "BPTT, layer by layer", plain.bptt_by_layer, keeps_all=True),
    Case(PLAIN, "BPTT, checkpointed", plain.bptt_checkpointed, keeps_all=True),
    Case(PLAIN, "SLTT", plain.sltt),
    Case(PLAIN, "forward only", plain.forward_only),
    Case(OURS, "BPTT()", ours.rule(lambda steps: rb.BPTT()), keeps_all=True),
    Case(OURS, "BPTT(chunk=1)", ours.rule(lambda steps: rb.BPTT(chunk=1)), keeps_all=True),
    Case(OURS, "BPTT(checkpoint=True)", ours.rule(lambda steps: rb.BPTT(checkpoint=True)), keeps_all=True),
    Case(OURS, "SLTT()", ours.rule(lambda steps: rb.SLTT())),
    Case(OURS, "SLTT(chunk=auto)", ours.rule(lambda steps: rb.SLTT(chunk="auto"))),
    Case(OURS, "SLTT(steps=1)", ours.rule(lambda steps: rb.SLTT(steps=1))),
    Case(OURS, "OTTT()", ours.rule(lambda steps: rb.OTTT())),
    Case(OURS, "OTTT(chunk=auto)", ours.rule(lambda steps: rb.OTTT(chunk="auto"))),
    Case(OURS, "RateBP()", ours.rule(lambda steps: rb.RateBP())),
    Case(OURS, "RateBP(chunk=auto)", ours.rule(lambda steps: rb.RateBP(chunk="auto"))),
    Case(OURS, "STLLR(last=T/4)", ours.rule(lambda steps: rb.STLLR(last=max(1, steps // 4)))),
    Case(OURS, "STLLR()", ours.rule(lambda steps: rb.STLLR())),
    Case(OURS, "STLLR(chunk=auto)", ours.rule(lambda steps: rb.STLLR(chunk="auto"))),
    Case(OURS, "run", ours.run),
    Case(OURS, "forward under BPTT(chunk=1)", ours.forward_under(lambda steps: rb.BPTT(chunk=1)), keeps_all=True),
    Case(OURS, "forward under SLTT()", ours.forward_under(lambda steps: rb.SLTT()), short=True),
    Case(OURS, "forward under SLTT(steps=1)", ours.forward_under(lambda steps: rb.SLTT(steps=1)), short=True),
    Case(OURS, "forward under OTTT()", ours.forward_under(lambda steps: rb.OTTT()), short=True),
    Case(OURS, "forward under RateBP()", ours.forward_under(lambda steps: rb.RateBP()), short=True),
    Case(OURS, "forward under STLLR()", ours.forward_under(lambda steps: rb.STLLR()), short=True),
    Case(OURS, "BPTT(), static image", ours.rule(lambda steps: rb.BPTT(), static=True), keeps_all=True, only=RESNET),
    Case(OURS, "SLTT(), static image", ours.rule(lambda steps: rb.SLTT(), static=True), only=RESNET),
    Case(OURS, "SLTT(steps=1), static image", ours.rule(lambda steps: rb.SLTT(steps=1), static=True), only=RESNET),
    Case(OURS, "RateBP(), static image", ours.rule(lambda steps: rb.RateBP(), static=True), only=RESNET),
)

REFERENCES = (f"{JELLY}/BPTT, single-step", f"{JELLY}/BPTT, multi-step")
PLAIN_REFERENCES = (f"{PLAIN}/BPTT, loop", f"{PLAIN}/BPTT, layer by layer")


def case_of(key: str) -> Case:
    return next(case for case in CASES if case.key == key)


def chosen(patterns: list[str] | None) -> list[Case]:
    """The cases whose key "library/name" matches any of the shell patterns, letter case aside; all for None.

    Raises ValueError for a pattern that matches none.
    """
    if not patterns:
        return list(CASES)

    def fits(case: Case, pattern: str) -> bool:
        return fnmatch(case.key.lower(), pattern.lower())

    for pattern in patterns:
        if not any(fits(case, pattern) for case in CASES):
            known = "\n  ".join(case.key for case in CASES)
            raise ValueError(f"No case matches {pattern!r}. Known are\n  {known}")
    return [case for case in CASES if any(fits(case, pattern) for pattern in patterns)]

"""Spatial learning through time."""

from dataclasses import dataclass

from rheobase.chunks import Chunk
from rheobase.rules.eligibility import Instantaneous
from rheobase.rules.online import NamedOnline, Online, Scale, checked_scale
from rheobase.rules.schedules import EveryStep, GivenSteps, RandomSteps, Schedule


@dataclass(frozen=True)
class SLTT(NamedOnline):
    """Spatial learning through time: backpropagation with every temporal path cut.

        delta^l[t] = W^{l+1,T} (delta^{l+1}[t] slope^{l+1}[t]),  grad W^l = sum_t (delta^l[t] slope^l[t])^T x^l[t]

    steps: SLTT-K, learn at K random steps of each sequence; None for all.
    at: learn at these steps, counted from 0, instead.
    scale: "mean" is the gradient of the mean loss over the learning steps; "paper" divides by T also when K steps
        learn, so that the gradient shrinks with K / T, as in the authors' code.
    chunk: steps computed together, the same gradient; "auto" or a memory size as in `BPTT`.

    Memory: one step. Time: T forward, one backward per learning step.
    Equals: TruncatedBPTT(1), OTTT(trace_decay=0), BPTT at T = 1.
    Meng et al., ICCV 2023, arXiv 2302.14311.
    """

    steps: int | None = None
    at: tuple[int, ...] | None = None
    scale: Scale = "mean"
    chunk: Chunk = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.at is not None:
            raise ValueError(f"Give steps or at, not both: got steps={self.steps} and at={self.at}.")
        if self.at is not None:
            object.__setattr__(self, "at", tuple(self.at))
        checked_scale(self.scale)
        self.online  # noqa: B018 (checks the rest)

    @property
    def online(self) -> Online:
        schedule: Schedule = EveryStep()
        if self.at is not None:
            schedule = GivenSteps(self.at)
        elif self.steps is not None:
            schedule = RandomSteps(self.steps)
        return Online(
            Instantaneous(),
            schedule=schedule,
            average="learning" if self.scale == "mean" else "all",
            chunk=self.chunk,
        )

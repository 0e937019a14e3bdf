"""Threshold and reset, common to all neurons that spike."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rheobase.surrogates import Surrogate, spike, surrogate_named

Reset = Literal["subtract", "zero"]


@dataclass(frozen=True)
class Firing:
    """spikes = 1[potential >= threshold], then the reset.

    reset "subtract" (soft): potential - threshold * spikes.
    reset "zero" (hard): (1 - spikes) * potential + spikes * reset_value.

    detach_reset: no gradient flows through the spikes of the reset.
    """

    threshold: float
    reset: Reset
    reset_value: float
    detach_reset: bool
    surrogate: Surrogate | str

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"Expected threshold > 0, got {self.threshold}.")
        if self.reset not in ("subtract", "zero"):
            raise ValueError(f'Expected reset "subtract" or "zero", got {self.reset!r}.')
        if self.reset == "subtract" and self.reset_value != 0:
            raise ValueError(
                f'reset_value={self.reset_value} has no effect with reset="subtract": use reset="zero" or leave it out.'
            )
        if self.reset_value >= self.threshold:
            raise ValueError(f"Expected reset_value < threshold, got {self.reset_value} >= {self.threshold}.")
        if isinstance(self.surrogate, str):
            object.__setattr__(self, "surrogate", surrogate_named(self.surrogate))
        if not isinstance(self.surrogate, Surrogate):
            raise TypeError(
                f'Expected a surrogate such as "sigmoid" or rheobase.Sigmoid(alpha=4.0), got {self.surrogate!r}.'
            )

    def __call__(self, potential: Tensor, threshold: Tensor | float | None = None) -> tuple[Tensor, Tensor]:
        """Spikes and the potential after the reset, both shaped like `potential`.

        threshold: replaces the fixed one (adaptive neurons).
        """
        threshold = self.threshold if threshold is None else threshold
        assert isinstance(self.surrogate, Surrogate)
        spikes = spike(potential - threshold, self.surrogate)
        reset = spikes.detach() if self.detach_reset else spikes
        if self.reset == "subtract":
            return spikes, potential - threshold * reset
        return spikes, potential - reset * (potential - self.reset_value)

    def __str__(self) -> str:
        value = f", reset_value={self.reset_value}" if self.reset_value else ""
        detached = ", detach_reset=True" if self.detach_reset else ""
        return f"threshold={self.threshold}, reset={self.reset!r}{value}{detached}, surrogate={self.surrogate}"

"""Holding a validation part out of the train part, and taking fewer samples than there are."""

from dataclasses import dataclass

from rheobase.datasets.sequences import Data, Sequences, stratified_order


@dataclass(frozen=True)
class Split:
    """How much of a data set is used, and for what.

    validation: the share of the published train part that is held out, between 0 and 1.
    seed: of the stratified choice of validation samples, and of what else the set draws.
    limit: train samples to keep; None keeps all. A smaller limit keeps the beginning of a larger one.
    evaluation_limit: the most samples to keep of validation and of test; None keeps all.
    """

    validation: float = 0.1
    seed: int = 0
    limit: int | None = None
    evaluation_limit: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ValueError(f"Expected a validation share between 0 and 1, got {self.validation}.")
        for name, limit in (("limit", self.limit), ("evaluation_limit", self.evaluation_limit)):
            if limit is not None and limit < 1:
                raise ValueError(f"Expected {name} of at least 1, or None for all, got {limit}.")

    def divide(self, name: str, train: Sequences, test: Sequences) -> Data:
        """The data set made of the published train and test parts; the test part only ever gets shorter.

        Raises ValueError where a part would be empty, or a limit asks for more than there is.
        """
        held_out = round(self.validation * len(train))
        rest = len(train) - held_out
        if not held_out or not rest:
            raise ValueError(
                f"A validation share of {self.validation} of {len(train)} train samples leaves an empty part."
            )
        if self.limit is not None and self.limit > rest:
            raise ValueError(f"Expected limit up to {rest}, the train samples of {name!r}, got {self.limit}.")
        if self.evaluation_limit is not None and self.evaluation_limit > max(held_out, len(test)):
            raise ValueError(
                f"Expected evaluation_limit up to {max(held_out, len(test))}, got {self.evaluation_limit}: "
                f"{name!r} has {held_out} validation and {len(test)} test samples."
            )
        order = stratified_order(train.targets, self.seed)
        kept = rest if self.limit is None else self.limit
        return Data(
            name,
            train=train.select(order[held_out : held_out + kept]),
            validation=train.select(order[:held_out][: self.evaluation_limit]),
            test=test if self.evaluation_limit is None else test.take(min(self.evaluation_limit, len(test))),
        )


WHOLE = Split()

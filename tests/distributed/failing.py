"""One of two processes that train together, of which the second fails at its third batch."""

import sys
from pathlib import Path

from rheobase.distributed import world
from rheobase.training import Experiment, Silent, fit


class Failing(Silent):
    """Progress that cannot be shown."""

    def batch(self, epoch: int, batch: int, loss: float, samples_per_second: float) -> None:
        if batch == 3:
            raise ArithmeticError("the second process cannot go on")


folder, experiment = Path(sys.argv[1]), Experiment.from_json(Path(sys.argv[2]).read_text())
with world("cpu") as here:
    fit(experiment, folder / str(here.rank), Failing() if here.rank == 1 else Silent(), world=here)
print("nobody failed")

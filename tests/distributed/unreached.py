"""One of two processes that train a net with parameters that gradients do not reach, and that are told to stop."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import rheobase as rb
from rheobase.distributed import World, world
from rheobase.models import MODELS
from rheobase.training import Experiment, Interrupted, fit, resume


class Partly(nn.Module):
    """A net with a parameter that is never used, one that the first process alone uses, and one whose gradient is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.neuron, self.readout = nn.Linear(64, 12), rb.LIF(0.5), nn.Linear(12, 10)
        self.unused, self.of_first, self.zero = (nn.Parameter(torch.ones(4)) for _ in range(3))
        self.seen, self.alarm = 0, -1

    def forward(self, x: Tensor) -> Tensor:
        self.seen += not self.training
        if self.seen == self.alarm:
            os.kill(os.getpid(), signal.SIGTERM)
        out: Tensor = self.readout(self.neuron(self.hidden(x.flatten(1)))) + 0 * self.zero.sum()
        return out + self.of_first.sum() if int(os.environ.get("RANK", "0")) == 0 else out


def partly(shape: object, classes: int, alarm: int = -1) -> Partly:
    """alarm: at which batch of evaluation the second process is told to stop."""
    made = Partly()
    made.alarm = alarm if os.environ.get("RANK") == "1" else -1
    return made


DATA = "digits(steps=1, limit=80, evaluation_limit=70)"  # 7 batches of evaluation: 4 for the first process


def experiment(alarm: int = -1) -> Experiment:
    return Experiment(
        data=DATA, model=f"partly(alarm={alarm})", rule="sltt", optimizer="adamw", weight_decay=0.5, epochs=2,
        batch_size=10, device="cpu",
    )  # fmt: skip


def stopped(folder: Path, here: World, alarm: int) -> dict[str, Tensor]:
    """The weights of a run that was stopped in its evaluation and went on."""
    try:
        fit(experiment(alarm), folder, world=here)
    except Interrupted as error:
        print(f"{here.rank} stopped at {alarm} with {error.exit_code}", flush=True)
    here.barrier()  # the first process has written
    os.environ["RANK"] = "0" if here.rank == 0 else "2"  # no alarm any more
    weights = dict(resume(folder, world=here).model.state_dict())
    os.environ["RANK"] = str(here.rank)
    return weights


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    MODELS["partly"] = partly
    with world("cpu") as here:
        found = {"whole": dict(fit(experiment(), world=here).model.state_dict())}
        for alarm in (3, 11):  # within the first evaluation, and within that of the test part
            found[f"stopped at {alarm}"] = stopped(folder / str(alarm), here, alarm)
    torch.save(found, folder / f"{here.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

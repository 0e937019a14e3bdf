"""Training in one process, or in several that torchrun starts: tutorial 6 runs it both ways."""

import sys
from pathlib import Path

import torch
from torch import nn

import rheobase as rb
from rheobase.distributed import parallel, synchronised, world


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Linear(64, 100), nn.BatchNorm1d(100), rb.LIF(decay=0.8)
    return nn.Sequential(*first, nn.Linear(100, 10)).double()


def train(epochs: int, weights: Path) -> None:
    """Trains on the digits; the first process writes the weights."""
    data = rb.datasets.load("digits")
    with world("cpu") as here:
        net = new_net()
        rule = rb.SLTT(chunk=8)  # the norms exchange their statistics of 8 steps at once
        learner = parallel(rb.Learner(synchronised(net), rule, rb.losses.cross_entropy), here)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        batches = data.train.batches(64, generator=torch.Generator().manual_seed(0), drop_last=True)
        for epoch in range(1, epochs + 1):
            for xs, target in batches:
                own = slice(here.rank, None, here.size)  # this process's share of the batch
                optimizer.zero_grad()
                result = learner(xs[:, own].double(), target[own])
                result.loss.backward()  # the gradients are averaged over the processes here
                optimizer.step()
            loss = here.sum(result.loss.detach()) / here.size
            if here.leads:
                print(f"{here.size} processes, epoch {epoch}: loss {float(loss):.4f}")
        if here.leads:
            torch.save(net.state_dict(), weights)


if __name__ == "__main__":
    train(int(sys.argv[1]), Path(sys.argv[2]))

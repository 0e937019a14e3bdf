"""One of two processes that wait for each other, of which the second is gone all at once."""

import os

import torch

from rheobase.distributed import world

with world("cpu") as here:
    for turn in range(1000):
        if here.rank == 1 and turn == 3:
            os._exit(7)
        here.sum(torch.ones(3))
    print("nobody died")

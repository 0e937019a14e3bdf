"""
6. Several processes
====================

Two processes train one network together, each on half of every batch, and come to the same weights as one process
alone. It runs on any laptop's CPU; on GPUs it is the same program. You need ``pip install 'rheobase[digits]'``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import rheobase as rb

# %%
# The problem
# -----------
#
# PyTorch's ``DistributedDataParallel`` averages gradients over processes while ``loss.backward()`` runs. An online
# rule runs a backward pass at each learning step, at moments that DistributedDataParallel knows nothing of.
#
# ``rb.Learner(model, rule, loss)`` is a module whose output is the loss of the whole sequence. The rule runs inside
# its ``forward``, whatever passes it needs; ``loss.backward()`` then hands each parameter its gradient once. To
# anything around it, it is a module like any other:

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(20, 30), rb.LIF(), torch.nn.Linear(30, 4))
xs, target = torch.rand(10, 8, 20), torch.randint(4, (8,))

rb.SLTT().backward(net, xs, target, loss=rb.losses.cross_entropy)
direct = [p.grad.clone() for p in net.parameters()]

net.zero_grad()
learner = rb.Learner(net, rb.SLTT(), rb.losses.cross_entropy)
learner(xs, target).loss.backward()
print("the same gradient:", all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), direct, strict=True)))

# %%
# The program
# -----------
#
# ``two_processes.py``, beside this tutorial, is a whole training loop. What it does for several processes is four
# words: ``world`` joins those that torchrun has started (and is one process without torchrun), ``synchronised`` makes
# the batch norms see the whole batch, ``parallel`` is DistributedDataParallel where there are several processes, and
# ``own`` is a process's share of a batch.
#
# .. literalinclude:: /tutorials/two_processes.py
#    :language: python
#
# Run it twice
# ------------
#
# Once as it is, once with torchrun, which starts two of it:

epochs = 3
room = tempfile.TemporaryDirectory()
alone, together = Path(room.name) / "alone.pt", Path(room.name) / "together.pt"


def started(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    print(done.stdout if done.returncode == 0 else done.stderr)


started("two_processes.py", str(epochs), str(alone))

# %%

torchrun = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"
started(*torchrun, "two_processes.py", str(epochs), str(together))

# %%
# In a shell that is ``torchrun --standalone --nproc-per-node 2 two_processes.py 3 weights.pt``.
#
# The same weights
# ----------------
#
# The program computes in float64, so that nothing hides behind rounding:

one, two = torch.load(alone), torch.load(together)
room.cleanup()
difference = max(float((one[name] - two[name]).abs().max()) for name in one)
print(f"largest difference between any two numbers of the state: {difference:.1e}")

# %%
# So a learning rate, a batch size or a paper's result need not be changed because of the number of processes. In
# float32 sums are rounded in another order, and a spike that comes or not by its last digit can move the weights
# further apart; then the accuracies agree as those of two seeds do.
#
# Without a loop of your own
# --------------------------
#
# .. code-block:: console
#
#    $ torchrun --standalone --nproc-per-node 2 -m rheobase train --data digits --rule sltt --device cpu
#
# Several machines, GPUs and sharded models: :doc:`/distributed`.

"""
1. A first network in ten minutes
=================================

We train a small spiking network to read handwritten digits, change how it learns by one word, and look at its spikes.
You need ``pip install 'rheobase[demo]'``, no data to download and no GPU.
"""

import torch
from torch import nn

import rheobase as rb
from rheobase import plots

# %%
# Data
# ----
#
# Scikit-learn brings 1797 real digits of 8 x 8 pixels. A static image becomes a sequence by being shown for ``steps``
# time steps. Time is always the first dimension: a batch is ``[T, N, ...]``.

data = rb.datasets.load("digits", steps=8)
xs, target = next(iter(data.train.batches(64)))
print("a batch:", list(xs.shape), "and its classes:", list(target.shape))

# %%
# The image is the same at each step, and so that nothing is computed or stored eight times, it is an expanded view.
# For a tensor of your own ``rb.constant(x, steps=8)`` does that.
#
# The network
# -----------
#
# An ordinary PyTorch module. The neurons are layers like others: `rb.LIF` is the leaky integrate-and-fire neuron,
#
# .. code-block:: text
#
#    potential = decay * potential + current
#    a spike where potential >= threshold, and then potential -= threshold
#
# There is no loop over time in the model and nothing to reset: the library keeps the state of neurons outside of it.
# The last layer has no neurons; its output is averaged over time.

hidden, decay = 100, 0.8


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, hidden), rb.LIF(decay=decay), nn.Linear(hidden, 10))


# %%
# Training
# --------
#
# A *rule* finds the gradient of a whole sequence. ``rule.backward`` fills ``.grad``, as ``loss.backward()`` would;
# everything else is the PyTorch loop that you know. The loss is that of one step's output; the rule applies it at
# each step and averages.

epochs = 12


def train(net: nn.Module, rule: rb.Rule) -> list[float]:
    """The accuracy on the validation part after each epoch."""
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    batches = data.train.batches(64, generator=torch.Generator().manual_seed(0))  # shuffled anew in each epoch
    scores = []
    for _ in range(epochs):
        for xs, target in batches:
            optimizer.zero_grad()
            rule.backward(net, xs, target, loss=rb.losses.cross_entropy)
            optimizer.step()
        scores.append(accuracy(net, data.validation))
    return scores


def accuracy(net: nn.Module, part: rb.datasets.Sequences) -> float:
    right = [(rb.run(net, xs).mean(0).argmax(1) == target).sum() for xs, target in part.batches(256)]
    return float(sum(right)) / len(part)


# %%
# ``rb.run`` is inference: outputs ``[T, N, 10]`` from rest, without autograd. Now train, with the simplest of the
# online rules. SLTT cuts every path of the gradient through time, so that it needs the memory of one step.

net = new_net()
scores = train(net, rb.SLTT())
print("validation:", " ".join(f"{score:.2f}" for score in scores))

# %%
# The test part had no say in any choice; it is looked at once, now.

test_accuracy = accuracy(net, data.test)
print(f"test accuracy {100 * test_accuracy:.1f} %")

# %%
# Change the rule by one word
# ---------------------------
#
# The network, the data and the loop know nothing of the rule. ``BPTT`` is exact backpropagation through time,
# ``OTTT`` replaces spikes by their traces, ``RateBP`` makes one backward pass through firing rates, and
# ``SLTT(steps=2)`` learns at two of the eight steps, drawn at random.

rules = {"SLTT, K = 2": rb.SLTT(steps=2), "OTTT": rb.OTTT(), "RateBP": rb.RateBP(), "BPTT": rb.BPTT()}
found = {"SLTT": test_accuracy}
for name, rule in rules.items():
    other = new_net()
    train(other, rule)
    found[name] = accuracy(other, data.test)

for name, score in found.items():
    print(f"{name:12} {100 * score:.1f} %")

# %%
# On a static image all of them are about as good: little is to be gained from time here. :doc:`04_own_rule` has a
# task where it matters, and :doc:`05_audit` shows how good each gradient is.
#
# See the spikes
# --------------
#
# Inside ``with rb.record(net) as record:`` the neurons are watched, and outputs stay the same bit for bit.
# ``record["1"]`` is the layer called "1", the second of the `nn.Sequential`.

xs, target = next(iter(data.test.batches(64)))
with rb.record(net) as record:
    outputs = rb.run(net, xs)

print("spikes:", list(record["1"].spikes.shape), record["1"].spikes.dtype)

# %%
# ``rheobase.plots`` draws it. A notebook shows the picture that is the value of a cell's last line; a script saves it
# with ``plots.save(figure, "raster.png")``.

plots.raster(record, sample=3)

# %%
# Each mark is a spike of one of the hidden neurons. Some fire at every step, many never for this digit. The
# potentials of two in between, with the threshold as a dashed line:

counts = record["1"].spikes[:, 3].sum(0)
plots.potentials(record, "1", [int((counts == 2).nonzero()[0]), int((counts == 5).nonzero()[0])], sample=3)

# %%
# And what is taken for what?

outputs = torch.cat([rb.run(net, xs) for xs, _ in data.test.batches(256)], 1)
plots.confusion(outputs, data.test.targets)

# %%
# The same without a line of Python
# ---------------------------------
#
# .. code-block:: console
#
#    $ rheobase train --rule sltt --data "digits(steps=8)" --model "mlp(hidden=[100])" --out runs/first
#    $ rheobase plot runs/first
#    $ rheobase compare bptt sltt ottt rate-bp
#
# What next: your data as any tensor ``[T, N, ...]``; events in :doc:`02_events`; the memory in
# :doc:`03_long_sequences`.

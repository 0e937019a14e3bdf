"""A learner whose gradients are those of all processes."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rheobase.distributed.world import World


def parallel(learner: nn.Module, world: World) -> nn.Module:
    """The learner, whose gradients are means over all processes after `loss.backward()`.

    learner: a `rheobase.learner.Learner`, so that they are reduced once, whatever number of passes its rule takes.

    All processes start with the weights of the first. Buffers, such as running statistics that are not synchronised,
    are those of the first at each call. One process gets its learner back.
    """
    return learner if world.size == 1 else DistributedDataParallel(learner)

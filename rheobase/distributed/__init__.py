"""Training in several processes: one for each GPU, or for each part of a CPU."""

from rheobase.distributed.parallel import parallel
from rheobase.distributed.world import World, device_named, world, world_of
from rheobase.synchronised import synchronised

__all__ = ["World", "device_named", "parallel", "synchronised", "world", "world_of"]

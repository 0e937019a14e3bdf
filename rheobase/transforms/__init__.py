"""Changes of batches `[T, N, C, H, W]`, on their device; one draw a sample, shared by its frames.

Adding one: a frozen dataclass in a file of its own, a line here, a test.
"""

from rheobase.transforms.autoaugment import AutoAugment
from rheobase.transforms.binarise import Binarise
from rheobase.transforms.cutout import Cutout
from rheobase.transforms.event_drop import EventDrop
from rheobase.transforms.event_flip import EventFlip
from rheobase.transforms.event_mix import EventMix
from rheobase.transforms.flip import Flip
from rheobase.transforms.normalise import Normalise
from rheobase.transforms.random_crop import RandomCrop
from rheobase.transforms.resize import Resize
from rheobase.transforms.roll import Roll
from rheobase.transforms.scale import Scale
from rheobase.transforms.torchtoolbox_cutout import TorchtoolboxCutout
from rheobase.transforms.transform import PixelTransform, Transform
from rheobase.transforms.two_channel_resize import TwoChannelResize

__all__ = [
    "AutoAugment",
    "Binarise",
    "Cutout",
    "EventDrop",
    "EventFlip",
    "EventMix",
    "Flip",
    "Normalise",
    "PixelTransform",
    "RandomCrop",
    "Resize",
    "Roll",
    "Scale",
    "TorchtoolboxCutout",
    "Transform",
    "TwoChannelResize",
]

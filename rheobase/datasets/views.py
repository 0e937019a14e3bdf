"""What part of a photograph is seen, at which size."""

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

TRIES = 10


class View(Protocol):
    """What of an image is seen."""

    @property
    def size(self) -> int:
        """Height and width, pixels."""

    def __call__(self, image: "Image", draws: random.Random) -> "Image":
        """The square of `size` pixels."""


@dataclass(frozen=True)
class Centre:
    """The middle square of `size` pixels of the image whose shorter side is scaled to size * 256 / 224."""

    size: int

    def __call__(self, image: "Image", draws: random.Random) -> "Image":
        from PIL.Image import Resampling

        shorter, scaled = min(image.size), round(self.size * 256 / 224)
        width, height = (scaled * side // shorter for side in image.size)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        whole = image.resize((width, height), Resampling.BILINEAR)
        return whole.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class RandomView:
    """A random part of the image, scaled to `size` pixels and mirrored half of the time.

    area: of the part, smallest and largest share of the image.
    aspect: its smallest and largest width / height, drawn evenly in the logarithm.

    Paper: Szegedy et al. 2015, arXiv:1409.4842, section 6. Where ten draws do not fit into the image, the middle
    with the nearest aspect, as others do.
    """

    size: int
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, image: "Image", draws: random.Random) -> "Image":
        from PIL.Image import Resampling, Transpose

        part = image.crop(self.box(image.size, draws))
        part = part.resize((self.size, self.size), Resampling.BILINEAR)
        return part.transpose(Transpose.FLIP_LEFT_RIGHT) if draws.random() < 0.5 else part

    def box(self, size: tuple[int, int], draws: random.Random) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the part, in pixels of an image of (width, height) `size`."""
        whole_width, whole_height = size
        low, high = (math.log(aspect) for aspect in self.aspect)
        for _ in range(TRIES):
            area = whole_width * whole_height * draws.uniform(*self.area)
            aspect = math.exp(draws.uniform(low, high))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= whole_width and 0 < height <= whole_height:
                left, top = draws.randint(0, whole_width - width), draws.randint(0, whole_height - height)
                return left, top, left + width, top + height
        width = min(whole_width, max(1, round(whole_height * self.aspect[1])))
        height = min(whole_height, max(1, round(whole_width / self.aspect[0])))
        left, top = (whole_width - width) // 2, (whole_height - height) // 2
        return left, top, left + width, top + height

"""A simulated event camera that looks at still images while it moves."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

LEVELS = 4096
BATCH = 64
CORNERS = ((-2.0, -3.0), (3.5, -1.0), (-2.0, 3.0))
MOVES = 3


@dataclass(frozen=True)
class Camera:
    """An event camera on N-MNIST's triangle of three saccades.

    A pixel remembers a reference level. Where log(floor + intensity) has risen above it by n whole
    thresholds it sends n events "brighter" and moves its reference up by as many, so that the rest is
    carried over; "darker" likewise. At first the references stand anywhere within half a threshold of their
    level; then the camera goes round once unrecorded (a position a bin), so that what is recorded does not
    show where it began. Noise events come on top, at random.

    size: sensor height and width, pixels.
    image_size: the side to which an image is scaled before it is centred on the sensor, pixels.
    threshold: contrast threshold, in units of log intensity.
    mismatch: relative spread of the threshold over pixels and channels; fixed in one camera.
    floor: what is added to an intensity in [0, 1] before the logarithm.
    noise_rate: noise events, Hz a pixel.
    bins_per_move: time bins in each of the three saccades.
    bin_seconds: length of a bin, s.
    substeps: positions of the camera computed in each bin.
    seed: of the mismatch, the first references and the noise.

    Paper: Orchard et al. 2015, doi:10.3389/fnins.2015.00437, for the saccades.
    """

    size: int = 34
    image_size: int = 28
    threshold: float = 0.27
    mismatch: float = 0.05
    floor: float = 0.3
    noise_rate: float = 0.5
    bins_per_move: int = 20
    bin_seconds: float = 0.005
    substeps: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.image_size, self.bins_per_move, self.substeps) < 1 or self.size < self.image_size:
            raise ValueError(f"Expected counts of at least 1 and image_size up to size, got {self}.")
        if min(self.threshold, self.floor, self.bin_seconds) <= 0 or min(self.mismatch, self.noise_rate) < 0:
            raise ValueError(f"Expected positive threshold, floor, bin_seconds and no negative rate, got {self}.")

    @property
    def bins(self) -> int:
        """Time bins of the whole path."""
        return MOVES * self.bins_per_move

    def thresholds(self) -> Tensor:
        """The threshold of every pixel, `[2, size, size]`: for brighter, for darker."""
        generator = torch.Generator().manual_seed(self.seed)
        spread = torch.randn(2, self.size, self.size, generator=generator, dtype=torch.float64)
        # in units of 2^-20, so that no rounding of a machine's random normal numbers is seen
        exact = (self.threshold * (1 + self.mismatch * spread)).clamp(min=self.threshold / 10)
        return (exact * 2**20).round().div(2**20).to(torch.float32)

    def levels(self) -> Tensor:
        """log(floor + intensity) at the intensities 0, 1 / LEVELS, ..., 1, `[LEVELS + 1]`."""
        exact = (math.log(self.floor + level / LEVELS) for level in range(LEVELS + 1))
        return torch.tensor([round(value * 2**20) / 2**20 for value in exact])


NMNIST = Camera()


def corners(order: Sequence[int]) -> list[tuple[float, float]]:
    """The four (y, x) positions, in pixels, between the triangle's three saccades made in this order.

    The path is closed, and its three corners keep the triangle's centroid: (0, 1, 2) is N-MNIST's path, its
    rotations start at another corner of the same triangle.
    """
    if sorted(order) != list(range(MOVES)):
        raise ValueError(f"Expected an order of the saccades 0, 1, 2, got {list(order)}.")
    path = [(0.0, 0.0)]
    for move in order:
        (y0, x0), (y1, x1) = CORNERS[move], CORNERS[(move + 1) % MOVES]
        path.append((path[-1][0] + y1 - y0, path[-1][1] + x1 - x0))
    lift = [sum(c[i] for c in CORNERS) / MOVES - sum(p[i] for p in path[:MOVES]) / MOVES for i in (0, 1)]
    return [(round(y + lift[0], 9), round(x + lift[1], 9)) for y, x in path]


def positions(camera: Camera, order: Sequence[int], substeps: int) -> Iterator[tuple[float, float]]:
    """The camera's (y, x) after each of `substeps` parts of a bin; saccades ease in and out as a cosine."""
    count = camera.bins_per_move * substeps
    for (y0, x0), (y1, x1) in pairwise(corners(order)):
        for k in range(1, count + 1):
            way = (1 - math.cos(math.pi * k / count)) / 2
            yield round(y0 + way * (y1 - y0), 6), round(x0 + way * (x1 - x0), 6)

"""Image files that are decoded when a batch wants them."""

import hashlib
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rheobase.datasets.samples import Samples
from rheobase.datasets.views import RandomView, View
from rheobase.explained import explained

MOST_THREADS = 16


@dataclass(frozen=True, eq=False)
class Photographs(Samples):
    """Images in files, `[M, 3, size, size]` of bytes, decoded in threads; grey, palette and CMYK ones become RGB.

    A random view draws from torch's own CPU generator, one number an image in the order of the batch, which seeds
    the draws of that image: after `torch.manual_seed` the same reads give the same pixels, however many threads,
    and a run that restores torch's state goes on as it would have.

    folder: what `names` are below.
    names: one path a sample, with forward slashes.
    view: what of an image is seen.
    threads: that decode; all processors, up to 16, by default.
    """

    folder: Path
    names: Sequence[str] = field(repr=False)
    view: View
    threads: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return len(self.names), 3, self.view.size, self.view.size

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return torch.uint8

    def read(self, indices: Tensor) -> Tensor:
        require_pillow()
        seeds = [0] * len(indices)
        if isinstance(self.view, RandomView):
            seeds = torch.randint(2**62, (len(indices),), dtype=torch.int64).tolist()
        paths = [self.folder / self.names[index] for index in indices.tolist()]
        workers = self.threads or min(os.cpu_count() or 1, MOST_THREADS)
        with ThreadPoolExecutor(workers) as pool:
            decoded = list(pool.map(lambda path, seed: decode(path, self.view, seed), paths, seeds))
        return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous()

    def digest(self) -> str:
        """Of the names and sizes of the files, not of their content: that is too much to read."""
        digest = hashlib.sha256(repr(self.view).encode())
        for name in self.names:
            digest.update(f"{name} {(self.folder / name).stat().st_size}\n".encode())
        return digest.hexdigest()


def decode(path: Path, view: View, seed: int) -> np.ndarray:
    """What `view` sees of the image in a file, `[size, size, 3]` of bytes. ValueError naming a damaged or deep one."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            mode, image = file.mode, file.convert("RGB")
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise explained(
            ValueError(f"{path}: the image is damaged ({error}). Unpack or fetch it again."), "data-files"
        ) from error
    if mode.startswith(("I", "F")):  # converted, all above 255 would be white
        raise ValueError(f"{path}: expected 8 bits a channel, got an image of Pillow's mode {mode!r}. Convert it.")
    return np.asarray(view(image, random.Random(seed)))


def require_pillow() -> None:
    """Raises ImportError saying what to install where Pillow is not."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise explained(
            ImportError("Image files are read by Pillow, which is not installed: `pip install 'rheobase[images]'`."),
            "extras",
        ) from error

"""Makes the pictures of some pages by the code that stands above them: python docs/pictures/make.py [NAME ...]"""

import re
import sys
from pathlib import Path

import torch
from PIL import Image

from rheobase import plots

DOCS = Path(__file__).parent.parent
PAGES = [DOCS / "pictures.md", DOCS / "explanation" / "surrogates.md"]


def main(chosen: list[str]) -> None:
    torch.set_num_threads(1)
    text = "".join(page.read_text() for page in PAGES)
    for code, name in re.findall(
        r"```python\n((?:(?!```).)*?)```\n\n!\[[^\n]*\]\((?:\.\./)?pictures/(\w+)\.png\)", text, re.S
    ):
        if chosen and name not in chosen:
            continue
        space = {"__name__": "example"}
        exec(compile(code, name, "exec"), space)
        path = plots.save(space["figure"], Path(__file__).parent / f"{name}.png", dpi=100)
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])

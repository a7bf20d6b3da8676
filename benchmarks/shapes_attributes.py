"""Which named attributes a run's images show, one by one: `python benchmarks/shapes_attributes.py RUN_FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bench.shapes.captions import ATTRIBUTES, parse
from bench.shapes.oracle import read
from bench.store.run_store import RunStore


def main(folder: Path) -> None:
    """Print the share of images that show an attribute as their prompt names it, with the number of images."""
    store = RunStore(folder)
    shown: dict[str, list[bool]] = {attribute: [] for attribute in ATTRIBUTES}
    for row in store.images():
        with Image.open(store.path / row.path) as image:
            reading = read(np.asarray(image.convert("RGB")))
        for attribute, value in parse(row.prompt).items():
            shown[attribute].append(reading.attribute(attribute) == value)
    for attribute, hits in shown.items():
        print(f"{attribute:10} {np.mean(hits):.3f} of {len(hits)}" if hits else f"{attribute:10} never named")
    both = shown["shape"] + shown["colour"]
    print(f"shape and colour {np.mean(both):.3f} of {len(both)}; all {np.mean(np.concatenate([*shown.values()])):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

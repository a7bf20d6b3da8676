"""`bench reference make`: statistics of one's own reference images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption
from bench.errors import unknown


def reference(
    action: Annotated[str, typer.Argument(metavar="make", help="What to do; make is the only one.")],
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder, a .zip, or datasets:OWNER/NAME.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="File to write.")],
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="Set metric whose statistics are made.")
    ] = "fid",
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME|FILE.toml", help="Suite that names the metric's weights.")
    ] = "images",
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Split of a dataset.")] = None,
    column: Annotated[str | None, typer.Option("--column", metavar="NAME", help="Image column of a dataset.")] = None,
    device: DeviceOption = "auto",
) -> int:
    """Compute reference statistics once.

    `bench reference make IMAGES --out FILE.npz` writes what --reference FILE.npz, or path in a suite's [reference],
    reads in place of the images.
    """
    import bench
    from bench.cli.output import say

    if action != "make":
        raise unknown("action", action, ["make"])
    path = bench.make_reference(images, metric, out, suite=suite, split=split, column=column, device=device)
    say(f"wrote {path}")
    return 0

"""`bench agreement --votes FILE`: metrics against a table of human votes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, MetricsOption, ResultsOption, split


def agreement(
    votes: Annotated[
        Path,
        typer.Option(
            "--votes",
            metavar="FILE",
            help="Human votes on pairs of images or of sets: of Pick-a-Pic or HPDv2, or rows of prompt, a, b, choice.",
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Folder of the images that the votes name. [default: the folder of the votes, or the images in it]",
        ),
    ] = None,
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="NAME|FILE.toml", help="Suite that says with which weights metrics score."),
    ] = "images",
    metrics: MetricsOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Hold metrics against human votes.

    How often each metric prefers what people prefer, with intervals, and which metrics are surely right more often than
    others. Votes on sets of images tell which measure of diversity people agree with.
    """
    import bench
    from bench.cli.output import say
    from bench.cli.progress import watching

    with watching() as progress:
        found = bench.agreement(
            votes,
            images=images,
            suite=suite,
            metrics=split(metrics) or None,
            device=device,
            results=results,
            progress=progress,
        )
    say(json.dumps(found.data, indent=1, ensure_ascii=False) if as_json else found.text)
    if found.failed is not None:
        raise found.failed
    return 0

"""`bench score`: score runs again, or images from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, MetricsOption, ResultsOption, RunsArgument, split


def score(
    runs: RunsArgument = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take images from here: DIR/<prompt_id>/<sample>.png.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(metavar="SET|FILE", help="The prompts of these images.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the run of these images is called.")] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="NAME|FILE.toml", help="Score as this suite says. [default: each run's own]"),
    ] = None,
    metrics: MetricsOption = None,
    device: DeviceOption = "auto",
    results: ResultsOption = Path("results"),
) -> int:
    """Score runs again, or images from anywhere.

    Generates nothing. DIR/<prompt_id>/<sample>.png become a run of their own with --images, --prompts and --name.
    """
    import bench
    from bench.cli.output import show_runs
    from bench.cli.progress import watching

    with watching() as progress:
        stores = bench.score(
            runs or None,
            suite=suite,
            images=images,
            prompts=prompts,
            name=name,
            metrics=split(metrics) or None,
            results=results,
            device=device,
            progress=progress,
        )
    show_runs(stores)
    return 0

"""`bench score`: score runs again, or images from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    DeviceOption,
    MetricsOption,
    ProtocolOption,
    ResultsOption,
    RunsArgument,
    VerifyOption,
    split,
)


def score(
    runs: RunsArgument = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the images DIR/PROMPT_ID/SAMPLE.png.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(metavar="SET|FILE", help="Prompt set or file of these images.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the run made of these images.")] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", metavar="NAME|FILE.toml", help="Suite that defines the scoring. [default: each run's own]"
        ),
    ] = None,
    metrics: MetricsOption = None,
    protocol: ProtocolOption = "corrected",
    device: DeviceOption = "auto",
    verify: VerifyOption = False,
    results: ResultsOption = Path("results"),
) -> int:
    """Score existing runs, or images from any source.

    Generates nothing. With --images, --prompts and --name, the images of a folder become a run of their own.
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
            protocol=protocol,
            results=results,
            device=device,
            verify=verify,
            progress=progress,
        )
    show_runs(stores)
    return 0

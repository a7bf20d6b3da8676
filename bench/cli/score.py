"""`bench score`: score runs again, or images from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, MetricsOption, ResultsOption, RunsArgument, SuiteOption, split


def score(
    runs: RunsArgument = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take images from here: DIR/<prompt_id>/<sample>.png.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(metavar="SET|FILE", help="The prompts of these images.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the run of these images is called.")] = None,
    suite: SuiteOption = "shapes",
    metrics: MetricsOption = None,
    device: DeviceOption = "auto",
    results: ResultsOption = Path("results"),
) -> int:
    """Score runs again, or images from anywhere.

    Generates nothing. DIR/<prompt_id>/<sample>.png become a run of their own with --images, --prompts and --name.
    """
    from bench.cli.output import show_runs
    from bench.cli.progress import watching

    source = {"--images": images, "--prompts": prompts, "--name": name}
    absent = [option for option, value in source.items() if value is None]
    _check_source(bool(runs), absent, len(source))
    wanted = split(metrics) or None
    with watching() as progress:
        if images is not None and name is not None:
            from bench.pipeline.rescore import adopt
            from bench.suite.load import load_suite

            chosen = load_suite(suite).override(prompts=prompts, metrics=wanted)
            stores = adopt(images, chosen, name, results=results, device=device, progress=progress)
        else:
            from bench.pipeline.rescore import rescore
            from bench.store.select import select

            paths = select(runs or [], results)
            stores = rescore(paths, metrics=wanted, device=device, progress=progress)
    show_runs(stores)
    return 0


def _check_source(runs: bool, absent: list[str], of: int) -> None:
    from bench.errors import UsageError

    if runs and len(absent) < of:
        raise UsageError("give either runs, or --images, --prompts and --name, not both.")
    if not runs and len(absent) == of:
        raise UsageError("nothing to score: name runs, or give --images, --prompts and --name.")
    if not runs and absent:
        raise UsageError(f"images from elsewhere also need {' and '.join(absent)}.")

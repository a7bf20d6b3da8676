"""`bench run`: generate what is missing, score it, print the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    RESUME,
    DeviceOption,
    MetricsOption,
    ResultsOption,
    Resume,
    SuiteOption,
    parse_settings,
    split,
)


def run(
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            metavar="NAME",
            help="Method to run (see 'bench list methods'); may be repeated or comma-separated.",
        ),
    ],
    suite: SuiteOption = "shapes",
    prompts: Annotated[
        str | None, typer.Option(metavar="SET|FILE", help="Prompt set or file. [default: the suite's]")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="K", help="Images per prompt. [default: the suite's]")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Use only the first N prompts.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Random seed. [default: the suite's]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Setting of the methods; several values are a sweep: switch_step=20,30."
        ),
    ] = None,
    metrics: MetricsOption = None,
    device: DeviceOption = "auto",
    engine: Annotated[str, typer.Option(metavar="local", help="Where the work runs.")] = "local",
    resume: Annotated[
        Resume,
        typer.Option(
            metavar=RESUME, help="missing, always: generate only what is missing; never: regenerate everything."
        ),
    ] = (Resume.MISSING),
    until: Annotated[
        str | None,
        typer.Option(metavar="METRIC=SIZE|decided", help="Make prompts only until differences are known, or decided."),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --until decided: the lines that have to be decided.")
    ] = None,
    max_prompts: Annotated[
        int | None, typer.Option("--max-prompts", metavar="N", help="With --until: at most so many prompts.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be made, fetched and told (as 'bench plan').")
    ] = False,
    results: ResultsOption = Path("results"),
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Floating-point type. [default: the suite's]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Images per batch. [default: found from the device's memory]")
    ] = None,
    compile_networks: Annotated[
        bool, typer.Option("--compile", help="Compile the networks with torch.compile (faster in long runs).")
    ] = False,
) -> int:
    """Generate missing images, score them and print the table.

    Methods in one call share the denoising steps that they have in common.
    """
    import bench
    from bench.cli.output import show_runs
    from bench.cli.progress import watching
    from bench.pipeline.plan_text import plan_text

    if dry_run:
        found = bench.plan(
            suite,
            split(method),
            settings=parse_settings(settings),
            prompts=prompts,
            samples=samples,
            limit=limit,
            seed=seed,
            metrics=split(metrics) or None,
            dtype=dtype,
            results=results,
        )
        typer.echo(plan_text(found).rstrip())
        return 0
    with watching() as progress:
        stores = bench.run(
            suite,
            split(method),
            settings=parse_settings(settings),
            prompts=prompts,
            samples=samples,
            limit=limit,
            seed=seed,
            metrics=split(metrics) or None,
            dtype=dtype,
            results=results,
            resume=resume.value,
            device=device,
            engine=engine,
            batch_size=batch_size,
            compile=compile_networks,
            until=until,
            thresholds=thresholds,
            max_prompts=max_prompts,
            progress=progress,
        )
    show_runs(stores)
    return 0

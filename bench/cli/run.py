"""`bench run`: generate what is missing, score it, print the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import (
    RESUME,
    AddressOption,
    CompileOption,
    DeviceOption,
    DtypeOption,
    EngineOption,
    FuseOption,
    GpusOption,
    LimitOption,
    MethodOption,
    MethodSettingsOption,
    MetricsOption,
    PromptColumnOption,
    PromptsOption,
    ProtocolOption,
    ReplicatesOption,
    ResultsOption,
    Resume,
    SamplesOption,
    SeedOption,
    ShardOption,
    SuiteOption,
    TrackOption,
    WorkersOption,
    parse_settings,
    split,
)

ResumeOption = Annotated[
    Resume,
    typer.Option(
        "--resume",
        metavar=RESUME,
        help="missing, always: generate only what is missing; never: regenerate everything.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="METRIC=SIZE|decided", help="Make prompts only until differences are known, or decided."
    ),
]
ThresholdsOption = Annotated[
    Path | None,
    typer.Option("--thresholds", metavar="FILE", help="With --until decided: the lines that have to be decided."),
]
MaxPromptsOption = Annotated[
    int | None, typer.Option("--max-prompts", metavar="N", help="With --until: at most so many prompts.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be made, fetched and told (as 'bench plan').")
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the run, by which it is found; for one method at a time."),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", metavar="N", help="Images per batch. [default: found from the device's memory]"),
]


def run(
    method: MethodOption,
    suite: SuiteOption = "shapes",
    prompts: PromptsOption = None,
    prompt_column: PromptColumnOption = None,
    samples: SamplesOption = None,
    limit: LimitOption = None,
    seed: SeedOption = None,
    settings: MethodSettingsOption = None,
    replicates: ReplicatesOption = False,
    metrics: MetricsOption = None,
    protocol: ProtocolOption = "corrected",
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus_per_worker: GpusOption = None,
    shard: ShardOption = None,
    resume: ResumeOption = Resume.MISSING,
    until: UntilOption = None,
    thresholds: ThresholdsOption = None,
    max_prompts: MaxPromptsOption = None,
    name: NameOption = None,
    dry_run: DryRunOption = False,
    results: ResultsOption = Path("results"),
    dtype: DtypeOption = None,
    batch_size: BatchSizeOption = None,
    compile_networks: CompileOption = False,
    fuse_lora: FuseOption = False,
    track: TrackOption = None,
) -> int:
    """Generate missing images, score them and print the table.

    Methods in one call share the denoising steps that they have in common.
    """
    import bench
    from bench.cli.output import check_track, show_runs, showing_the_others, track_runs
    from bench.cli.progress import watching
    from bench.pipeline.plan_text import plan_text

    what: dict[str, Any] = {"settings": parse_settings(settings), "metrics": split(metrics) or None}
    what |= {"prompts": prompts, "prompt_column": prompt_column}
    what |= {"samples": samples, "limit": limit, "seed": seed, "dtype": dtype, "results": results}
    what |= {"protocol": protocol, "replicates": replicates}
    what |= {"compile": compile_networks, "fuse_lora": fuse_lora}
    if dry_run:
        typer.echo(plan_text(bench.plan(suite, split(method), **what)).rstrip())
        return 0
    how: dict[str, Any] = {"resume": resume.value, "device": device, "engine": engine}
    how |= {"workers": workers, "address": address, "gpus_per_worker": gpus_per_worker, "shard": shard}
    how |= {"batch_size": batch_size, "name": name}
    how |= {"until": until, "thresholds": thresholds, "max_prompts": max_prompts}
    check_track(track)
    with showing_the_others(), watching() as progress:
        stores = bench.run(suite, split(method), **what, **how, progress=progress)
    if stores:  # none of a shard that is not the last
        show_runs(stores, summarised=True)
        track_runs(stores, track)
    return 0

"""`bench score`: score runs again, or images from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    AddressOption,
    DeviceOption,
    EngineOption,
    GpusOption,
    MetricsOption,
    PromptColumnOption,
    ProtocolOption,
    ResultsOption,
    RunsArgument,
    ShardOption,
    TrackOption,
    VerifyOption,
    WorkersOption,
    split,
)
from bench.generation.layouts import LAYOUTS


def score(
    runs: RunsArgument = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the images in this folder, DIR/PROMPT_ID/SAMPLE.png.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(metavar="SET|FILE", help="Prompt set or file of these images.")] = None,
    prompt_column: PromptColumnOption = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How the files name prompts and samples: {', '.join(LAYOUTS)}. [default: found from the names]",
        ),
    ] = None,
    allow_lossy: Annotated[
        bool, typer.Option("--allow-lossy", help="Also take JPEG, WebP and AVIF images; every value notes it.")
    ] = False,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="What set metrics compare with: a folder, .zip, .npz, or datasets:OWNER/NAME. [default: the suite's]",
        ),
    ] = None,
    reference_network: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Metric whose network made mu and sigma of the --reference FILE.npz."),
    ] = None,
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
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus_per_worker: GpusOption = None,
    shard: ShardOption = None,
    verify: VerifyOption = False,
    track: TrackOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Score existing runs, or images from any source.

    Generates nothing. With --images, --suite, --prompts and --name, the images of a folder become a run of their own.
    Without --prompts, --metrics fid --reference DIR compares two folders of images.
    """
    import bench
    from bench.cli.output import check_track, show_runs, showing_the_others, track_runs
    from bench.cli.progress import watching

    check_track(track)
    with showing_the_others(), watching() as progress:
        stores = bench.score(
            runs or None,
            suite=suite,
            images=images,
            prompts=prompts,
            prompt_column=prompt_column,
            layout=layout,
            allow_lossy=allow_lossy,
            reference=reference,
            reference_network=reference_network,
            name=name,
            metrics=split(metrics) or None,
            protocol=protocol,
            results=results,
            device=device,
            engine=engine,
            workers=workers,
            address=address,
            gpus_per_worker=gpus_per_worker,
            shard=shard,
            verify=verify,
            progress=progress,
        )
    if stores:  # none of a shard that is not the last
        show_runs(stores)
        track_runs(stores, track)
    return 0

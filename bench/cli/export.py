"""`bench export hf|croissant`: results for a model's repository on the hub, images as a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import OnlySuiteOption, ResultsOption


def export_hf(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of one model, by id, --name or method.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the model's repository; its README.md is kept.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="OWNER/NAME",
            help="The benchmark's repository on the hub, with a task per metric: also write .eval_results/*.yaml.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", metavar="COMMIT", help="Commit of --dataset.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Name of the model. [default: the folder's]")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", metavar="URL", help="Page of the report.")] = None,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Write results for a model's page on the hub.

    README.md gets a model-index in its metadata; its text and other results in it stay. With --dataset, each run also
    has a file in .eval_results/. Nothing is uploaded.
    """
    import bench
    from bench.cli.output import say

    written = bench.export_hub_results(
        runs, out, dataset=dataset, revision=revision, model=model, source=source, results=results, suite=suite
    )
    for path in written:
        say(f"wrote {path}")
    return 0


def export_croissant(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run by id, --name or method.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the images and their files.")],
    licence: Annotated[
        str | None, typer.Option("--license", metavar="SPDX|URL", help="Licence of the images, such as CC-BY-4.0.")
    ] = None,
    creator: Annotated[str | None, typer.Option("--creator", metavar="NAME", help="Who publishes them.")] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Page of the data set.")] = None,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Copy a run's images with a Croissant description.

    The folder holds images/, images.jsonl with a line per image, and croissant.json. Nothing is uploaded.
    """
    import bench
    from bench.cli.output import say

    for path in bench.export_croissant(
        run, out, licence=licence, creator=creator, url=url, results=results, suite=suite
    ):
        say(f"wrote {path}")
    return 0


EXPORT: dict[str, Callable[..., int]] = {"hf": export_hf, "croissant": export_croissant}

"""`bench watch`: evaluate each new checkpoint of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, SuiteOption
from bench.errors import MissingError, UsageError

FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Folder of numbered checkpoints (checkpoint-500, ...), or the --out of `bench train`."
    ),
]
MethodOption = Annotated[
    str,
    typer.Option("--method", metavar="NAME", help="Method that samples a checkpoint: refl, draft, imagerefl or base."),
]
QualityOption = Annotated[
    str | None, typer.Option("--quality", metavar="METRIC", help="Image metric to plot. [default: the suite's first]")
]
DiversityOption = Annotated[
    str | None, typer.Option("--diversity", metavar="METRIC", help="Group metric to plot. [default: the suite's first]")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="Stop after this long without a new checkpoint."),
]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", metavar="DIR", help="Results folder of the evaluations. [default: DIR.eval]")
]


def watch(
    folder: FolderArgument,
    suite: SuiteOption = "shapes",
    method: MethodOption = "refl",
    quality: QualityOption = None,
    diversity: DiversityOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=2, help="Number of prompts per evaluation.")] = 16,
    once: Annotated[bool, typer.Option("--once", help="Evaluate the existing checkpoints and stop.")] = False,
    timeout: TimeoutOption = None,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Time between two checks of the folder.")
    ] = 15.0,
    results: ResultsOption = None,
    device: DeviceOption = "auto",
) -> int:
    """Evaluate each new checkpoint of a training run.

    Reports where the path of the checkpoints through quality and diversity bends. Stops with --once, after --timeout,
    when `bench train` has finished, or at Ctrl-C; the same command resumes.
    """
    from bench.cli.progress import watching
    from bench.pipeline.trajectory import checkpoint_evaluator
    from bench.pipeline.watch import Course
    from bench.pipeline.watch import watch as run_watch
    from bench.store.object_store import refuse_store
    from bench.suite.load import load_suite

    for given in filter(None, (folder, results)):
        refuse_store(given)
    if not folder.parent.is_dir():
        raise UsageError(f"folder {folder.parent} does not exist")
    where = results or folder.with_name(f"{folder.name}.eval")
    course = Course.of(load_suite(suite), quality, diversity)
    with watching() as progress:
        evaluate = checkpoint_evaluator(suite, where, method=method, limit=limit, device=device, progress=progress)
        failed = run_watch(folder, course, evaluate, typer.echo, once=once, timeout=timeout, interval=interval)
    typer.echo(f"the path of the training: bench report --results {where}")
    if failed:
        raise MissingError(f"the checkpoints after {', '.join(map(str, failed))} updates could not be evaluated")
    return 0

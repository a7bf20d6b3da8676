"""`bench study ...`: people's judgement of finished runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import ResultsOption
from bench.cli.study_report import study_report
from bench.errors import UsageError, system_reason

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the study, as 'bench study make' wrote it.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="postgresql://...",
        envvar="BENCH_STUDY_DATABASE",
        show_envvar=False,
        help="PostgreSQL database of the votes. [default: as the study's folder says, else its study.db]",
    ),
]


def make(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN...", help="Two or more run folders, or names in the results folder."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to create.")],
    task: Annotated[
        str,
        typer.Option("--task", metavar="TASK", help="preference, diversity, alignment, both (the first two) or all."),
    ] = "preference",
    per_rater: Annotated[
        int, typer.Option("--per-rater", metavar="N", help="Items of a rater, beside practice, checks and repeats.")
    ] = 30,
    votes: Annotated[int, typer.Option("--votes", metavar="V", help="Votes of each item.")] = 3,
    raters: Annotated[
        int | None, typer.Option("--raters", metavar="N", help="Number of links. [default: as many as the votes need]")
    ] = None,
    prompts: Annotated[
        int | None, typer.Option("--prompts", metavar="N", help="Number of prompts, drawn at random. [default: all]")
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option("--adaptive", help="Spend the votes on pairs of methods that are undecided."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="S", help="Random seed; raters must not know it. [default: drawn, and recorded]"
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option("--question", metavar="TASK=TEXT", help="Another text for the question of a task; repeatable."),
    ] = None,
    consent: Annotated[
        Path | None, typer.Option("--consent", metavar="FILE", help="Text file with the consent text to show.")
    ] = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Make a study of finished runs.

    Copies of their pictures that name no method, and a balanced plan of who is asked what.
    """
    from bench.cli.progress import watching
    from bench.study import make as made

    with watching() as bar:
        study = made(
            runs,
            out,
            task=task,
            per_rater=per_rater,
            votes=votes,
            raters=raters,
            prompts=prompts,
            adaptive=adaptive,
            seed=seed,
            questions=_pairs(question),
            consent=None if consent is None else _text(consent),
            results=results,
            progress=bar,
        )
    real = sum(item.kind == "real" for item in study.items.values())
    typer.echo(f"study: {study.folder}")
    typer.echo(f"  {real} items, {len(study.plan)} raters, {study.total(next(iter(study.plan)))} answers each")
    typer.echo(f"  people: bench study serve {study.folder}, or bench study export {study.folder}")
    return 0


def serve(
    folder: FolderArgument,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Address to listen on; 0.0.0.0 is reachable from outside.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Port; 0 takes a free one.")] = 8000,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Address that raters reach the server by, for all links."),
    ] = None,
    database: DatabaseOption = None,
) -> int:
    """Serve a study to raters until Ctrl-C."""
    from bench.study import serve as run

    run(folder, host=host, port=port, url=url, database=database, told=lambda line: print(line, flush=True))
    return 0


def simulate(
    folder: FolderArgument,
    raters: Annotated[
        int | None, typer.Option("--raters", metavar="N", help="Number of raters who answer. [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Random seed of the raters.")] = 0,
    ties: Annotated[
        float, typer.Option("--ties", metavar="W", help="Weight of a tie: at equal worth its chance is W / (2 + W).")
    ] = 0.6,
    lapse: Annotated[
        float, typer.Option("--lapse", metavar="SHARE", help="Share of answers given without looking.")
    ] = 0.02,
    position_bias: Annotated[
        float, typer.Option("--position-bias", metavar="B", help="Added to the log odds of the left side.")
    ] = 0.0,
    spammers: Annotated[
        float, typer.Option("--spammers", metavar="SHARE", help="Share of raters who never look.")
    ] = 0.0,
    database: DatabaseOption = None,
) -> int:
    """Let simulated raters answer a study.

    Annotators of the embedded world (suite shapes) answer through the study's own server.
    """
    from bench.cli.progress import watching
    from bench.study import simulate as run

    with watching() as bar:
        done = run(
            folder,
            raters=raters,
            seed=seed,
            ties=ties,
            lapse=lapse,
            position_bias=position_bias,
            spammers=spammers,
            database=database,
            progress=bar,
        )
    typer.echo(f"{done.votes} answers of {done.raters} simulated raters stored in {done.seconds:.1f} s")
    return 0


def forget(
    folder: FolderArgument,
    rater: Annotated[
        str,
        typer.Argument(metavar="RATER", help="Rater, by name (also one of an imported file), link or completion code."),
    ],
    database: DatabaseOption = None,
) -> int:
    """Remove all answers of a rater."""
    from bench.formatting import counted
    from bench.study import forget as run

    typer.echo(f"{counted(run(folder, rater, database=database), 'answer')} removed; the link is closed")
    return 0


def export(
    folder: FolderArgument,
    kind: Annotated[
        str, typer.Option("--to", metavar="KIND", help="bundle, prolific, mturk or label-studio.")
    ] = "bundle",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="File to write (bundle: folder). [default: in the study's folder]"),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Address that raters reach the server by, for links.")
    ] = None,
    raters: Annotated[
        int | None, typer.Option("--raters", metavar="N", help="Only the first N raters. [default: all]")
    ] = None,
    database: DatabaseOption = None,
) -> int:
    """Write a study for use elsewhere.

    bundle: an HTML file a rater, which needs no server; prolific, mturk: a CSV of links with completion codes;
    label-studio: pairwise tasks.
    """
    from bench.study import export as run

    names = {"bundle": "bundles", "label-studio": "label-studio.json"}
    for path in run(
        folder, kind, out or folder / names.get(kind, f"{kind}.csv"), url=url, raters=raters, database=database
    ):
        typer.echo(path)
    return 0


def import_answers(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Answers: JSON, CSV, TSV or parquet.")],
    database: DatabaseOption = None,
) -> int:
    """Take in answers that were given elsewhere.

    Answers of a bundle, exports of Label Studio, tables like Pick-a-Pic's, plain CSV files, or a platform's completion
    codes. What is there already or unknown is counted and told.
    """
    from bench.study import import_answers as run

    for line in run(folder, file, database=database).lines():
        typer.echo(line)
    return 0


STUDY: dict[str, Callable[..., int]] = {
    "make": make,
    "serve": serve,
    "simulate": simulate,
    "export": export,
    "import": import_answers,
    "report": study_report,
    "forget": forget,
}
"""The commands below `bench study`."""


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given or ():
        task, equals, text = one.partition("=")
        if not equals:
            raise UsageError(f"--question {one}: write it as TASK=TEXT, for example --question preference='Which ...?'")
        if task.strip() in pairs:
            raise UsageError(f"--question {task.strip()}=... is given twice")
        pairs[task.strip()] = text
    return pairs


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {system_reason(error)}") from None
    if not text:
        raise UsageError(f"{file} is empty, but it must hold the consent text")
    return text

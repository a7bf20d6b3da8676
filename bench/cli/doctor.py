"""`bench doctor`: checks this installation and prints the command that fixes each problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import MissingError, UsageError
from bench.store.object_store import refuse_store

if TYPE_CHECKING:
    from bench.doctor.examine import Report

ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="DIR",
        envvar="BENCH_RESULTS",
        show_envvar=True,
        help="Results folder to search for runs that an older version may have spoiled.",
    ),
]
SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", metavar="NAME|FILE.toml", help="Instead, list what this suite needs and is not here."),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify-metrics",
        help="Instead, compare every scorer with its original package, in an environment made for the originals.",
    ),
]
OfficialOption = Annotated[
    str | None,
    typer.Option(
        "--official",
        metavar="PYTHON",
        help="With --verify-metrics: use this Python or environment for the originals.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help="With --verify-metrics: folder that caches the originals' environment."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.md", help="With --verify-metrics: write the tables to this file.")
]
ValuesOption = Annotated[
    Path | None,
    typer.Option(
        "--values", metavar="FILE.json", help="With --verify-metrics: write the originals' values to this file."
    ),
]


def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Also check whether the model hub can be reached.")] = False,
    suite: SuiteOption = None,
    results: ResultsOption = None,
    verify_metrics: VerifyOption = False,
    official: OfficialOption = None,
    cache: CacheOption = None,
    out: OutOption = None,
    values: ValuesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> int:
    """Check this installation and say how to fix it."""
    from bench.doctor.examine import Report, examine, verify
    from bench.doctor.spoiled import spoiled_runs

    if suite is not None:
        return _missing_for(suite, as_json)
    if verify_metrics:
        if as_json:
            raise UsageError("--json is not for --verify-metrics: use --values FILE.json, or --out FILE.md")
        outcome = verify(official, cache, out, values)
        from bench.cli.output import show

        show(outcome.table())
        typer.echo(outcome.verdict)
        return outcome.exit_code
    given = {"--official": official, "--cache": cache, "--out": out, "--values": values}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} applies only to --verify-metrics: add that, or omit {option}")
    folder = results or Path("results")
    refuse_store(folder)
    report = examine(ask_hub=hub)
    if folder.is_dir():
        report = Report((*report.findings, *spoiled_runs(folder)))
    return _told(report, as_json)


def _told(report: Report, as_json: bool) -> int:
    """Print the findings and the commands that fix them; returns the exit code."""
    from bench.cli.output import say, show

    if as_json:
        say(json.dumps(report.data, indent=1))
        return report.exit_code
    show(report.table())
    typer.echo("")
    for command, subjects in report.fixes.items():
        typer.echo(f"to fix {', '.join(subjects)}:\n    {command}")
    typer.echo(report.verdict)
    return report.exit_code


def _missing_for(suite: str, as_json: bool) -> int:
    """Print what a suite lacks on this machine, all at once; 4 where it lacks something."""
    import dataclasses

    from bench.cli.output import say, show
    from bench.formatting import Table, counted
    from bench.pipeline.fetching import missing_for

    found = missing_for(suite)
    code = MissingError.exit_code if found else 0
    if as_json:
        missing = [dataclasses.asdict(one) for one in found]
        say(json.dumps({"suite": suite, "code": code, "missing": missing}, indent=1))
        return code
    if not found:
        say(f"suite {suite}: everything is here")
        return 0
    sizes = ["unknown" if one.megabytes is None else f"{one.megabytes:,.0f} MB" for one in found]
    rows = tuple((one.what, one.name, size) for one, size in zip(found, sizes, strict=True))
    show(Table(("what", "name", "size"), rows, right=frozenset({2})))
    known = sum(one.megabytes or 0 for one in found)
    unknown_sizes = sizes.count("unknown")
    told = f", and {counted(unknown_sizes, 'unknown size')}" if unknown_sizes else ""
    say(f"suite {suite}: {counted(len(found), 'thing')} missing, {known:,.0f} MB{told}; `bench run` asks the hub")
    return code

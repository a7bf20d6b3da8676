"""`bench check`: the gate for continuous integration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    CommonOption,
    OnlySuiteOption,
    ResultsOption,
    RunsArgument,
    StudyOption,
    VerifyOption,
)

ThresholdsOption = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        metavar="FILE",
        help="Thresholds file (TOML), with a table per method and metric.",
        show_default=False,
    ),
]
BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="Baseline file that max_drop and max_drop_percent compare with."),
]
UpdateOption = Annotated[
    bool, typer.Option("--update-baseline", help="Write these runs to the baseline file, unless a rule prevents it.")
]
AcceptOption = Annotated[
    bool, typer.Option("--accept", help="With --update-baseline: also where a drop fails or is undecided.")
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Also print how large each allowance must be to pass when nothing changed.")
]


def check(
    runs: RunsArgument = None,
    thresholds: ThresholdsOption = None,
    baseline: BaselineOption = None,
    update_baseline: UpdateOption = False,
    accept: AcceptOption = False,
    plan: PlanOption = False,
    common: CommonOption = False,
    verify: VerifyOption = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML.")] = None,
    summary: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write the verdicts as Markdown.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat an undecided verdict as a failure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    study: StudyOption = None,
    suite: OnlySuiteOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Check runs against thresholds, for continuous integration.

    Prints one verdict per rule; the exit code is 1 if a rule fails. In GitHub Actions it also writes annotations and
    the job summary.
    """
    import bench
    from bench.cli.output import say, say_verdicts
    from bench.gate.check import tell_actions, verdict_rows

    outcome = bench.check(
        runs or None,
        thresholds,
        baseline,
        update_baseline=update_baseline,
        accept=accept,
        plan=plan,
        common=common,
        verify=verify,
        strict=strict,
        junit=junit,
        summary=summary,
        study=study,
        results=results,
        suite=suite,
    )
    if as_json:
        say(json.dumps(verdict_rows(outcome), indent=1))
    else:
        say_verdicts(outcome.text.rstrip())
    for path in outcome.written:
        typer.echo(f"wrote {path}", err=True)
    typer.echo(tell_actions(outcome, os.environ), nl=False, err=as_json)
    return outcome.code

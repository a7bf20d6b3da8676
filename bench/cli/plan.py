"""`bench plan`: what `bench run` with the same arguments would make, fetch and cost, and what it could tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import MetricsOption, ResultsOption, SuiteOption, parse_settings, split
from bench.errors import UsageError


def plan(
    method: Annotated[
        list[str],
        typer.Option("--method", metavar="NAME", help="A method (see 'bench list methods'); repeat it, or give a,b,c."),
    ],
    suite: SuiteOption = "shapes",
    prompts: Annotated[
        str | None, typer.Option(metavar="SET|FILE", help="Other prompts than the suite's: a set or a file.")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="K", help="Images per prompt.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N prompts.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", help="Another seed than the suite's.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the methods, such as switch_step=20,30."),
    ] = None,
    metrics: MetricsOption = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Another precision than the suite's.")
    ] = None,
    detect: Annotated[
        list[str] | None,
        typer.Option("--detect", metavar="METRIC=SIZE", help="How many prompts a difference of this size takes."),
    ] = None,
    results: ResultsOption = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> int:
    """Say what a run would make, fetch and cost, and which differences it could tell. Makes nothing.

    The arguments of `bench run`. Times and differences are learned from earlier runs in the results folder.
    """
    import bench
    from bench.pipeline.plan_text import plan_text

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
        detect=sizes(detect),
        results=results,
    )
    typer.echo(json.dumps(found.rows, indent=1) if as_json else plan_text(found).rstrip())
    return 0


def sizes(pairs: list[str] | None) -> dict[str, float]:
    """`["lpips=0.01"]` -> {"lpips": 0.01}; UsageError for anything else."""
    found: dict[str, float] = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        try:
            size = float(text)
        except ValueError:
            size = -1.0
        if not name or not 0 < size < float("inf"):
            raise UsageError(f"--detect {pair}: write it as METRIC=SIZE, for example --detect lpips=0.01.")
        found[name.strip()] = size
    return found

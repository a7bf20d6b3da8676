"""`bench plan`: what `bench run` with the same arguments would generate, download, cost and be able to detect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import (
    CompileOption,
    DtypeOption,
    FuseOption,
    LimitOption,
    MethodOption,
    MethodSettingsOption,
    MetricsOption,
    PromptColumnOption,
    PromptsOption,
    ProtocolOption,
    ReplicatesOption,
    ResultsOption,
    SamplesOption,
    SeedOption,
    SuiteOption,
    parse_settings,
    split,
)
from bench.errors import UsageError


def plan(
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
    dtype: DtypeOption = None,
    compile_networks: CompileOption = False,
    fuse_lora: FuseOption = False,
    detect: Annotated[
        list[str] | None,
        typer.Option(
            "--detect",
            metavar="METRIC=SIZE",
            help="Print how many prompts are needed to detect a difference of this size.",
        ),
    ] = None,
    results: ResultsOption = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> int:
    """Print a run's cost and what it could detect.

    Takes the arguments of `bench run` and generates nothing. Times and variances come from earlier runs in the results
    folder.
    """
    import bench
    from bench.cli.output import say
    from bench.pipeline.plan_text import plan_text

    found = bench.plan(
        suite,
        split(method),
        settings=parse_settings(settings),
        replicates=replicates,
        prompts=prompts,
        prompt_column=prompt_column,
        samples=samples,
        limit=limit,
        seed=seed,
        metrics=split(metrics) or None,
        protocol=protocol,
        dtype=dtype,
        compile=compile_networks,
        fuse_lora=fuse_lora,
        detect=sizes(detect),
        results=results,
    )
    say(json.dumps(found.rows, indent=1) if as_json else plan_text(found).rstrip())
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
            raise UsageError(f"--detect {pair}: write it as METRIC=SIZE, for example --detect lpips=0.01")
        found[name.strip()] = size
    return found

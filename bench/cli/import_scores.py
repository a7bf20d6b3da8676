"""`bench import-scores`: scores that others computed, as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import PromptColumnOption, PromptsOption, ResultsOption


def import_scores(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Values, with the columns prompt, sample, metric and value.")
    ],
    card: Annotated[
        Path, typer.Option(metavar="FILE.toml", help="Who scored, and the kind and direction of each metric (or JSON).")
    ],
    suite: Annotated[str, typer.Option("--suite", metavar="NAME|FILE.toml", help="Suite whose prompts these are.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the run.")],
    prompts: PromptsOption = None,
    prompt_column: PromptColumnOption = None,
    results: ResultsOption = Path("results"),
) -> int:
    """Take scores of others as a run.

    The run has no images and is marked as not scored here. A metric is compared with your own runs only where both
    cards say the same.
    """
    import bench
    from bench.cli.output import show_runs

    store = bench.import_scores(
        file, card, suite=suite, name=name, prompts=prompts, prompt_column=prompt_column, results=results
    )
    show_runs([store])
    return 0

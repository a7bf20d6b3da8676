"""`bench.claims`: claims about runs and about what people say of them."""

from __future__ import annotations

from pathlib import Path

from bench.analysis.claims import Claims, judged_claims
from bench.store.on_object_stores import on_object_stores
from bench.store.select import RunSources
from bench.study.people import people_of


@on_object_stores()
def claims(
    file: Path | str,
    runs: RunSources | None = None,
    *,
    strict: bool = False,
    results: Path | str = Path("results"),
    study: Path | str | None = None,
    suite: str | None = None,
) -> Claims:
    """Judge the claims of a ledger on runs (None: all of `results`). Does what `bench claims` does.

    Of each method the newest finished run is taken; `suite` (None: the ledger's) keeps the runs of one suite. `study`
    is the folder of a human preference study, which claims of human_preference, human_diversity and human_alignment are
    judged on. Exit code 1 where a claim does not hold (`strict`: or is undecided), 3 where none fails and one is not
    comparable. UsageError: a malformed ledger, or no runs.

    >>> import bench
    >>> bench.claims(CLAIMS, results=RESULTS).code
    0
    """
    return judged_claims(file, runs, strict=strict, results=results, people=people_of(study), suite=suite)

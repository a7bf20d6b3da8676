"""Runs on disk that an older version spoiled: it read their weights otherwise, or changed their base network."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.doctor.examine import Finding
from bench.models.old_runs import doubts
from bench.store.run_store import find_runs


def spoiled_runs(results: Path) -> list[Finding]:
    """One finding for each run that is outdated, and for each whose weights cannot be looked at."""
    found = doubts(find_runs(results))
    return [_finding(path, doubt.why, doubt.certain) for path, doubt in sorted(found.items())]


def _finding(path: Path, why: str, certain: bool) -> Finding:
    if not certain:
        return Finding(path.name, why, needed=False)
    fix = f"rm -r {shlex.quote(str(path))}  # then the `bench run` that made it"
    return Finding(path.name, f"outdated: {why}", fix, needed=False, suspect=True)

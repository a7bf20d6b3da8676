"""What is said of runs wherever they are compared: few prompts, prompts of one text, values that are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.analysis.differences import Difference
from bench.analysis.estimand import prompt_clusters
from bench.analysis.intervals import rare_prompts
from bench.analysis.summary import unscored_reason
from bench.store.runs import Run


def prompt_notes(run: Run) -> list[str]:
    """What the number of prompts keeps from being seen, and which prompts are one cluster; the same in all tables."""
    clusters = len(set(prompt_clusters(run).values()))
    found = [rare_prompts(clusters)] if rare_prompts(clusters) else []
    if clusters < len(run.prompts):
        why = f"the same tag {run.cluster}" if run.cluster else "the same text"
        found.append(f"{len(run.prompts)} prompts, of which some have {why}: intervals rest on {clusters} clusters")
    return found


def gap_notes(differences: Sequence[Difference], name: str = "") -> list[str]:
    """A sentence for every difference that has no mark because of what is scored on one side only."""
    of = f" of {name}" if name else ""
    return [
        f"{difference.facts.display}{of}: {difference.undecided}" for difference in differences if difference.undecided
    ]


def unscored_notes(run: Run, name: str) -> list[str]:
    """A sentence for every metric of which values could not be computed; `name` is the run's in print."""
    notes = []
    for metric, facts in run.metrics.items():
        rows = run.rows(metric)
        values = rows["value"]
        lost = int((~np.isfinite(values.to_numpy(dtype=np.float64))).sum())
        if lost:
            reason = unscored_reason(run, metric)
            why = f", for instance: {reason}" if reason else ""
            notes.append(f"{facts.display} of {name}: {lost} of {len(values)} values unscored{why}")
    return notes

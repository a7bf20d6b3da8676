"""What is said of runs wherever they are compared: few prompts, prompts of one text, values that are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.analysis.differences import Difference
from bench.analysis.estimand import prompt_clusters
from bench.analysis.intervals import rare_prompts
from bench.analysis.stats import Interval
from bench.analysis.summary import unscored_reason
from bench.formatting import counted
from bench.store.clusters import tag_of
from bench.store.runs import MetricFacts, Run


def prompt_notes(run: Run) -> list[str]:
    """What the number of prompts keeps from being seen, and which prompts are one cluster; the same in all tables."""
    few = rare_prompts(len(set(prompt_clusters(run).values())))
    return [*([few] if few else []), *cluster_notes(run)]


def cluster_notes(run: Run) -> list[str]:
    """Which prompts are one cluster, and whether the tag that the suite names for that is there, as sentences."""
    clusters, found = len(set(prompt_clusters(run).values())), []
    without = sum(tag_of(run.tags.get(prompt_id, ()), run.cluster) is None for prompt_id, _ in run.prompts)
    if run.cluster and without:
        some = f"{counted(without, 'prompt')} {'does' if without == 1 else 'do'} not have"
        whose = "none of the prompts has" if without == len(run.prompts) else some
        found.append(f'cluster = "{run.cluster}" names a tag that {whose}: there each text is a cluster of its own')
    if clusters < len(run.prompts):
        why = f"the same tag {run.cluster} or text" if run.cluster else "the same text"
        found.append(
            f"{len(run.prompts)} prompts, of which some have {why}: intervals rest on {counted(clusters, 'cluster')}"
        )
    return found


def gap_notes(differences: Sequence[Difference], name: str = "") -> list[str]:
    """A sentence for every difference that gaps on one side leave open: it has no mark, or is exactly 0."""
    of = f" of {name}" if name else ""
    open_ = [(one.facts.display, one.undecided or _identical_but(one)) for one in differences]
    return [f"{title}{of}: {why}" for title, why in open_ if why]


def _identical_but(difference: Difference) -> str:
    zero, gaps = difference.interval.low == difference.interval.high == 0, getattr(difference.estimate, "gaps", 0)
    return difference.interval.reason or "" if zero and gaps else ""


def no_interval_notes(values: Sequence[tuple[str, MetricFacts, Interval]], of_all: int = 1) -> list[str]:
    """Why means or differences that are there have no interval: a sentence a metric and reason, with whose they are.

    `values`: whose, the metric, its value; whose is left out where all of `of_all` are. Of a Frechet distance that
    cannot be estimated the cell says so, and of a value that is not there its own note.
    """
    whose: dict[tuple[str, str], list[str]] = {}
    for name, facts, interval in values:
        reason = interval.reason or "no interval is stored"
        if math.isfinite(interval.mean) and math.isnan(interval.low) and "not estimable" not in reason:
            whose.setdefault((facts.display, reason), []).append(name)
    return [
        f"{title}: {reason}" if len(names) == of_all else f"{title} of {', '.join(names)}: {reason}"
        for (title, reason), names in whose.items()
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

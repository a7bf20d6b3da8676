"""What a study found as plain JSON data. NaN is null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.analysis.stats import Interval
from bench.study.findings import Findings, Judged, TaskFindings
from bench.study.metric_agreement import Against


def finding_rows(findings: Findings) -> dict[str, Any]:
    """report.json, and what `bench study report --json` prints."""
    share = findings.raters.share
    raters = [
        {
            "rater": one.rater,
            "votes": one.votes,
            "checks": one.checks,
            "failed": one.failed,
            "repeats": one.repeats,
            "same": one.same,
            "probability": number(one.spam),
            "marked": one.marked,
            "seconds": number(one.seconds),
        }
        for one in findings.raters.raters
    ]
    return {
        "schema_version": 1,
        "study": findings.manifest.get("study"),
        "methods": {name: findings.runs.get(name, "") for name in findings.methods},
        "tasks": {task: _task(one) for task, one in findings.tasks.items()},
        "raters": raters,
        "without_looking": interval_row(share),
        "notes": list(findings.notes),
    }


def _task(one: TaskFindings) -> dict[str, Any]:
    rest = one.without_marked
    return {
        "question": one.question,
        "adaptive": one.adaptive,
        "looks": {"votes": list(one.looks), "taken": one.taken} if one.looks else None,
        **_judged(one.judged, one),
        "without_marked": None if rest is None else _judged(rest, None),
        "alpha": interval_row(one.alpha),
        "retest": {"same": interval_row(one.retest.same), "contrary": one.retest.contrary, "n": one.retest.n},
        "left": interval_row(one.side),
        "metrics": [metric_row(row) for row in one.metrics],
    }


def _judged(judged: Judged, task: TaskFindings | None) -> dict[str, Any]:
    pairs = []
    for one in judged.pairs:
        counts = {
            "wins": one.wins,
            "ties": one.ties,
            "losses": one.losses,
            "raters": one.raters,
            "prompts": one.prompts,
        }
        row = {"method": one.a, "over": one.b, "win_rate": interval_row(one.rate), **counts}
        row |= {"p": number(one.p), "p_holm": number(one.p_holm), "winner": one.winner or None}
        needed = task.needed.get((one.a, one.b)) if task is not None else None
        row["votes_to_decide"] = None if needed is None else number(needed.votes)
        pairs.append(row)
    found = judged.strengths
    rows = zip(found.methods, found.strengths, found.ranks, strict=True)
    return {
        "votes": judged.votes,
        "raters": judged.raters,
        "prompts": judged.prompts,
        "pairs": pairs,
        "methods": [
            {
                "method": name,
                "win_rate": interval_row(judged.methods[name]),
                "strength": interval_row(value),
                "ranks": list(rank),
            }
            for name, value, rank in rows
        ],
        "tie_parameter": number(found.tie),
    }


def metric_row(row: Against) -> dict[str, Any]:
    """A metric against votes."""
    powered = [
        {
            "method": a,
            "over": b,
            "win_rate": interval_row(one.estimate),
            "votes_alone": interval_row(one.classical),
            "weight": one.weight,
            "labelled": one.n,
            "unlabelled": one.n_unlabelled,
        }
        for (a, b), one in row.powered.items()
    ]
    disagreements = [
        {
            "item": one.item,
            "prompt_id": one.prompt_id,
            "sample": one.sample,
            "people": one.people,
            "metric": one.metric,
            "won": one.won,
            "votes": one.votes,
            "difference": number(one.difference),
        }
        for one in row.disagreements
    ]
    return {
        "metric": row.metric,
        "accuracy": interval_row(row.accuracy),
        "kendall_tau": interval_row(row.tau),
        "spearman": interval_row(row.spearman),
        "calibration": [{"predicted": one.predicted, "observed": interval_row(one.observed)} for one in row.bins],
        "prediction_powered": powered,
        "why_not_powered": row.why_not_powered,
        "disagreements": disagreements,
        "unscored": row.unscored,
        "equal": row.equal,
    }


def interval_row(value: Interval) -> Mapping[str, Any]:
    """A mean with its limits."""
    numbers = {"mean": number(value.mean), "ci_low": number(value.low), "ci_high": number(value.high), "n": value.n}
    return {**numbers, "reason": value.reason}


def number(value: float) -> float | None:
    """For JSON, which has no NaN and no infinity."""
    return float(value) if math.isfinite(value) else None

"""Rows -> means with intervals. A summary can be made again from the stored rows at any time, without a model."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.estimand import prompt_clusters, units_of
from bench.analysis.stats import Interval, jackknife_interval
from bench.errors import UsageError
from bench.store.atomic import to_json
from bench.store.cards import identity_of
from bench.store.outdated import is_current
from bench.store.parts import is_damaged, set_aside
from bench.store.runs import MetricFacts, Run, read_run
from bench.store.ties import Ties
from bench.store.values import usable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.store.run_store import RunStore

SCHEMA_VERSION = 2


def metric_interval(run: Run, metric: str, level: float = 0.95) -> Interval:
    """Mean and interval of one metric of a run, in the metric's unit.

    Image and group metrics: the mean over prompts (`bench.analysis.estimand`), clustered by the prompt's text. Set
    metrics: n is the number of images; the row without a sample is the value, and `left_out` its values with one block
    of prompts left out each (jackknife).
    """
    if run.metrics[metric].kind == "set":
        return _set_interval(run, metric, level)
    found = units_of(run, metric).mean().interval(level)
    if found.n or not found.n_unscored:
        return found
    reason = unscored_reason(run, metric)
    told = f"{found.reason} ({found.n_unscored} of {found.n_unscored}: {reason})" if reason else found.reason
    return replace(found, reason=told)


def unscored_reason(run: Run, metric: str) -> str:
    """The commonest reason why values of a metric could not be computed; "" where none is stated."""
    rows = run.rows(metric)
    reasons = rows.loc[~np.isfinite(rows["value"].to_numpy(dtype=np.float64)), "reason"].dropna()
    return str(reasons.mode().iloc[0]) if len(reasons) else ""


def _set_interval(run: Run, metric: str, level: float) -> Interval:
    rows = run.rows(metric)
    values = rows["value"].to_numpy(dtype=np.float64)
    value = float(values[0]) if len(values) else math.nan
    interval = jackknife_interval(value, run.left_out.get(metric, ()), run.n_images, level)
    if math.isfinite(value):
        return interval
    reasons = rows["reason"].dropna()
    reason = str(reasons.iloc[0]) if len(reasons) else "no value could be scored"
    return Interval(math.nan, math.nan, math.nan, 0, run.n_images, 0, reason)


def prompt_codes(run: Run, rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The cluster of each row as a number [N], see `prompt_clusters`; -1 for prompts the run does not list."""
    codes = prompt_clusters(run)
    return rows["prompt_id"].map(codes).fillna(-1).to_numpy(dtype=np.int64).astype(np.int64)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _metric_summary(facts: MetricFacts, interval: Interval) -> dict[str, Any]:
    return {
        "mean": _number(interval.mean),
        "ci_low": _number(interval.low),
        "ci_high": _number(interval.high),
        "n": interval.n,
        "n_unscored": interval.n_unscored,
        "direction": facts.direction,
        "kind": facts.kind,
        "version": facts.version,
        "unit": facts.unit,
        "range": [facts.card.get("low"), facts.card.get("high")],
        "title": facts.title,
        "label": facts.label,
        "card_digest": facts.digest,
        "card": identity_of(facts.card),
        "reason": interval.reason,
    }


def prompt_means(run: Run, metric: str) -> dict[str, float]:
    """Mean of the finite values per prompt; prompts without any are absent. Empty for set metrics."""
    if run.metrics[metric].kind == "set":
        return {}
    rows = run.rows(metric)
    finite = rows[np.isfinite(rows["value"].to_numpy(dtype=np.float64))]
    return {str(prompt_id): float(mean) for prompt_id, mean in finite.groupby("prompt_id")["value"].mean().items()}


def left_out_values(run: Run, metric: str) -> list[float]:
    """Values of a set metric with one block of prompts left out each, in the order of blocks; [] where not all are."""
    return list(run.left_out.get(metric, ()))


def summary_of(run: Run) -> dict[str, Any]:
    """summary.json as a dict: per metric the mean, its 95 % interval, n and what it is. NaN is written as null."""
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": run.suite,
        "method": run.method,
        "run": run.name,
        "trained_on": list(run.trained_on),
        "samples": run.samples,
        "prompts": len(run.prompts),
        "prompts_digest": run.prompts_digest,
        "metrics": {name: _metric_summary(facts, metric_interval(run, name)) for name, facts in run.metrics.items()},
    }


def summarise(store: RunStore) -> dict[str, Any]:
    """Summarise the stored rows of a run, write its summary and return it. `made_of` says of which files it is.

    Damaged files whose rows are there again are set aside.
    """
    with store.lock():  # no other process adds rows between reading them and writing what they come to
        for path in remade_parts(store):
            set_aside(path)
        summary = {**summary_of(read_run(store)), **_ground_of(store), "made_of": store.parts()}
        store.write_summary(summary)
    return summary


def _ground_of(store: RunStore) -> dict[str, Any]:
    """What a summary rests on: the digest of all pictures, and the metrics of which every value is there."""
    manifest, rows = store.manifest(), store.images()
    ids = [str(prompt["id"]) for prompt in manifest.prompts]
    ties = Ties(rows, ids, manifest.samples)
    covered = [row for row in rows if ties.of(*row.key) is not None]
    whole = []
    for name in store.score_metrics():
        card = store.score_card(name) or {}
        checked, _ = usable(store.scores(name), ties, card)
        have = {row.key for row in checked if is_current(row)}
        keys: dict[str, set[Any]] = {
            "image": {row.key for row in covered},
            "group": {(row.prompt_id, None) for row in covered},
            "set": {(None, None)},
        }
        if keys.get(str(card.get("kind")), {None}) <= have and not store.lacks_left_out(name, card):
            whole.append(name)
    return {"pictures": ties.whole, "whole": whole, "n_images": len(covered)}


def remade_parts(store: RunStore) -> list[Path]:
    """The damaged files of rows that nothing is missing without: all images are recorded, or all values are there."""
    found = [(folder, store.path / folder / name) for folder, names in store.parts().items() for name in names]
    damaged = [(folder, path) for folder, path in found if is_damaged(path)]
    if not damaged:
        return []
    manifest, ground = store.manifest(), _ground_of(store)
    whole = {f"scores/{name}" for name in ground["whole"]}
    if ground["n_images"] + len(store.refusals()) >= len(manifest.prompts) * manifest.samples:
        whole.add("images")
    return [path for folder, path in damaged if folder in whole]


def summary_fault(store: RunStore) -> str | None:
    """Why the summary of a run has to be made again, as a clause; None where it is that of the stored rows."""
    try:
        summary = store.summary()
    except UsageError:
        return "it is damaged"
    if summary is None:
        return "there is none"
    if summary.get("run") != store.name:
        return "it is of another run"
    if remade_parts(store):
        return "rows of damaged files are there again"
    if "made_of" in summary and not store.has_summary_digest():
        return "its digest is missing"
    if "made_of" in summary:
        return None if summary["made_of"] == store.parts() else "the rows are others"
    fresh = json.loads(to_json(summary_of(read_run(store))))
    return None if {**fresh, "schema_version": None} == {**summary, "schema_version": None} else "the rows are others"

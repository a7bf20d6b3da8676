"""What the gate judges, typed: the summary of a run with the values that later runs are paired on, and its JSON.

A summary comes from a run, or from a baseline file. Baselines of version 2 hold every value of an image metric by
prompt and sample; those of version 1 hold only the means of prompts, so that it is not known which values they lacked.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from bench.analysis.differences import SetValue
from bench.analysis.estimand import Units, noise_of, prompt_clusters, units_of
from bench.analysis.extrapolation import features_of
from bench.analysis.intervals import bounds_of
from bench.analysis.stats import Interval
from bench.analysis.summary import left_out_values, summary_of
from bench.store.cards import card_in_summary
from bench.store.conditions import COUPLED
from bench.store.runs import Run

_NUMBERS = ("mean", "ci_low", "ci_high")


@dataclass(frozen=True)
class Entry:
    """One metric of a summary. `interval` is its mean with the 95 % interval that the tables print."""

    metric: str
    kind: str  # image | group | set | "" (a plain summary of version 1)
    direction: str  # higher | lower
    interval: Interval
    reason: str = ""
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    units: Units | None = field(default=None, repr=False)  # None of set metrics, and of plain summaries
    per_sample: bool = True  # False: `units` are means of prompts, and it is not known what they lack
    left_out: tuple[float, ...] = ()

    @property
    def higher(self) -> bool:
        """Whether higher values are better."""
        return self.direction != "lower"

    @property
    def is_set(self) -> bool:
        """Whether it is one value for all images."""
        return self.kind == "set" or bool(self.left_out)

    @property
    def mean(self) -> float:
        """NaN where there is no value."""
        return self.interval.mean

    @property
    def n_unscored(self) -> int:
        """Values that were expected and are not there."""
        return self.interval.n_unscored

    @property
    def unknown_gaps(self) -> bool:
        """Whether values are unscored without it being known which."""
        return self.n_unscored > 0 and (self.units is None or not self.per_sample) and not self.is_set

    @property
    def features(self) -> int | None:
        """Features of a Frechet distance; None of other metrics."""
        return features_of(self.card)

    def at(self, level: float) -> Interval:
        """The mean with an interval at another level; a stored one is widened as a normal one is."""
        if level == 0.95 or not math.isfinite(self.interval.low):
            return self.interval
        if self.units is not None and self.per_sample:
            return self.units.mean().interval(level)
        return widened(self.interval, level)

    def set_value(self) -> SetValue:
        """Of a set metric."""
        return SetValue(self.interval, self.left_out)


@dataclass(frozen=True)
class Summary:
    """A run as the gate sees it."""

    suite: str
    method: str
    run: str
    metrics: Mapping[str, Entry]
    prompts: int = 0
    samples: int | None = None
    prompts_digest: str | None = None
    prompt_order: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    pictures: str = ""  # digest of all picture files; "": not known

    @property
    def digest(self) -> str:
        """Of what was measured: the same run with the same scores has the same."""
        means = {name: [entry.mean, entry.interval.n] for name, entry in sorted(self.metrics.items())}
        return hashlib.sha256(json.dumps([self.suite, self.run, means], default=str).encode()).hexdigest()[:16]


def widened(interval: Interval, level: float) -> Interval:
    """A 95 % interval that was stored, at another level."""
    factor = NormalDist().inv_cdf(0.5 + level / 2) / NormalDist().inv_cdf(0.975)
    below, above = interval.mean - interval.low, interval.high - interval.mean
    return replace(interval, low=interval.mean - below * factor, high=interval.mean + above * factor)


def summary_from(run: Run, name: str | None = None) -> Summary:
    """Of a run; `name` is what is printed for it."""
    return read_summary(summary_data(run) | {"run": name or run.name})


def summary_data(run: Run) -> dict[str, Any]:
    """summary.json with what later runs are paired on, as plain JSON data: a summary of a baseline file."""
    data = summary_of(run)
    clusters = prompt_clusters(run)
    data |= {"prompt_order": _digest(run.prompts), "conditions": dict(run.conditions), "pictures": run.pictures}
    if len(set(clusters.values())) < len(clusters):
        data["clusters"] = clusters
    for name, metric in data["metrics"].items():
        card = run.metrics[name].card
        metric |= {key: card[key] for key in ("low", "high") if card.get(key) is not None}
        if metric["kind"] == "set":
            metric["left_out"] = left_out_values(run, name)
            continue
        units = units_of(run, name)
        rows = [[float(v) if math.isfinite(v) else None for v in row] for row in units.values]
        if metric["kind"] == "group":  # one value a prompt is its mean
            metric["prompt_means"] = {
                p: row[0] for p, row in zip(units.prompts, rows, strict=True) if row[0] is not None
            }
        else:
            metric["values"] = dict(zip(units.prompts, rows, strict=True))
    return data


def _digest(prompts: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]


def read_summary(data: Mapping[str, Any]) -> Summary:
    """Of plain JSON data that was checked (`bench.gate.baseline.read_baseline`)."""
    conditions = dict(data.get("conditions") or {})
    entries = {str(name): _entry(str(name), entry, data, conditions) for name, entry in data["metrics"].items()}
    samples = data.get("samples")
    return Summary(
        suite=str(data.get("suite") or ""),
        method=str(data["method"]),
        run=str(data.get("run") or ""),
        metrics=entries,
        prompts=int(data.get("prompts") or 0),
        samples=None if samples is None else int(samples),
        prompts_digest=data.get("prompts_digest"),
        prompt_order=str(data.get("prompt_order") or ""),
        conditions=conditions,
        trained_on=tuple(data.get("trained_on") or ()),
        pictures=str(data.get("pictures") or ""),
    )


def _entry(name: str, data: Mapping[str, Any], summary: Mapping[str, Any], conditions: Mapping[str, Any]) -> Entry:
    mean, low, high = (math.nan if data.get(key) is None else float(data[key]) for key in _NUMBERS)
    kind, card = str(data.get("kind") or ""), card_in_summary(data)
    units, per_sample = _units(data, kind, summary, conditions)
    left_out = tuple(map(float, data.get("left_out") or ()))
    clusters = len(left_out) or _scored_clusters(units) or int(summary.get("prompts") or 0)
    n, lost, reason = int(data.get("n") or 0), int(data.get("n_unscored") or 0), str(data.get("reason") or "")
    interval = Interval(mean, low, high, n, lost, clusters, reason or None)
    return Entry(
        name, kind, str(data.get("direction") or "higher"), interval, reason, card, units, per_sample, left_out
    )


def _scored_clusters(units: Units | None) -> int:
    return 0 if units is None else len(set(units.clusters[np.isfinite(units.prompt_means)].tolist()))


def _units(
    data: Mapping[str, Any], kind: str, summary: Mapping[str, Any], conditions: Mapping[str, Any]
) -> tuple[Units | None, bool]:
    table = data.get("values") or data.get("prompt_means")
    if not table:
        return None, False
    rows = {str(prompt): value if isinstance(value, list) else [value] for prompt, value in sorted(table.items())}
    width = max(map(len, rows.values()))
    values = np.array(
        [[math.nan if v is None else float(v) for v in row] + [math.nan] * (width - len(row)) for row in rows.values()]
    )
    known = summary.get("clusters") or {}
    numbers: dict[Any, int] = {}
    clusters = np.array([numbers.setdefault(known.get(prompt, prompt), len(numbers)) for prompt in rows])
    noise = noise_of(conditions) if "values" in data else None
    found = Units(tuple(rows), values, clusters, bounds_of(data), noise, coupled=COUPLED in conditions)
    return found, "values" in data or kind == "group"


assert noise_of.__doc__  # the noise of a stored summary is that of `noise_of`, by the same conditions

"""A comparison as plain JSON data: what `bench compare --json` prints. Keys are added, never renamed or dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict

from bench.analysis.by_tag import TagDifference
from bench.analysis.differences import LEAST_PROMPTS, LEVEL, Difference, difference_row

SCHEMA_VERSION = 1
Side = Literal["a", "b"]


class Family(TypedDict):
    """What the corrected p values cover: so many tests, at this level; a full mark needs so many prompts."""

    correction: Literal["holm"]
    tests: int
    level: float
    least_prompts: int


class MetricRow(TypedDict):
    """b - a on one metric, in its unit; null: there is none, and `reason` says why.

    `better`: the side whose advantage the 95 % interval of the pairs shows, with the worst case where values are
    missing; `sure`: also after the correction. `win_rate`: share of pairs in which b is better, ties half.
    `trained`: the names of the sides that were trained on the metric.
    """

    metric: str
    title: str
    kind: Literal["image", "group", "set"]
    direction: Literal["higher", "lower"]
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    win_rate: float | None
    win_low: float | None
    win_high: float | None
    detects: float | None
    n: int
    n_unscored: int
    better: Side | None
    sure: bool
    trained: list[str]
    reason: str | None


class TagRow(TypedDict):
    """The same over the prompts of one tag; the family is all rows of `tags`."""

    tag: str
    prompts: int
    difference: MetricRow


class ChangedRow(TypedDict):
    """A prompt whose means changed much."""

    metric: str
    prompt_id: str
    text: str
    a: float | None
    b: float | None


class MethodsData(TypedDict):
    """The two methods over all their checkpoints (training seeds), a family of its own."""

    a: str
    b: str
    checkpoints: dict[Side, int]
    family: Family
    metrics: list[MetricRow]


class ComparisonData(TypedDict):
    """The whole comparison; `a` and `b` are the names that are printed, `methods` is null without --replicates."""

    schema_version: int
    a: str
    b: str
    family: Family
    metrics: list[MetricRow]
    tags: list[TagRow]
    changed: list[ChangedRow]
    notes: list[str]
    methods: MethodsData | None


class Compared(Protocol):
    """What is read of a comparison (`bench.analysis.compare.Comparison`)."""

    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...
    @property
    def differences(self) -> Sequence[Difference]: ...
    @property
    def tags(self) -> Sequence[TagDifference]: ...
    @property
    def changed(self) -> Sequence[Any]: ...
    @property
    def trained(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def methods(self) -> Any: ...


def comparison_data(comparison: Compared) -> ComparisonData:
    """The data of a comparison."""
    return {
        "schema_version": SCHEMA_VERSION,
        "a": comparison.a,
        "b": comparison.b,
        "family": family_of(sum(math.isfinite(one.p_holm) for one in comparison.differences)),
        "metrics": [metric_row(one, _trained(one, comparison)) for one in comparison.differences],
        "tags": [
            {"tag": one.tag, "prompts": one.prompts, "difference": metric_row(tagged, _trained(tagged, comparison))}
            for one in comparison.tags
            for tagged in (one.difference,)
        ],
        "changed": [
            {
                "metric": one.facts.name,
                "prompt_id": one.prompt_id,
                "text": one.text,
                "a": number(one.a),
                "b": number(one.b),
            }
            for one in comparison.changed
        ],
        "notes": list(comparison.notes),
        "methods": None if comparison.methods is None else _methods(comparison),
    }


def _methods(comparison: Compared) -> MethodsData:
    both = comparison.methods
    runs = {one: both.a.name if one == comparison.a else both.b.name for one in (comparison.a, comparison.b)}
    return {
        "a": both.a.name,
        "b": both.b.name,
        "checkpoints": {"a": len(both.a.runs), "b": len(both.b.runs)},
        "family": family_of(sum(math.isfinite(one.p_holm) for one in both.differences)),
        "metrics": [metric_row(one, [runs[name] for name in _trained(one, comparison)]) for one in both.differences],
    }


def _trained(difference: Difference, comparison: Compared) -> list[str]:
    return list(comparison.trained.get(difference.facts.name, ()))


def family_of(tests: int) -> Family:
    """So many tests, corrected together."""
    return {"correction": "holm", "tests": tests, "level": LEVEL, "least_prompts": LEAST_PROMPTS}


def metric_row(difference: Difference, trained: Sequence[str]) -> MetricRow:
    """One difference; `trained`: the names of the sides that were trained on the metric."""
    row = difference_row(difference)
    numbers = {key: number(value) for key, value in row.items() if isinstance(value, float)}
    more = {"better": difference.better or None, "trained": list(trained), "unit": difference.facts.unit}
    found: MetricRow = {**row, **numbers, **more}  # type: ignore[typeddict-item]
    return found


def number(value: float) -> float | None:
    """The number, null where it is not finite."""
    return float(value) if math.isfinite(value) else None

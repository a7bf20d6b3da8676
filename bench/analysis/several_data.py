"""All pairs of three or more runs as plain JSON data: what `bench compare A B C --json` prints.

Keys are added, never renamed or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict

from bench.analysis.allpairs import AllPairs
from bench.analysis.comparison_data import SCHEMA_VERSION, Family, MetricRow, family_of, metric_row, number


class PairRow(TypedDict):
    """Two methods on one metric: `difference.a` is the mean of `a`; win rates are not asked for, and null."""

    a: str
    b: str
    difference: MetricRow


class RankRow(TypedDict):
    """A method on one metric: its mean, the ranks that it may have (from 1), its letters, and if it may be the best.

    Methods that share a letter cannot be told apart.
    """

    metric: str
    method: str
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    rank_best: int
    rank_worst: int
    letters: str
    maybe_best: bool


class SeveralData(TypedDict):
    """The whole comparison; `names` in the order given. `absent`: metric -> methods without a value of it.

    `checkpoints`: with --replicates, method -> how many were compared, 0 of an untrained one; else null.
    """

    schema_version: int
    names: list[str]
    checkpoints: dict[str, int] | None
    family: Family
    pairs: list[PairRow]
    ranks: list[RankRow]
    absent: dict[str, list[str]]
    notes: list[str]


class Compared(Protocol):
    """What is read of a comparison (`bench.analysis.several.Several`)."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def metrics(self) -> Sequence[AllPairs]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def trained(self) -> frozenset[tuple[str, str]]: ...
    @property
    def checkpoints(self) -> Sequence[int]: ...


def several_data(several: Compared) -> SeveralData:
    """The data of all pairs."""
    counts = dict(zip(several.names, several.checkpoints, strict=True)) if several.checkpoints else None
    return {
        "schema_version": SCHEMA_VERSION,
        "names": list(several.names),
        "checkpoints": counts,
        "family": family_of(max((one.tests for one in several.metrics), default=0)),
        "pairs": [row for one in several.metrics for row in _pairs(one, several.trained)],
        "ranks": [row for one in several.metrics for row in _ranks(one)],
        "absent": {one.facts.name: list(one.absent) for one in several.metrics if one.absent},
        "notes": list(several.notes),
    }


def _pairs(one: AllPairs, trained: frozenset[tuple[str, str]]) -> list[PairRow]:
    rows: list[PairRow] = []
    for (i, j), difference in one.differences.items():
        names = (one.methods[j], one.methods[i])
        row = metric_row(difference, [name for name in names if (name, one.facts.name) in trained])
        rows.append({"a": names[0], "b": names[1], "difference": row})
    return rows


def _ranks(one: AllPairs) -> list[RankRow]:
    best = set(one.maybe_best)
    return [
        {
            "metric": one.facts.name,
            "method": name,
            "mean": number(mean.mean),
            "ci_low": number(mean.low),
            "ci_high": number(mean.high),
            "rank_best": int(low),
            "rank_worst": int(high),
            "letters": letters,
            "maybe_best": name in best,
        }
        for name, mean, (low, high), letters in zip(one.methods, one.means, one.ranks, one.letters, strict=True)
    ]

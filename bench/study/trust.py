"""Which metric agrees with the votes: each metric against them, and each pair of metrics on the votes of both. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.stats import Interval, holm
from bench.study.ballots import Ballots, Floats
from bench.study.clusters import t_interval, t_two_sided, two_way
from bench.study.metric_agreement import Against, measured, rightness
from bench.study.vote_pictures import Pictured, Side
from bench.study.votes import Item

FIRST, SECOND = "first", "second"


@dataclass(frozen=True, slots=True)
class Lead:
    """How much more often a metric is right than another, on the votes that both scored; `p_holm` over all pairs."""

    metric: str
    over: str
    difference: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class Trust:
    """Metrics by their accuracy, the highest first, and what may be said of the order."""

    metrics: tuple[Against, ...]
    leads: tuple[Lead, ...]

    def lead(self, metric: str, over: str) -> Lead | None:
        """The lead of one over another, whichever way round it is kept."""
        for one in self.leads:
            if (one.metric, one.over) == (metric, over):
                return one
            if (one.over, one.metric) == (metric, over):
                turned = replace(
                    one.difference,
                    mean=-one.difference.mean,
                    low=-one.difference.high,
                    high=-one.difference.low,
                )
                return Lead(metric, over, turned, one.p, one.p_holm)
        return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """Votes as arrays, with what each of the N is on; `duplicates` are second answers of a rater, left out."""

    votes: Ballots
    items: dict[str, Item]
    prompts: list[str]
    sides: list[tuple[Side, Side]]
    duplicates: int


def prepare(found: Pictured) -> Prepared:
    """The votes of a table as arrays.

    Every pair is put one way round, so that votes on it meet whichever side they had. Votes of raters who are not
    named count as votes of different people.
    """
    seen: set[tuple[str, str]] = set()
    items: dict[str, Item] = {}
    sides: list[tuple[Side, Side]] = []
    rows: list[tuple[str, str, str, float]] = []  # item, prompt, rater, outcome
    for number, (vote, (a, b)) in enumerate(zip(found.votes, found.sides, strict=True)):
        turned = _key(b) < _key(a)
        first, second = (b, a) if turned else (a, b)
        item = f"{vote.prompt}\n{_key(first)}\n{_key(second)}"
        if vote.rater and (vote.rater, item) in seen:
            continue
        seen.add((vote.rater, item))
        items.setdefault(item, Item(f"{first.name} | {second.name}", "votes", "", vote.prompt, first.name, second.name))
        sides.append((first, second))
        rows.append((item, vote.prompt, vote.rater or f"\n{number}", 1 - vote.outcome if turned else vote.outcome))
    return Prepared(_ballots(rows), items, [row[1] for row in rows], sides, len(found.votes) - len(rows))


def _ballots(rows: list[tuple[str, str, str, float]]) -> Ballots:
    prompts, raters = sorted({row[1] for row in rows}), sorted({row[2] for row in rows})
    prompt_index, rater_index = ({name: i for i, name in enumerate(names)} for names in (prompts, raters))
    n = len(rows)
    return Ballots(
        methods=(FIRST, SECOND),
        a=np.zeros(n, dtype=np.int64),
        b=np.ones(n, dtype=np.int64),
        y=np.array([row[3] for row in rows]),
        raters=np.array([rater_index[row[2]] for row in rows]),
        prompts=np.array([prompt_index[row[1]] for row in rows]),
        left=np.ones(n),
        weights=np.ones(n),
        chances=np.full(n, np.nan),
        rater_names=tuple(raters),
        prompt_names=tuple(prompts),
        items=tuple(row[0] for row in rows),
    )


def _key(side: Side) -> str:
    return "|".join(str(path) for path in side.files)


def trust(votes: Ballots, items: dict[str, Item], differences: dict[str, Floats]) -> Trust:
    """Metrics whose differences (first - second, positive: the first is better) are given [N] against the votes [N]."""
    found = [measured(votes, d, name, "votes", items) for name, d in differences.items()]
    found.sort(key=lambda one: -one.accuracy.mean if np.isfinite(one.accuracy.mean) else np.inf)
    leads = [
        _lead(votes, a.metric, b.metric, differences[a.metric], differences[b.metric])
        for a, b in itertools.combinations(found, 2)
    ]
    adjusted = holm([one.p for one in leads]).tolist()
    return Trust(tuple(found), tuple(replace(one, p_holm=float(p)) for one, p in zip(leads, adjusted, strict=True)))


def _lead(votes: Ballots, a: str, b: str, d_a: Floats, d_b: Floats) -> Lead:
    both = np.isfinite(d_a) & np.isfinite(d_b) & (votes.y != 0.5)
    kept = votes.where(both)
    if not len(kept):
        nothing = Interval(np.nan, np.nan, np.nan, 0, 0, 0, "no decided vote was scored by both")
        return Lead(a, b, nothing, np.nan, np.nan)
    gained = rightness(kept, d_a[both]) - rightness(kept, d_b[both])
    mean = float(gained.mean())
    spread = two_way((gained - mean) / len(gained), kept.raters, kept.prompts)
    variance = spread.variance()
    interval = t_interval(mean, variance, spread, len(kept))
    p = t_two_sided(mean / np.sqrt(variance), spread.freedom) if np.isfinite(variance) and variance > 0 else np.nan
    return Lead(a, b, interval, float(p), np.nan)

"""Strengths of methods from pairwise votes: Bradley-Terry with ties after Davidson. Pure.

Davidson (1970, On Extending the Bradley-Terry Model to Accommodate Ties, JASA 65): with strengths p_i = exp(s_i),

    P(i wins) = p_i / D,  P(tie) = v sqrt(p_i p_j) / D,  P(j wins) = p_j / D,  D = p_i + p_j + v sqrt(p_i p_j).

Fitted by `evalica.newman` (Newman 2023, JMLR 24, whose tie parameter is v / 2) on counts by pair, and finished by
Newton's steps, which also give the Hessian H. The covariance is H^-1 M H^-1 with the scores of the votes in M clustered
by rater and by prompt, judged as in `bench.study.clusters`: the model need not be true, the strengths are then those of
the model nearest to the votes. Strengths are centred: their mean is 0, and a difference of log 3 = 1.1 is 3 wins to 1
loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import Interval, holm
from bench.errors import MissingError
from bench.study.ballots import Ballots, Floats
from bench.study.clusters import Spread, t_interval, t_two_sided, two_way

_NEWTON_STEPS, _TOLERANCE = 50, 1e-10
_NO_VARIANCE = 1e-12  # squared logits: what rounding leaves of a variance of none


@dataclass(frozen=True, slots=True)
class Strengths:
    """Strength (log scale, mean 0) with interval and the ranks that a method may have (from 1), in the order given."""

    methods: tuple[str, ...]
    strengths: tuple[Interval, ...]
    ranks: tuple[tuple[int, int], ...]
    tie: float  # v, 0 where no vote was a tie
    better: tuple[tuple[bool, ...], ...] = ()  # [i][j]: i surely stronger than j, Holm over pairs
    reason: str = ""  # why there are no strengths


def strengths(votes: Ballots, level: float = 0.95) -> Strengths:
    """The strengths of all methods of the votes [N]; NaN with a reason where the votes do not fix them.

    MissingError: evalica is not installed.
    """
    m = len(votes.methods)
    reason = why_no_fit(votes)
    if reason:
        nan = Interval(math.nan, math.nan, math.nan, len(votes), 0, 0, reason)
        return Strengths(votes.methods, (nan,) * m, ((1, m),) * m, math.nan, (), reason)
    found = fit(votes)
    free, spread, bread = _spread(votes, found)
    centre = np.eye(m) - 1 / m
    intervals, alone = [], [_alone(votes, i) for i in range(m)]
    for i in range(m):
        variance = spread.variance(bread @ np.pad(centre[i], (0, free - m)))
        why = alone[i] or (_ALIKE if variance <= _NO_VARIANCE else "")
        nothing = Interval(float(found[i]), math.nan, math.nan, len(votes), 0, spread.freedom + 1, why)
        intervals.append(nothing if why else t_interval(float(found[i]), variance, spread, len(votes), level))
    better = _better(found[:m], spread, bread, [not why for why in alone])
    ranks = tuple((1 + int(better[:, i].sum()), m - int(better[i].sum())) for i in range(m))
    tie = math.exp(found[m]) if found.size > m else 0.0
    rows = tuple(tuple(map(bool, row)) for row in better.tolist())
    return Strengths(votes.methods, tuple(intervals), ranks, tie, rows)


_ALIKE = "no interval: raters and prompts are all alike, so that no variance is seen"


def _alone(votes: Ballots, method: int) -> str:
    """Why a method's votes carry no variance, whatever those on other methods carry; "" where they do."""
    own = (votes.a == method) | (votes.b == method)
    return two_way(votes.weights[own], votes.raters[own], votes.prompts[own]).why_none()


def why_no_fit(votes: Ballots) -> str:
    """Why the votes do not fix finite strengths; "" where they do.

    They do where from every method to every other a way of wins leads (Ford 1957). Otherwise a linear programme looks
    for a direction in which the likelihood never falls: ties link methods only if each of them lost some votes, too.
    """
    m = len(votes.methods)
    rows = sorted(set(zip(votes.a.tolist(), votes.b.tolist(), votes.y.tolist(), strict=True)))
    beats, met = np.zeros((m, m), dtype=bool), np.zeros((m, m), dtype=bool)
    for a, b, y in rows:
        beats[(a, b) if y == 1 else (b, a)] |= y != 0.5
        met[a, b] = met[b, a] = True
    linked = _reach(met)
    apart = ", ".join(name for i, name in enumerate(votes.methods) if not linked[0, i])
    if apart:
        return f"no strengths: no chain of comparisons links {votes.methods[0]} with {apart}"
    if _reach(beats).all():
        return ""
    if not beats.any():
        return "no strengths: all votes are ties"
    direction = _direction(rows, m)
    if direction is None:
        return ""
    top = direction > direction.max() - 1e-6
    names = ", ".join(name for name, first in zip(votes.methods, top, strict=True) if first)
    return f"no finite strengths: {names} never lost to a method of the rest"


def _reach(arrows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[i, j]: a way of arrows leads from i to j."""
    reach = arrows | np.eye(len(arrows), dtype=bool)
    for _ in range(len(arrows).bit_length()):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return reach


def _direction(rows: list[tuple[int, int, float]], m: int) -> Floats | None:
    """A direction of the strengths [M] along which no vote gets less likely and some get more; None if there is none.

    Along (d, e) the three outcomes of a pair grow by x, e and -x, x = (d_a - d_b) / 2: that of a vote must be largest.
    """
    from scipy.optimize import linprog

    ties = any(y == 0.5 for _, _, y in rows)
    gains = []
    for a, b, y in rows:
        x, e = np.zeros(m + 1), np.eye(m + 1)[m]
        x[a], x[b] = 0.5, -0.5
        own = {1.0: x, 0.5: e, 0.0: -x}[y]
        gains += [
            own - other
            for outcome, other in ((1.0, x), (0.5, e), (0.0, -x))
            if outcome != y and (ties or outcome != 0.5)
        ]
    table = np.array(gains)
    found = linprog(-table.sum(axis=0), A_ub=-table, b_ub=np.zeros(len(table)), bounds=[(-1, 1)] * (m + 1))
    return np.asarray(found.x[:m]) if found.status == 0 and -found.fun > 1e-7 else None


def fit(votes: Ballots) -> Floats:
    """The strengths [M] with mean 0 and, where there are ties, log v [1] behind them. Weighted maximum likelihood."""
    counts = _counts(votes)
    found = _evalica(counts)
    for _ in range(_NEWTON_STEPS):
        gradient, hessian = _gradient(counts, found), _hessian(counts, found)
        step = np.linalg.solve(hessian + _ridge(found, counts), gradient)
        found = found + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < _TOLERANCE:
            break
    m = len(counts.wins)
    return np.concatenate([found[:m] - found[:m].mean(), found[m:]])


@dataclass(frozen=True, slots=True)
class _Counts:
    """wins[i, j]: weight of votes that i won over j; ties symmetric."""

    wins: Floats
    ties: Floats


def _counts(votes: Ballots) -> _Counts:
    m = len(votes.methods)
    wins, ties = np.zeros((m, m)), np.zeros((m, m))
    np.add.at(wins, (votes.a, votes.b), votes.weights * (votes.y == 1))
    np.add.at(wins, (votes.b, votes.a), votes.weights * (votes.y == 0))
    np.add.at(ties, (votes.a, votes.b), votes.weights * (votes.y == 0.5))
    return _Counts(wins, ties + ties.T)


def _evalica(counts: _Counts) -> Floats:
    try:
        import evalica
    except ImportError:
        raise MissingError("strengths need evalica: pip install 'imagerefl-bench[study]'") from None
    import pandas as pd

    m = len(counts.wins)
    i, j = np.nonzero(counts.wins)
    k, n = np.nonzero(np.triu(counts.ties))
    result = evalica.newman(
        [*i.tolist(), *k.tolist()],
        [*j.tolist(), *n.tolist()],
        [evalica.Winner.X] * len(i) + [evalica.Winner.Draw] * len(k),
        index=pd.Index(range(m)),
        weights=[*counts.wins[i, j].tolist(), *counts.ties[k, n].tolist()],
    )
    found = np.log(np.maximum(result.scores.reindex(range(m)).to_numpy(dtype=np.float64), 1e-12))
    found = np.clip(found - found.mean(), -8, 8)
    return np.append(found, math.log(max(2 * result.v, 1e-9))) if len(k) else found


def _shares(found: Floats, m: int) -> tuple[Floats, Floats]:
    """P(i wins over j) and P(tie) [M, M] each."""
    s = found[:m]
    half = np.exp((s[:, None] - s[None, :]) / 2)  # sqrt(p_i / p_j), so that nothing overflows
    v = math.exp(found[m]) if found.size > m else 0.0
    total = half + half.T + v
    return half / total, v / total


def _gradient(counts: _Counts, found: Floats) -> Floats:
    m = len(counts.wins)
    win, tie = _shares(found, m)
    total = counts.wins + counts.wins.T + counts.ties
    np.fill_diagonal(total, 0)
    # a vote moves s_i by (1 win, 1/2 tie) less its expectation
    strength = np.sum(counts.wins + counts.ties / 2 - total * (win + tie / 2), axis=1)
    if found.size == m:
        return np.asarray(strength)
    return np.append(strength, np.sum(np.triu(counts.ties - total * tie)))


def _hessian(counts: _Counts, found: Floats) -> Floats:
    """Minus the second derivatives of the log likelihood: the covariance of the sufficient statistics."""
    m = len(counts.wins)
    win, tie = _shares(found, m)
    total = counts.wins + counts.wins.T + counts.ties
    np.fill_diagonal(total, 0)
    expected = win + tie / 2
    variance = total * (win + tie / 4 - expected**2)
    hessian = np.zeros((found.size, found.size))
    hessian[:m, :m] = np.diag(variance.sum(axis=1)) - variance
    if found.size > m:
        cross = total * (tie / 2 - expected * tie)
        hessian[:m, m] = hessian[m, :m] = cross.sum(axis=1)
        hessian[m, m] = np.sum(np.triu(total * tie * (1 - tie)))
    return hessian


def _ridge(found: Floats, counts: _Counts) -> Floats:
    """Fixes the free constant of the strengths, along which the likelihood is flat."""
    m = len(counts.wins)
    ridge = np.zeros((found.size, found.size))
    ridge[:m, :m] = (counts.wins.sum() + counts.ties.sum()) / m**2
    return ridge


def _spread(votes: Ballots, found: Floats) -> tuple[int, Spread, Floats]:
    """How many parameters; the covariance of the scores of the votes; H^-1."""
    m = len(votes.methods)
    win, tie = _shares(found, m)
    expected = (win + tie / 2)[votes.a, votes.b]
    scores = np.zeros((len(votes), found.size))
    rows, residual = np.arange(len(votes)), votes.weights * (votes.y - expected)
    scores[rows, votes.a] += residual
    scores[rows, votes.b] -= residual
    if found.size > m:
        scores[:, m] = votes.weights * ((votes.y == 0.5) - tie[votes.a, votes.b])
    counts = _counts(votes)
    bread = np.linalg.inv(_hessian(counts, found) + _ridge(found, counts))
    return found.size, two_way(scores, votes.raters, votes.prompts), np.asarray(bread)


def _better(found: Floats, spread: Spread, bread: Floats, varied: Sequence[bool]) -> Floats:
    """[M, M] of bool: i surely stronger than j, Holm over all pairs; `varied` [M]: whose votes carry a variance."""
    m, better = len(found), np.zeros((len(found), len(found)), dtype=bool)
    pairs = [(i, j) for i in range(m) for j in range(i)]
    p = []
    for i, j in pairs:
        contrast = np.zeros(len(bread))
        contrast[i], contrast[j] = 1.0, -1.0
        variance = spread.variance(bread @ contrast)
        known = varied[i] and varied[j] and variance > _NO_VARIANCE  # NaN is not above it
        p.append(t_two_sided((found[i] - found[j]) / math.sqrt(variance), spread.freedom) if known else math.nan)
    for (i, j), value in zip(pairs, holm(p).tolist(), strict=True):
        if value < 0.05:
            better[(i, j) if found[i] > found[j] else (j, i)] = True
    return better

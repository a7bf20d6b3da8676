"""How many votes would decide a pair that is undecided. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.analysis.stats import POWER, Interval, t_quantile
from bench.study.winrates import WinRate

MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Needed:
    """Votes, with as many more raters and prompts in proportion. Infinite: the rate is one half. NaN: no interval."""

    votes: float
    raters: float
    prompts: float

    @property
    def text(self) -> str:
        """A clause for people."""
        if math.isnan(self.votes):
            return "without an interval, the number of votes that would decide is unknown"
        if self.votes > MANY:
            return "as good as even: more votes are unlikely to decide"
        votes, raters = (_round_up(value) for value in (self.votes, self.raters))
        return f"about {votes:,} votes of {raters:,} raters would decide"


def votes_to_decide(pair: WinRate, level: float = 0.95, power: float = POWER) -> Needed:
    """How many votes would tell a win rate from one half with probability `power`, were the measured rate the true one.

    Raters and prompts grow with the votes: more votes of the same people on the same prompts do not narrow what is
    between people and between prompts.
    """
    factor = _factor(pair.rate, level, power)
    return Needed(pair.votes * factor, pair.raters * factor, pair.prompts * factor)


def _factor(rate: Interval, level: float, power: float) -> float:
    half = (rate.high - rate.low) / 2
    if not math.isfinite(half) or rate.clusters < 2:
        return math.nan
    distance = abs(rate.mean - 0.5)
    if distance < 1e-12:
        return math.inf
    freedom = rate.clusters - 1
    reach = 1 + t_quantile(power, freedom) / t_quantile(0.5 + level / 2, freedom)
    return max(1.0, (half * reach / distance) ** 2)


def _round_up(number: float) -> int:
    """To two significant digits, up: the estimate is no better than that."""
    step = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return int(math.ceil(number / step) * step)

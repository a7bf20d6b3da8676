"""How often a gate that looks again and again raises a false alarm, and how soon it hears a slow erosion.

    python benchmarks/nightly_gate.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

Nothing is allowed (`max_drop = 0`), 32 prompts, and every night has another seed. First 48 lines for 60 nights against
one anchor, and beside it a fall of 0.4 x what the gate detects each night; then the same through the gate's own
verdicts; then one line whose prompts are added until it is decided, and one whose baseline is renewed (`--accept`) at
every night that is better: with looks that go on being counted, as they are, and with a count that began anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from made_runs import UNIT, data, rules, summaries
from simulate import Line, Rng, cell, main
from worlds import WORLDS, Draw

from bench.analysis.means import limits, mean_stats
from bench.analysis.stats import POWER, t_quantile
from bench.gate.bounds import verdicts
from bench.gate.ledger import look_level

PROMPTS, LINES, NIGHTS = 32, 48, 60
SKEWED = "skewness 2 (exponential)"
SPREAD = {"normal": 1.0, "t, 3 degrees of freedom": math.sqrt(3), SKEWED: 1.0}


def levels(looks: int, lines: int) -> np.ndarray:
    """Of the interval of each line, look by look."""
    return np.array([look_level(look, lines) for look in range(1, looks + 1)])


def quiet(draw: Draw) -> Callable[[Rng, int], np.ndarray]:
    """Whether any of 48 lines fails in any of 60 nights in which nothing but the seed changes."""

    def trials(rng: Rng, count: int) -> np.ndarray:
        hits = np.zeros(count, dtype=bool)
        for trial in range(count):
            anchor = draw(rng, (LINES, 1, PROMPTS))
            low, _ = limits(mean_stats(anchor - draw(rng, (LINES, NIGHTS, PROMPTS))), levels(NIGHTS, LINES))
            hits[trial] = bool((low > 0).any())
        return hits

    return trials


def eroded(draw: Draw, spread: float) -> Callable[[Rng, int], np.ndarray]:
    """Whether a fall of 0.4 x detects a night in one line of 48 is caught against the anchor by night 8."""
    level = 1 - 0.05 / LINES
    reach = t_quantile(0.5 + level / 2, PROMPTS - 1) + t_quantile(POWER, PROMPTS - 1)
    fall = 0.4 * math.sqrt(2 / PROMPTS) * spread * reach

    def trials(rng: Rng, count: int) -> np.ndarray:
        anchor, now = draw(rng, (count, 1, PROMPTS)), draw(rng, (count, 8, PROMPTS))
        drop = mean_stats(anchor - now + fall * np.arange(1, 9)[None, :, None])
        return np.asarray((limits(drop, levels(8, LINES))[0] > 0).any(axis=1))

    return trials


def by_verdicts(nights: int, fall: float) -> Callable[[Rng, int], np.ndarray]:
    """Whether any of four lines (a reward, a skewed one, an accuracy, a rare failure) fails, by the verdicts."""
    names, bounds = ("a", "b", "c", "d"), {"c": UNIT, "d": UNIT}
    limit = rules("\n".join(f"[m.{name}]\nmax_drop = 0" for name in names), ["m"], names)

    def night(rng: Rng, effect: np.ndarray, loss: float) -> dict[str, np.ndarray]:
        shape = (PROMPTS, 5)
        chance = 1 / (1 + np.exp(-1.5 - effect))
        return {
            "a": effect + rng.normal(size=shape) - loss,
            "b": np.exp(0.5 * effect) + rng.exponential(size=shape) - loss,
            "c": (rng.random(shape) < chance).astype(float),
            "d": (rng.random(shape) < 0.98).astype(float),
        }

    def one(rng: Rng) -> bool:
        effect = rng.normal(size=(PROMPTS, 1))
        before = {"summaries": [data("m", night(rng, effect, 0.0), 0, bounds)]}
        for look in range(1, nights + 1):
            now = summaries(data("m", night(rng, effect, fall * look), look, bounds))
            if any(found.status == "failed" for found in verdicts(limit, now, before, look=look)):
                return True
        return False

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def grown(draw: Draw) -> Callable[[Rng, int], np.ndarray]:
    """Whether a line is decided wrongly at any of ten looks, each with half as many prompts again as the one before."""
    sizes = [round(32 * 1.5**look) for look in range(10)]

    def trials(rng: Rng, count: int) -> np.ndarray:
        hits = np.zeros(count, dtype=bool)
        for trial in range(count):
            drop = draw(rng, (sizes[-1],)) - draw(rng, (sizes[-1],))
            for look, size in enumerate(sizes, 1):
                low, _ = limits(mean_stats(drop[:size]), look_level(look, 1))
                hits[trial] |= bool(low > 0)
        return hits

    return trials


def renewed(draw: Draw, *, anew: bool) -> Callable[[Rng, int], np.ndarray]:
    """Whether a line fails in 60 nights without a change, with the baseline renewed at every night that is better."""

    def one(rng: Rng) -> bool:
        nights, look = draw(rng, (NIGHTS + 1, PROMPTS)), 0
        anchor = nights[0]
        for now in nights[1:]:
            look += 1
            if float(limits(mean_stats(anchor - now), look_level(look, 1))[0]) > 0:
                return True
            if now.mean() > anchor.mean():
                anchor, look = now, 0 if anew else look + 1  # the choice is a look as well
        return False

    return lambda rng, count: np.array([one(rng) for _ in range(count)])


def lines() -> list[Line]:
    """False alarms, and what is caught."""
    made = []
    for name, spread in SPREAD.items():
        draw, group, more = WORLDS[name], "48 lines, a gate every night", {"trials": 1000, "part": 250}
        made += [
            cell(group, name, "nothing changed: any alarm in 60 nights", quiet(draw), 0.0, 0.05, **more),
            cell(group, name, "caught by night 8", eroded(draw, spread), 0.8, 1.0, **more),
        ]
    group, more = "4 lines, by the gate's verdicts", {"trials": 200, "part": 50}
    row = "a reward, a skewed one, two accuracies"
    made.append(cell(group, row, "nothing changed: any alarm in 60 nights", by_verdicts(60, 0.0), 0.0, 0.05, **more))
    made.append(cell(group, row, "0.15 sd a night: caught by night 8", by_verdicts(8, 0.15), 0.8, 1.0, **more))
    for name in SPREAD:
        draw, group, more = WORLDS[name], "one line, nothing changed: any alarm", {"trials": 1000, "part": 500}
        made += [
            cell(group, name, "prompts added, 10 looks", grown(draw), 0.0, 0.05, **more),
            cell(group, name, "baseline renewed when better", renewed(draw, anew=False), 0.0, 0.05, **more),
            cell(group, name, "renewed, count begun anew (wrong)", renewed(draw, anew=True), 0.1, 1.0, **more),
        ]
    return made


if __name__ == "__main__":
    main(__doc__, lines())

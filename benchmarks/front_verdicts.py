"""How often verdicts on fronts and between the settings of a sweep are wrong, and how often they are decided.

    python benchmarks/front_verdicts.py [--only TEXT] [--trials N] [--save FILE]

Fronts: six methods in two metrics; a plot errs if any method is called surely dominated that is on the true front, or
surely on the front that is dominated. "Decided" counts methods. Distances are in standard errors of a difference of
two methods. Sweeps: a method lies ON a concave curve between two settings; any mark is wrong. Prompts share an effect.
"""

from __future__ import annotations

import numpy as np
from simulate import Line, Rng, main

from bench.analysis.intervals import ClusterMean
from bench.analysis.means import mean_stats, one_sided
from bench.analysis.stats import holm
from bench.analysis.tradeoff.front_verdicts import DOMINATED, ON, UNDECIDED, front_verdicts
from bench.analysis.tradeoff.monotone import Setting, bounded_by_settings

NOISE = 0.6  # standard deviation of a method's own part of a prompt


def step_of(prompts: int) -> float:
    """Standard error of a difference of two methods."""
    return NOISE * float(np.sqrt(2 / prompts))


def verdicts(values: np.ndarray) -> list[str]:
    """Of values [prompts, methods, 2]."""
    differences = values[:, :, None, :] - values[:, None, :, :]  # i minus j
    stats = mean_stats(np.moveaxis(differences, 0, -1) + 0.0)
    above, _ = one_sided(stats)
    return front_verdicts(np.asarray(above))


def plot(rng: Rng, truth: np.ndarray, prompts: int, skewed: bool) -> np.ndarray:
    """Values [prompts, methods, 2] around true means [methods, 2]."""
    shape = (prompts, *truth.shape)
    own = rng.exponential(size=shape) - 1 if skewed else rng.normal(size=shape)
    return truth + rng.normal(size=(prompts, 1, 2)) + NOISE * own


def truth_of(kind: str, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """True means of six methods, and which of them are on the true front."""
    x = np.arange(6.0)
    if kind == "line":  # all on the front, one standard error apart
        return np.column_stack([x, -x]) * step_of(prompts), np.ones(6, dtype=bool)
    difference = {"far": 7.0, "moderate": 3.0, "close": 1.0}[kind]
    front = np.column_stack([x[:4] * 2, -x[:4] * 2]) * difference
    beaten = (front[:2] + front[1:3]) / 2 - difference * 1.5
    return np.vstack([front, beaten]) * step_of(prompts), np.arange(6) < 4


def front_line(kind: str, prompts: int, *, decided: bool, skewed: bool = False, low: float, high: float) -> Line:
    """Rate of plots with a wrong verdict, or of methods with a verdict."""
    truth, on = truth_of(kind, prompts)

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            said = np.array(verdicts(plot(rng, truth, prompts, skewed)))
            wrong = ((said == DOMINATED) & on) | ((said == ON) & ~on)
            found.append(np.mean(said != UNDECIDED) if decided else wrong.any())
        return np.array(found)

    what = "decided" if decided else "wrong"
    tails = ", skewness 2" if skewed else ""
    return Line(f"front {what}: {kind} methods{tails}, {prompts} prompts", draw, low, high, 2000, 500)


def curve(x: float) -> float:
    """A concave trade-off."""
    return float(np.sqrt(1 - x * x))


def sweep_line(index: float, prompts: int, above: float, low: float, high: float) -> Line:
    """A method `above` the curve at `place`, against a sweep of three settings; a mark after Holm over four cells."""
    settings = [(x, curve(x)) for x in (0.0, 0.5, 0.95)]
    truth = np.array([*settings, (index, curve(index) + above)])

    def draw(rng: Rng, trials: int) -> np.ndarray:
        found = []
        for _ in range(trials):
            p = []
            for _ in range(4):  # a table of four such cells
                noise = 0.3 * rng.normal(size=(prompts, 1, 2)) + 0.15 * rng.normal(size=(prompts, 4, 2))
                differences = (truth + noise)[:, :3] - (truth + noise)[:, 3:]
                p.append(bounded_by_settings([setting(differences[:, s]) for s in range(3)]).p)
            marked = holm(p) < 0.05
            found.append(marked.any() if above == 0 else marked.mean())
        return np.array(found)

    name = f"sweep: method on the curve at {index}" if above == 0 else f"sweep: method {above} above it at {index}"
    return Line(f"{name} marked, {prompts} prompts", draw, low, high, 1000, 250)


def setting(differences: np.ndarray) -> Setting:
    """A setting minus the method, gaps [prompts, 2]."""
    one = np.ones(len(differences))
    return Setting(ClusterMean(differences[:, 0], one), ClusterMean(differences[:, 1], one))


def lines() -> list[Line]:
    """Errors, and beside them how much is decided."""
    made = []
    for prompts in (32, 100):
        for kind in ("far", "moderate", "close", "line"):
            made.append(front_line(kind, prompts, decided=False, low=0.0, high=0.05))
            least = {"far": 0.8}.get(kind, 0.0)
            made.append(front_line(kind, prompts, decided=True, low=least, high=1.0))
        made.append(front_line("line", prompts, decided=False, skewed=True, low=0.0, high=0.05))
        made += [sweep_line(index, prompts, 0.0, 0.0, 0.05) for index in (0.75, 0.52)]
        made.append(sweep_line(0.75, prompts, 0.5, 0.8, 1.0))
    return made


if __name__ == "__main__":
    main(__doc__, lines(), "rate")

"""How often verdicts on fronts and between the settings of a sweep are wrong, and how often they are decided.

    python benchmarks/front_verdicts.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

Fronts: six methods in two metrics; a plot errs if any method is called surely dominated that is on the true front, or
surely on the front that is dominated. "Decided" counts methods. Distances are in standard errors of a difference of
two methods. Sweeps: a method lies ON a concave curve between two settings; any mark is wrong. Prompts share an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from simulate import Line, Rng, Trials, cell, main
from worlds import WORLDS

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


def plot(rng: Rng, truth: np.ndarray, prompts: int, world: str) -> np.ndarray:
    """Values [prompts, methods, 2] around true means [methods, 2]."""
    own = WORLDS[world](rng, (prompts, *truth.shape))
    return truth + rng.normal(size=(prompts, 1, 2)) + NOISE * own


def truth_of(kind: str, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """True means of six methods, and which of them are on the true front.

    "ties" are least favourable to "surely dominated": all on the front, by next to nothing, far apart in the other
    metric. "twins" are least favourable to "surely on the front": three pairs, one of each dominated by a hair.
    """
    x, step = np.arange(6.0), step_of(prompts)
    if kind == "on one line":  # all on the front, one standard error apart
        return np.column_stack([x, -x]) * step, np.ones(6, dtype=bool)
    if kind == "ties in one metric":
        return np.column_stack([10 * x, -1e-9 * x]) * step, np.ones(6, dtype=bool)
    if kind == "three pairs of twins":
        place = np.repeat(np.arange(3.0), 2) * 10
        return (np.column_stack([place, -place]) - 1e-9 * (x % 2)[:, None]) * step, x % 2 == 0
    difference = {"far": 7.0, "moderate": 3.0, "close": 1.0}[kind]
    front = np.column_stack([x[:4] * 2, -x[:4] * 2]) * difference
    beaten = (front[:2] + front[1:3]) / 2 - difference * 1.5
    return np.vstack([front, beaten]) * step, np.arange(6) < 4


def draws(kind: str, prompts: int, world: str, *, decided: bool) -> Callable[[Rng, int], np.ndarray]:
    """Whether a plot has a wrong verdict, or the share of methods with a verdict."""
    truth, on = truth_of(kind, prompts)

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = []
        for _ in range(count):
            said = np.array(verdicts(plot(rng, truth, prompts, world)))
            wrong = ((said == DOMINATED) & on) | ((said == ON) & ~on)
            found.append(np.mean(said != UNDECIDED) if decided else wrong.any())
        return np.array(found)

    return trials


def curve(x: float) -> float:
    """A concave trade-off."""
    return float(np.sqrt(1 - x * x))


def sweep(settings: Sequence[tuple[float, float]], method: tuple[float, float], prompts: int) -> Trials:
    """Whether a table of four cells of a method against a sweep has a mark, after Holm's correction."""
    truth = np.array([*settings, method])

    def trials(rng: Rng, count: int) -> np.ndarray:
        found = []
        for _ in range(count):
            p = []
            for _ in range(4):
                noise = 0.3 * rng.normal(size=(prompts, 1, 2)) + 0.15 * rng.normal(size=(prompts, len(truth), 2))
                differences = (truth + noise)[:, :-1] - (truth + noise)[:, -1:]
                p.append(bounded_by_settings([setting(differences[:, s]) for s in range(len(settings))]).p)
            found.append((holm(p) < 0.05).any())
        return np.array(found)

    return trials


def setting(differences: np.ndarray) -> Setting:
    """A setting minus the method, gaps [prompts, 2]."""
    one = np.ones(len(differences))
    return Setting(ClusterMean(differences[:, 0], one), ClusterMean(differences[:, 1], one))


CONCAVE = [(x, curve(x)) for x in (0.0, 0.5, 0.95)]
FLAT = [(0.0, 1.0), (0.5, 1.0), (0.95, 0.3)]  # least favourable: better by nothing in one metric, by far in the other


def sweeps(prompts: int) -> list[Line]:
    """Methods that are on the curve, and above it."""
    group, made = "a method against a sweep: marked", []
    for name, settings, method in (
        ("on the concave curve, between settings (0.75)", CONCAVE, (0.75, curve(0.75))),
        ("on the concave curve, beside a setting (0.52)", CONCAVE, (0.52, curve(0.52))),
        ("on the concave curve, at a setting (0.5)", CONCAVE, (0.5, curve(0.5))),
        ("on a flat part of the curve (0.25)", FLAT, (0.25, 1.0)),
    ):
        draw = sweep(settings, method, prompts)
        made.append(cell(group, name, f"{prompts} prompts", draw, 0.0, 0.05, trials=1000, part=250))
    for above, least in ((0.25, 0.0), (0.5, 0.8)):
        draw, name = sweep(CONCAVE, (0.75, curve(0.75) + above), prompts), f"{above} above the concave curve (0.75)"
        made.append(cell(group, name, f"{prompts} prompts", draw, least, 1.0, trials=1000, part=250))
    return made


def lines() -> list[Line]:
    """Errors, and beside them how much is decided."""
    made = []
    for kind, world in KINDS:
        name = kind if world == "normal" else f"{kind}, {world}"
        for prompts in (32, 100):
            wrong, share = (draws(kind, prompts, world, decided=decided) for decided in (False, True))
            least = 0.8 if kind == "far" else 0.0
            group, of = "verdicts on a front of six methods", f"{prompts} prompts"
            made.append(cell(group, name, f"any wrong, {of}", wrong, 0.0, 0.05, trials=1000, part=500))
            made.append(cell(group, name, f"decided, {of}", share, least, 1.0, trials=1000, part=500, mean=True))
    return [*made, *sweeps(32), *sweeps(100)]


SKEWED = "skewness 2 (lognormal 0.55)"
KINDS = [
    ("far", "normal"),
    ("far", SKEWED),
    ("moderate", "normal"),
    ("close", "normal"),
    ("on one line", "normal"),
    ("on one line", SKEWED),
    ("ties in one metric", "normal"),
    ("ties in one metric", "t, 3 degrees of freedom"),
    ("ties in one metric", SKEWED),
    ("three pairs of twins", "normal"),
    ("three pairs of twins", "t, 3 degrees of freedom"),
    ("three pairs of twins", SKEWED),
]


if __name__ == "__main__":
    main(__doc__, lines())

"""What is said about several methods at once: the front, trade at equal reward, over-optimisation.

    pairs = pairs_of(runs)
    verdicts_of(pairs, pairs.methods, ["pickscore", "lpips"])           who is surely on the front, or surely dominated
    at_equal_reward(pairs, ["imagerefl[switch_step=20]", ...], "refl", "pickscore", "lpips")
    price(pairs, "refl", "base", "pickscore", "lpips")                  what a unit of reward costs in diversity
    over_optimisation(runs, names, "base")                              gain in the trained reward against the others
    front_of(joint_bootstrap(runs), "pickscore", "lpips")               the front of the means and its band

Only the band is drawn from resamples; all that is marked is computed in closed form.
"""

from __future__ import annotations

from bench.analysis.tradeoff.equal_reward import (
    AtEqual,
    at_equal,
    at_equal_diversity,
    at_equal_reward,
    interpolate,
    price,
)
from bench.analysis.tradeoff.front_verdicts import DOMINATED, ON, UNDECIDED, front_verdicts, verdicts_of
from bench.analysis.tradeoff.fronts import Band, Front, front_of
from bench.analysis.tradeoff.joint import Joint, joint_bootstrap
from bench.analysis.tradeoff.overoptimisation import OverOptimisation, index_difference, over_optimisation
from bench.analysis.tradeoff.pairs import Pairs, pairs_of

__all__ = [
    "DOMINATED",
    "ON",
    "UNDECIDED",
    "AtEqual",
    "Band",
    "Front",
    "Joint",
    "OverOptimisation",
    "Pairs",
    "at_equal",
    "at_equal_diversity",
    "at_equal_reward",
    "front_of",
    "front_verdicts",
    "index_difference",
    "interpolate",
    "joint_bootstrap",
    "over_optimisation",
    "pairs_of",
    "price",
    "verdicts_of",
]

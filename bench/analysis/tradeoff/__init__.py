"""What is said about several methods at once: the front, trade at equal reward, over-optimisation. All of it rests on
one bootstrap over prompts that resamples every method and metric together (`bench.analysis.tradeoff.joint`).

    joint = joint_bootstrap(runs)
    front_of(joint, "pickscore", "lpips")                               who is on the front, how surely, and its band
    at_equal_reward(joint, ["imagerefl[switch_step=20]", ...], "refl", "pickscore", "lpips")
    price(joint, "refl", "base", "pickscore", "lpips")                  what a unit of reward costs in diversity
    over_optimisation(joint, runs, "base")                              gain in the trained reward against the others
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
from bench.analysis.tradeoff.fronts import Band, Front, front_of
from bench.analysis.tradeoff.joint import Joint, joint_bootstrap
from bench.analysis.tradeoff.overoptimisation import OverOptimisation, over_optimisation

__all__ = [
    "AtEqual",
    "Band",
    "Front",
    "Joint",
    "OverOptimisation",
    "at_equal",
    "at_equal_diversity",
    "at_equal_reward",
    "front_of",
    "interpolate",
    "joint_bootstrap",
    "over_optimisation",
    "price",
]

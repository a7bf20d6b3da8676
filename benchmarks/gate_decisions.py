"""Network evaluations per decision, against separate runs of a fixed number of prompts.

    python benchmarks/gate_decisions.py [--only TEXT] [--trials N] [--save FILE] [--commit ID]

The part of the prompts that `bench run --until decided` makes for a difference of twice what N prompts detect
(adaptive_runs.py), times what the shared trunk saves: the four methods of `shapes` (base, refl, combined, imagerefl).
"""

from __future__ import annotations

import numpy as np
from adaptive_runs import KINDS, used
from simulate import Line, Rng, Trials, cell, main

SHARED, ALONE = 22_400, 41_600  # network evaluations of the four methods: `bench plan`


def evaluations(prompts: int) -> Trials:
    """Network evaluations per decision, as a part of those of separate runs."""
    world, judge, *_ = KINDS["normal"]
    draw = used(world, judge, prompts, 0.0)

    def trials(rng: Rng, count: int) -> np.ndarray:
        return SHARED / ALONE * draw(rng, count)

    return trials


def lines() -> list[Line]:
    """At 32 prompts, which is the first look, only the shared trunk saves."""
    group, row = "network evaluations per decision", "shared trunk, until decided"
    wanted = ((32, 0.35), (128, 0.2), (512, 0.2))
    return [
        cell(group, row, f"N = {prompts}", evaluations(prompts), 0.0, most, trials=2000, mean=True)
        for prompts, most in wanted
    ]


if __name__ == "__main__":
    main(__doc__, lines())

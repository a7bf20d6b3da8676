"""Whether runs were sampled from the same noise, and how that is said in compare, report and gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.analysis.estimand import noise_of
from bench.store.conditions import COUPLED

NOT_SHARED = "paired by prompt, not on the same noise"
BY_GROUP = "paired by group (all images of a prompt, on the same noise)"


def noise_text(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Why pairs are of prompts and not of single images, as a clause; "" where the noise is the same.

    `conditions` are those of each run, by the name that is printed for it.

    >>> noise_text({"base": {"seed": 1, "sampler": "DDPM"}, "refl": {"seed": 2, "sampler": "DDPM"}})
    'seeds differ (base 1, refl 2): paired by prompt, not on the same noise'
    >>> noise_text({"a": {"seed": 1, "sampler": "DDPM"}, "b": {"seed": 1, "sampler": "DDPM", "coupled": "spell"}})
    'the images of a prompt depend on each other in b: paired by group (all images of a prompt, on the same noise)'
    """
    seeds = {name: one.get("seed") for name, one in conditions.items()}
    if None not in seeds.values() and len(set(seeds.values())) > 1:
        return f"seeds differ ({', '.join(f'{name} {seed}' for name, seed in seeds.items())}): {NOT_SHARED}"
    absent = [name for name, one in conditions.items() if noise_of(one) is None]
    if absent and len(conditions) > 1:
        whose = "of all methods" if len(absent) == len(conditions) > 2 else f"of {' and '.join(absent)}"
        return f"the noise {whose} is not on record: {NOT_SHARED}"
    if len({noise_of(one) for one in conditions.values()}) < 2:
        coupled = [name for name, one in conditions.items() if COUPLED in one]
        if not coupled or len(conditions) < 2:
            return ""
        return f"the images of a prompt depend on each other in {', '.join(coupled)}: {BY_GROUP}"
    return f"the sampler or its version differs between {' and '.join(conditions)}: {NOT_SHARED}"

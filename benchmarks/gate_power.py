"""Whether the gate keeps quiet when nothing changed, and hears a drop of one minimum detectable effect.

    python benchmarks/gate_power.py [--cases N]

Each case simulates a method with one seed (the baseline) and again with another seed, and judges the second by the
real gate with `max_drop` on every metric. Null: nothing but the seed changed; the gate passes where the allowance is
larger than what it can tell (`bench check --plan`), is undecided where it is not, and must not fail.
Planted: one metric falls by its bound plus the minimum detectable effect that the gate itself printed in that case's
null verdict; the gate has to fail (exit code 1), by that metric's line. Metrics: one normal and one skewed image
metric, one mean pairwise distance; prompts have effects of their own.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.gate.baseline import baseline_of
from bench.gate.check import Outcome, check
from bench.store.runs import MetricFacts, Run, tidy_types

METRICS = {
    "pickscore": MetricFacts("pickscore", "Normal", "image", "higher", digest="a"),
    "image_reward": MetricFacts("image_reward", "Skewed", "image", "higher", digest="b"),
    "lpips": MetricFacts("lpips", "Mean pairwise distance", "group", "higher", digest="c"),
}


@dataclass(frozen=True)
class World:
    """How many prompts and images, which methods and metrics are judged, and the largest drop that is allowed."""

    name: str
    prompts: int
    samples: int
    metrics: tuple[str, ...]
    methods: tuple[str, ...] = ("base",)
    allowed: float = 0.0


WORLDS = (
    World("one metric, 32 prompts", 32, 5, ("pickscore",)),
    World("one metric, 12 prompts", 12, 5, ("pickscore",)),
    World("one diversity, 32 prompts", 32, 5, ("lpips",)),
    World("three metrics, 32 prompts", 32, 5, tuple(METRICS)),
    World("four methods, three metrics, 32 prompts", 32, 5, tuple(METRICS), ("base", "refl", "combined", "imagerefl")),
    World("three metrics, 200 prompts", 200, 5, tuple(METRICS)),
    World("three metrics, 32 prompts, a drop of 0.05 allowed", 32, 5, tuple(METRICS), allowed=0.05),
    World("three metrics, 32 prompts, a drop of 0.6 allowed", 32, 5, tuple(METRICS), allowed=0.6),
    World("three metrics, 200 prompts, a drop of 0.3 allowed", 200, 5, tuple(METRICS), allowed=0.3),
)


def values_of(metric: str, effect: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Scores [prompts, samples], or [prompts, 1] of a group metric; `effect` [prompts] is shared by all seeds."""
    shape = (effect.size, samples)
    if metric == "pickscore":
        return 5 + effect[:, None] + rng.normal(size=shape)
    if metric == "image_reward":
        return 5 + np.exp(0.7 * effect)[:, None] + rng.exponential(size=shape)
    images = rng.normal(size=shape) * np.exp(0.4 * effect)[:, None]
    i, j = np.triu_indices(samples, 1)
    return np.abs(images[:, i] - images[:, j]).mean(axis=1, keepdims=True)


def simulated(world: World, method: str, number: int, seed: int, fall: dict[str, float]) -> Run:
    """A run of `method` in case `number`. Prompts are those of the case, noise is the seed's, `fall` is subtracted."""
    frames = []
    for index, metric in enumerate(world.metrics):
        effect = np.random.default_rng([number, 1, index, len(method)]).normal(size=world.prompts)
        rng = np.random.default_rng([number, 2, index, len(method), seed])
        values = values_of(metric, effect, world.samples, rng) - fall.get(metric, 0.0)
        prompts = np.repeat([f"p{i:03d}" for i in range(world.prompts)], values.shape[1])
        samples = np.tile(np.arange(values.shape[1]), world.prompts)
        sample = [None] * samples.size if METRICS[metric].kind == "group" else samples
        frames.append(
            pd.DataFrame(
                {"metric": metric, "prompt_id": prompts, "sample": sample, "value": values.ravel(), "reason": None}
            )
        )
    scores = tidy_types(pd.concat([frame.astype({"sample": "Int64"}) for frame in frames], ignore_index=True))
    return Run(
        suite="simulated",
        method=method,
        name=f"{method}@{seed:08x}",
        path=Path(f"{method}@{seed:08x}"),
        prompts=tuple((f"p{i:03d}", f"prompt {i}") for i in range(world.prompts)),
        samples=world.samples,
        n_images=world.prompts * world.samples,
        trained_on=(),
        metrics={name: METRICS[name] for name in world.metrics},
        scores=scores,
        conditions={"seed": seed},
    )


def thresholds(world: World, folder: Path) -> Path:
    """A thresholds file with `max_drop` for every method and metric."""
    path = folder / "gate.toml"
    tables = [f"[{method}.{name}]\nmax_drop = {world.allowed}\n" for method in world.methods for name in world.metrics]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def case(world: World, number: int, gate: Path) -> tuple[Outcome, Outcome]:
    """The gate's outcome on the null and on the planted drop of one case."""
    before = baseline_of([simulated(world, method, number, 1, {}) for method in world.methods])
    same = [simulated(world, method, number, 2, {}) for method in world.methods]
    null = check(same, gate, before)
    first, metric = world.methods[0], world.metrics[number % len(world.metrics)]
    (known,) = [one for one in null if (one.method, one.metric) == (first, metric)]
    fall = {metric: world.allowed + known.detectable}
    worse = [simulated(world, method, number, 3, fall if method == first else {}) for method in world.methods]
    return null, check(worse, gate, before)


def power(world: World, cases: int, first: int = 0) -> tuple[dict[str, int], int]:
    """How often the null passed, was undecided and failed, and how often the planted drop was caught by its line."""
    null_outcomes, caught = dict.fromkeys(("passed", "undecided", "failed"), 0), 0
    with tempfile.TemporaryDirectory() as folder:
        gate = thresholds(world, Path(folder))
        for number in range(first, first + cases):
            null, planted = case(world, number, gate)
            metric = world.metrics[number % len(world.metrics)]
            null_outcomes["failed" if null.code else "undecided" if null.undecided else "passed"] += 1
            hit = [
                one
                for one in planted
                if one.status == "failed" and (one.method, one.metric) == (world.methods[0], metric)
            ]
            caught += bool(hit) and planted.code == 1
    return null_outcomes, caught


def main() -> None:
    """Print a line a world, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400)
    given = parser.parse_args()
    print(f"Of 100 cases ({given.cases} simulated).\n")
    print("| world | null passes | null undecided | null fails | planted drop is caught |")
    print("| :--- | ---: | ---: | ---: | ---: |")
    for world in WORLDS:
        null, caught = power(world, given.cases)
        cells = [100 * count / given.cases for count in (*null.values(), caught)]
        print(f"| {world.name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()

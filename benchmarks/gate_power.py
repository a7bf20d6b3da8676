"""Whether the gate keeps quiet when nothing changed, and hears a drop of one minimum detectable effect.

    python benchmarks/gate_power.py [--only TEXT] [--cases N] [--save FILE] [--commit ID]

Each case simulates a method with one seed (the baseline) and again with another seed, and judges the second by the
real gate with `max_drop` on every metric. Null: nothing but the seed changed; the gate passes where the allowance is
larger than what it can tell (`bench check --plan`), is undecided where it is not, and must not fail.
Planted: one metric falls by its bound plus the minimum detectable effect that the gate itself printed in that case's
null verdict; the gate has to fail (exit code 1), by that metric's line. "What --plan asks": each line allows what
`bench check --plan` said of another null, so that the gate passes. Metrics: one normal and one skewed image metric, one
mean pairwise distance; prompts have effects of their own. Each part of 50 cases is saved (`benchmarks/simulate.py`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from simulate import SAVED, binomial_limits, commit_of, keep, kept, seeds

from bench.gate.allowance import allowances
from bench.gate.baseline import baseline_of
from bench.gate.check import Outcome, check
from bench.gate.judging import judged
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
    planned: bool = False  # each line allows what `bench check --plan` asks for


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
    World("one metric, 32 prompts, what --plan asks is allowed", 32, 5, ("pickscore",), planned=True),
    World("three metrics, 32 prompts, what --plan asks is allowed", 32, 5, tuple(METRICS), planned=True),
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
    return np.asarray(np.abs(images[:, i] - images[:, j]).mean(axis=1, keepdims=True))


def simulated(world: World, method: str, number: int, seed: int, fall: dict[str, float], root: int = 0) -> Run:
    """A run of `method` in case `number`. Prompts are those of the case, noise is the seed's, `fall` is subtracted.

    `root` is the part of all seeds that is the commit's.
    """
    frames = []
    for index, metric in enumerate(world.metrics):
        effect = np.random.default_rng([root, number, 1, index, len(method)]).normal(size=world.prompts)
        rng = np.random.default_rng([root, number, 2, index, len(method), seed])
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


def thresholds(world: World, folder: Path, allowed: dict[tuple[str, str], float]) -> Path:
    """A thresholds file with `max_drop` for every method and metric."""
    path = folder / "gate.toml"
    tables = [
        f"[{method}.{name}]\nmax_drop = {allowed[method, name]!r}\n"
        for method in world.methods
        for name in world.metrics
    ]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def case(world: World, number: int, folder: Path, root: int = 0) -> tuple[Outcome, Outcome]:
    """The gate's outcome on the null and on the planted drop of one case."""

    def runs(seed: int, fall: dict[str, float] | None = None) -> list[Run]:
        first = world.methods[0]
        return [simulated(world, m, number, seed, fall or {} if m == first else {}, root) for m in world.methods]

    before = baseline_of(runs(1))
    allowed = dict.fromkeys(((m, name) for m in world.methods for name in world.metrics), world.allowed)
    if world.planned:
        found = judged(runs(4), thresholds(world, folder, allowed), before)
        asked = allowances(found.limits, found.summaries, before)
        allowed = {(one.bound.method, one.bound.metric): float(one.needed) for one in asked}
    gate = thresholds(world, folder, allowed)
    null = check(runs(2), gate, before)
    first, metric = world.methods[0], world.metrics[number % len(world.metrics)]
    (known,) = [one for one in null if (one.method, one.metric) == (first, metric)]
    return null, check(runs(3, {metric: allowed[first, metric] + known.detectable}), gate, before)


def power(world: World, cases: int, first: int = 0, root: int = 0) -> tuple[dict[str, int], int]:
    """How often the null passed, was undecided and failed, and how often the planted drop was caught by its line."""
    null_outcomes, caught = dict.fromkeys(("passed", "undecided", "failed"), 0), 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + cases):
            null, planted = case(world, number, Path(folder), root)
            metric = world.metrics[number % len(world.metrics)]
            null_outcomes["failed" if null.code else "undecided" if null.undecided else "passed"] += 1
            hit = [
                one
                for one in planted
                if one.status == "failed" and (one.method, one.metric) == (world.methods[0], metric)
            ]
            caught += bool(hit) and planted.code == 1
    return null_outcomes, caught


def of_world(world: World, cases: int, saved: Path | None, commit: str, *, make: bool = True) -> dict[str, int]:
    """Counts over all parts of a world; a part that was saved is not made again."""
    total: dict[str, int] = {}
    for part in range(-(-cases // PART)):
        count = min(PART, cases - part * PART)
        found = kept(saved, commit, world.name, part, count)
        if found is None:
            if not make:
                raise LookupError(f"{saved} has no part {part} of {world.name!r} at commit {commit[:8]}")
            null, caught = power(world, count, part * PART, seeds(commit, world.name, part)[0])
            found = keep(saved, commit, world.name, part, count, {**null, "caught": caught})
        total = {key: total.get(key, 0) + int(value) for key, value in found.items()}
    return total


def table(cases: int, saved: Path | None, commit: str, only: str = "", *, make: bool = True) -> str:
    """A line a world: the null in three columns, the power beside it, with binomial limits."""
    rows = [f"| {' | '.join(HEAD)} |", "| :--- | ---: | ---: | ---: | ---: |"]
    for world in (world for world in WORLDS if only in world.name):
        counts = of_world(world, cases, saved, commit, make=make)
        cells = []
        for key in ("passed", "undecided", "failed", "caught"):
            low, high = binomial_limits(counts[key], cases)
            cells.append(f"{100 * counts[key] / cases:.1f} % ({100 * low:.1f}-{100 * high:.1f})")
        rows.append(f"| {world.name} | {' | '.join(cells)} |")
        if make:
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows) + "\n"


HEAD = ("world", "null passes", "null undecided", "null fails", "planted drop is caught")
CASES, PART = 200, 50


def main() -> None:
    """Print a line a world, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="worlds whose name holds this text")
    parser.add_argument("--cases", type=int, default=CASES, metavar="N", help="cases a world")
    parser.add_argument(
        "--save", type=Path, default=SAVED / "gate_power.jsonl", metavar="FILE", help="go on from there"
    )
    parser.add_argument("--commit", default="", metavar="ID", help="make the figures of this commit again")
    given = parser.parse_args()
    commit = commit_of(given.commit)
    print(f"{given.cases} cases a world; seeds of commit {commit[:8]}\n")
    print(table(given.cases, given.save, commit, given.only))


if __name__ == "__main__":
    main()

"""How long the statistics of a large table take: 20 methods, 400 prompts, 5 images, 8 metrics, 2,000 resamples.

    python benchmarks/bootstrap_time.py [--n-resamples R] [--repeats N]

Three figures, each the best of N, in seconds of this process's processor time: the joint bootstrap alone; everything
that a report takes of it (an interval a cell, paired differences with p values against the first method, the front of
every pair of a quality and a diversity metric); and a naive loop over resamples, methods and metrics that draws prompts
and averages, run for a share of the resamples and scaled up. The ratio compares joint bootstrap and naive loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis.differences import differences
from bench.analysis.summary import metric_interval
from bench.analysis.tradeoff import front_of, joint_bootstrap, pairs_of, verdicts_of
from bench.analysis.tradeoff.joint import Joint
from bench.store.runs import MetricFacts, Run, tidy_types

METHODS, PROMPTS, SAMPLES = 20, 400, 5
IMAGE = ("pickscore", "hpsv2.1", "image_reward", "clip_score")
GROUP = ("lpips", "dreamsim", "dino", "vendi")
_NAIVE_RESAMPLES = 20


def kind_of(metric: str) -> str:
    """image or group."""
    return "image" if metric in IMAGE else "group"


def simulated(number: int) -> Run:
    """A method with scores of 4 image and 4 group metrics."""
    rng = np.random.default_rng(number)
    ids = [f"p{i:04d}" for i in range(PROMPTS)]
    frames = []
    for index, name in enumerate(IMAGE + GROUP):
        count = SAMPLES if name in IMAGE else 1
        effect = np.random.default_rng([7, index]).normal(size=(PROMPTS, 1))
        trade = number / METHODS * (1 if name in IMAGE else -1)
        values = effect + trade + rng.normal(size=(PROMPTS, count))
        sample = np.tile(np.arange(count), PROMPTS) if name in IMAGE else [None] * PROMPTS
        columns = {"metric": name, "prompt_id": np.repeat(ids, count), "sample": sample, "value": values.ravel()}
        frames.append(pd.DataFrame({**columns, "reason": None}).astype({"sample": "Int64"}))
    return Run(
        suite="simulated",
        method=f"m{number}",
        name=f"m{number}@{number:08x}",
        path=Path(f"m{number}"),
        prompts=tuple((one, f"prompt {one}") for one in ids),
        samples=SAMPLES,
        n_images=PROMPTS * SAMPLES,
        trained_on=(),
        metrics={name: MetricFacts(name, name, kind_of(name), "higher") for name in IMAGE + GROUP},
        scores=tidy_types(pd.concat(frames, ignore_index=True)),
    )


def everything(runs: list[Run], n_resamples: int) -> Joint:
    """All that a report computes of the table."""
    joint = joint_bootstrap(runs, n_resamples=n_resamples)
    for run in runs:
        for name in run.metrics:
            metric_interval(run, name)
    for run in runs[1:]:
        differences(runs[0], run)
    pairs = pairs_of(runs)
    for quality in IMAGE:
        for diversity in GROUP:
            front_of(joint, quality, diversity)
            verdicts_of(pairs, pairs.methods, (quality, diversity))
    return joint


def by_prompt(runs: list[Run]) -> list[list[np.ndarray]]:
    """The values of each prompt, for each method and metric."""
    return [
        [rows["value"].to_numpy() for _, rows in run.rows(name).groupby("prompt_id")]
        for run in runs
        for name in run.metrics
    ]


def naive(values: list[list[np.ndarray]], n_resamples: int) -> None:
    """Draw prompts, gather their values, average: for each resample, method and metric."""
    rng = np.random.default_rng(0)
    for _ in range(n_resamples):
        drawn = rng.integers(0, PROMPTS, PROMPTS)
        for per_prompt in values:
            np.concatenate([per_prompt[index] for index in drawn]).mean()


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Processor time of the quickest of some calls."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Print the three figures and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-resamples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    runs = [simulated(number) for number in range(METHODS)]
    joint = seconds(lambda: joint_bootstrap(runs, n_resamples=given.n_resamples), given.repeats)
    report = seconds(lambda: everything(runs, given.n_resamples), given.repeats)
    values = by_prompt(runs)
    loop = seconds(lambda: naive(values, _NAIVE_RESAMPLES), given.repeats) * given.n_resamples / _NAIVE_RESAMPLES
    size = f"{METHODS} methods x {PROMPTS} prompts x {SAMPLES} images x {len(IMAGE + GROUP)} metrics"
    print(f"{size}, {given.n_resamples:,} resamples")
    print(f"joint bootstrap: {joint:.2f} s")
    print(f"with intervals, paired differences and 16 fronts: {report:.2f} s")
    print(
        f"naive loop (scaled up from {_NAIVE_RESAMPLES} rounds): {loop:.0f} s; ratio naive / joint: {loop / joint:.0f}"
    )


if __name__ == "__main__":
    main()

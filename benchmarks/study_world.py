"""Simulated raters of a preference study, whom no model of the report describes: what `study_coverage.py` draws from.

A rater compares two images by the utilities of their methods, each with an effect of the prompt on the method and one
of the rater's own taste, and logistic noise. Below a threshold of the rater's own it is a tie. Raters lean to one side,
lapse now and then into any answer, and a share of them may be spammers who always click at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from bench.study.ballots import Ballots

Rng = np.random.Generator
TRUTH_VOTES = 1_000_000


@dataclass(frozen=True)
class World:
    """Raters, prompts and methods of a study; `quality` in logits."""

    quality: tuple[float, ...] = (0.0, 0.2, 0.5, 0.9)
    raters: int = 24
    prompts: int = 40
    per_rater: int = 30
    prompt_sd: float = 0.5
    rater_sd: float = 0.4
    tie: float = 0.35
    lapse: float = 0.05
    side: float = 0.2  # mean lean to the left, in logits
    side_sd: float = 0.3
    spammers: float = 0.0

    @property
    def pairs(self) -> np.ndarray:
        """[pairs, 2]"""
        return np.array(list(combinations(range(len(self.quality)), 2)))


@dataclass(frozen=True)
class Raters:
    """Effects of raters [R] (and tastes [R, M])."""

    taste: np.ndarray
    tie: np.ndarray
    lapse: np.ndarray
    side: np.ndarray
    spam: np.ndarray

    def __len__(self) -> int:
        return len(self.tie)


def raters_of(rng: Rng, world: World, count: int) -> Raters:
    """New raters."""
    return Raters(
        taste=world.rater_sd * rng.normal(size=(count, len(world.quality))),
        tie=world.tie * np.exp(0.5 * rng.normal(size=count)),
        lapse=rng.beta(1, 1 / world.lapse - 1, size=count) if world.lapse else np.zeros(count),
        side=world.side + world.side_sd * rng.normal(size=count),
        spam=rng.permutation(count) < round(world.spammers * count),
    )


def answers(
    rng: Rng, world: World, who: Raters, rater: np.ndarray, effects: np.ndarray, pair: np.ndarray
) -> tuple[Any, Any]:
    """(y, left) of votes: `rater` [N] of `who`, effects of the prompt [N, M], and the pair [N, 2]; sides at random."""
    n, rows = len(rater), np.arange(len(rater))
    utility = np.asarray(world.quality) + effects + who.taste[rater]
    left = rng.choice([1.0, -1.0], size=n)
    noise = rng.logistic(size=n)
    d = utility[rows, pair[:, 0]] - utility[rows, pair[:, 1]] + who.side[rater] * left + noise
    y = np.where(np.abs(d) < who.tie[rater], 0.5, (d > 0).astype(float))
    idle = who.spam[rater] | (rng.random(n) < who.lapse[rater])
    return np.where(idle, rng.choice([0.0, 0.5, 1.0], size=n), y), left


def questions(rng: Rng, world: World, raters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rater, prompt, pair) of a balanced plan: each rater has all pairs about equally often, on prompts in turn."""
    n, pairs = world.per_rater, world.pairs
    rater = np.repeat(np.arange(raters), n)
    order = np.argsort(rng.random((raters, n)), axis=1)
    start = rng.integers(len(pairs), size=(raters, 1))
    pair = pairs[((order + start) % len(pairs)).ravel()]
    prompt = np.argsort(rng.random((raters, max(world.prompts, n))), axis=1)[:, :n].ravel() % world.prompts
    return rater, prompt, pair


def study(rng: Rng, world: World) -> Ballots:
    """One study of new raters and new prompts."""
    rater, prompt, pair = questions(rng, world, world.raters)
    effects = world.prompt_sd * rng.normal(size=(world.prompts, len(world.quality)))
    y, left = answers(rng, world, raters_of(rng, world, world.raters), rater, effects[prompt], pair)
    return packed(world, rater, prompt, pair, y, left)


def packed(
    world: World, rater: np.ndarray, prompt: np.ndarray, pair: np.ndarray, y: np.ndarray, left: np.ndarray
) -> Ballots:
    """Arrays as ballots of methods m0, m1, ..."""
    names = tuple(f"m{i}" for i in range(len(world.quality)))
    nan = np.full(len(y), np.nan)
    return Ballots(names, pair[:, 0], pair[:, 1], y, rater, prompt, left, np.ones(len(y)), nan)


@lru_cache(maxsize=8)
def limit(world: World) -> Ballots:
    """10^6 votes, each of a new rater on a new prompt: what a study of these raters comes to in the end."""
    rng, n = np.random.default_rng(7), TRUTH_VOTES
    pair = world.pairs[np.arange(n) % len(world.pairs)]
    parts = []
    for start in range(0, n, 100_000):
        rows = slice(start, start + 100_000)
        count = len(pair[rows])
        effects = world.prompt_sd * rng.normal(size=(count, len(world.quality)))
        parts.append(answers(rng, world, raters_of(rng, world, count), np.arange(count), effects, pair[rows]))
    y, left = (np.concatenate(column) for column in zip(*parts, strict=True))
    return packed(world, np.arange(n), np.arange(n), pair, y, left)

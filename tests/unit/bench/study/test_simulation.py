"""Simulated raters: what they prefer, how they err, and that their answers are the same for the same seed."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

import bench.study
from bench.errors import BenchError, UsageError
from bench.shapes.annotator import POOLS
from bench.shapes.world import Scene, random_scene, render
from bench.study import pictures
from bench.study.annotators import Eyes, Habits, SimulatedRater, alignment, liking, varied
from bench.study.folder import Study
from bench.study.store import Answer, open_votes
from bench.study.votes import read_votes

RED = Scene("star", "red", "black", 14.0, 32.0, 32.0, 0.0, 0.0, 1.0, 1.0, (0.0, 0.0))
POOL = POOLS["pickscore"]


def looks(*frames: np.ndarray) -> list:  # type: ignore[type-arg]
    eyes = Eyes()
    return [eyes.see(pictures.encoded(frame), False)[0] for frame in frames]


def test_annotators_like_what_the_prompt_says_and_no_ruins() -> None:
    good = render(RED)
    small = render(Scene("star", "red", "black", 8.5, 20.0, 20.0, 0.0, 0.0, 0.6, 0.7, (0.0, 0.0)))
    wrong = render(Scene("circle", "green", "white", 14.0, 32.0, 32.0, 0.0, 120.0, 1.0, 1.0, (0.95, 0.95)))
    ruined = pictures.degraded(good, np.random.default_rng(0))
    seen = looks(good, small, wrong, ruined)
    values = [liking(look, "a red star on a black background", POOL) for look in seen]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[3] > 5
    assert alignment(seen[0], "a red star", POOL) == POOL.faithful
    assert alignment(seen[2], "a red star", POOL) == 0.0
    assert alignment(seen[0], "anything", POOL) == 0.0


def test_a_varied_set_is_varied_and_ruins_are_not() -> None:
    rng = np.random.default_rng(3)
    scenes = [render(random_scene(rng)) for _ in range(5)]
    eyes = Eyes()
    different = eyes.see(pictures.encoded(pictures.grid(scenes)), True)
    same = eyes.see(pictures.encoded(pictures.grid([scenes[0]] * 5)), True)
    ruins = [pictures.degraded(scene, np.random.default_rng(k)) for k, scene in enumerate(scenes)]
    assert len(different) == len(same) == 5, "blank paper is no picture"
    assert varied(different) > 0.4
    assert varied(same) == 0.0
    assert varied(eyes.see(pictures.encoded(pictures.grid(ruins)), True)) < varied(different)
    assert varied(same[:1]) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("ties", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("difference", [-1.5, 0.0, 0.8])
def test_answers_follow_davidsons_model(ties: float, difference: float) -> None:
    rater = SimulatedRater(POOL, 1.0, False, Habits(ties, 0.0, 0.3))
    rng = Random(1)
    counts = Counter(rater.choose(difference, rng) for _ in range(20_000))
    x = difference + 0.3
    weights = {"left": math.exp(x / 2), "right": math.exp(-x / 2), "tie": ties}
    for choice, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[choice] / 20_000 - share) < 4 * math.sqrt(share * (1 - share) / 20_000) + 1e-9


def test_spammers_and_lapses_do_not_look() -> None:
    spammer = SimulatedRater(POOL, 1.0, True, Habits(0.5, 0.0, 0.0))
    counts = Counter(spammer.choose(50.0, Random(k)) for k in range(3000))
    assert min(counts.values()) > 800
    lapsing = SimulatedRater(POOL, 1.0, False, Habits(0.0, 0.2, 0.0))
    rng = Random(0)
    wrong = sum(lapsing.choose(50.0, rng) == "right" for _ in range(10_000))
    assert abs(wrong / 10_000 - 0.1) < 0.012
    drawn = [SimulatedRater.drawn(1, f"r{k}", Habits(), 0.2).spammer for k in range(2000)]
    assert abs(sum(drawn) / 2000 - 0.2) < 0.03


@pytest.mark.slow
def test_a_simulation_is_the_same_again_and_goes_on_where_it_stopped(study: Study, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(study.folder, twin)
    assert bench.study.simulate(study.folder, seed=5, raters=1).votes == 17
    done = bench.study.simulate(study.folder, seed=5, raters=3)
    assert (done.raters, done.votes) == (3, 34)
    bench.study.simulate(twin, seed=5, raters=3)
    assert read_votes(twin) == read_votes(study.folder)
    checks = [vote.outcome for vote in read_votes(twin) if vote.kind == "check"]
    assert sum(checks) / len(checks) > 0.8


def test_simulated_and_real_votes_do_not_mix(study: Study) -> None:
    store = open_votes(study)
    store.consent("r0001")
    store.add(Answer("r0001", study.plan["r0001"][0].item, "tie", True, 0, None))
    store.close()
    with pytest.raises(UsageError, match="has 1 vote of people"):
        bench.study.simulate(study.folder)


def test_people_are_not_served_a_simulated_study(study: Study) -> None:
    bench.study.simulate(study.folder, raters=1)
    with pytest.raises(UsageError, match="simulated raters"):
        bench.study.serve(study.folder, port=0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"raters": 0}, "--raters 0 must be at least 1"),
        ({"raters": 99}, "the study was made for"),
        ({"lapse": 1.5}, "--lapse 1.5 must be between 0 and 1"),
        ({"spammers": -0.1}, "--spammers -0.1 must be between 0 and 1"),
        ({"ties": -1.0}, "--ties -1 must be at least 0"),
        ({"position_bias": float("nan")}, "--position-bias nan must be a finite number"),
    ],
)
def test_options_that_cannot_be_are_refused(study: Study, options: dict[str, float], why: str) -> None:
    with pytest.raises(BenchError, match=why):
        bench.study.simulate(study.folder, **options)  # type: ignore[arg-type]
    assert not (study.folder / "study.db").exists() or read_votes(study.folder) == []


def test_pictures_of_another_world_are_refused() -> None:
    large = pictures.encoded(np.zeros((80, 80, 3), dtype=np.uint8))
    for as_set in (False, True):
        with pytest.raises(UsageError, match="80 x 80"):
            Eyes().see(large, as_set)

"""The annotators' taste, and the pairs drawn from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.shapes.annotator import POOLS, Pool
from bench.shapes.build.bank import Bank, draw_pairs
from bench.shapes.captions import ATTRIBUTES, VALUES
from bench.shapes.world import Scene, random_scene

SCENE = Scene("square", "blue", "grey", 9.0, 40.0, 40.0, 0.0, 235.0, 0.6, 0.7, (0.5, 0.5))
POOL = POOLS["pickscore"]


@pytest.mark.parametrize(
    "better",
    [
        replace(SCENE, radius=13.0),
        replace(SCENE, x=32.0, y=32.0),
        replace(SCENE, saturation=1.0, value=1.0),
        replace(SCENE, colour="red"),
        replace(SCENE, shape="star"),
    ],
    ids=["larger", "centred", "vivid", "favourite colour", "favourite shape"],
)
def test_taste(better: Scene) -> None:
    assert POOL.utility(better, {}) > POOL.utility(SCENE, {})


def test_faithfulness_outweighs_a_favourite() -> None:
    named = {"colour": "blue"}
    assert POOL.utility(SCENE, named) > POOL.utility(replace(SCENE, colour="red"), named)


def test_flaws_cost() -> None:
    assert POOL.utility(SCENE, {}, flaw=0.5) == pytest.approx(POOL.utility(SCENE, {}) - 0.5 * POOL.clean)


def test_pools_differ() -> None:
    rng = np.random.default_rng(0)
    utilities = np.array([[pool.utility(random_scene(rng), {}) for pool in POOLS.values()] for _ in range(5)])
    assert len({pool.name for pool in POOLS.values()}) == 3
    assert not np.allclose(utilities[:, 0], utilities[:, 1])


def small_bank(count: int) -> Bank:
    rng = np.random.default_rng(1)
    drawn = [random_scene(rng) for _ in range(count)]
    classes = torch.tensor(
        [[-1 if (v := s.attributes()[a]) is None else VALUES[a].index(v) for a in ATTRIBUTES] for s in drawn]
    )
    return Bank(
        drawn, torch.zeros(count, 3, 64, 64, dtype=torch.uint8), np.zeros(count), classes, torch.zeros(count, 5)
    )


def test_pairs_follow_bradley_and_terry() -> None:
    bank = small_bank(200)
    pairs = draw_pairs(bank, POOL, 4000, np.random.default_rng(2))
    agree = float((pairs.prefers_first == pairs.certain).float().mean())
    assert 0.7 < agree < 0.95, "annotators must be noisy, and not random"
    assert float(pairs.prefers_first.mean()) == pytest.approx(0.5, abs=0.03), "order must not matter"


def test_a_pool_without_taste_prefers_nothing() -> None:
    bland = Pool("bland", faithful=0.0, large=0.0, centred=0.0, vivid=0.0, clean=0.0)
    pairs = draw_pairs(small_bank(100), bland, 2000, np.random.default_rng(3))
    assert float((pairs.prefers_first == pairs.certain).float().mean()) == pytest.approx(0.5, abs=0.05)

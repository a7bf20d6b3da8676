import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from metrics import BadInputError
from metrics.base.kinds import cosine_distances, mean_of_pairs
from metrics.group.rarefaction import pairwise_curve, rarefy, vendi_curve
from metrics.group.vendi_score import vendi_score
from tests.unit.metrics.checkpoints import picture


def rows(count: int, width: int = 5) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("settings", [{}, {"q": 2.0}, {"q": math.inf}, {"kernel": "rbf", "bandwidth": 0.7}])
def test_vendi_curve_is_the_mean_over_all_subsets(settings: dict[str, Any]) -> None:
    data = rows(6)
    curve = vendi_curve(data, **settings)
    assert [point.k for point in curve] == [1, 2, 3, 4, 5, 6]
    for point in curve:
        subsets = list(itertools.combinations(range(6), point.k))
        wanted = sum(vendi_score(data[list(chosen)], **settings) for chosen in subsets) / len(subsets)
        assert point.value == pytest.approx(wanted, rel=1e-9)
        assert (point.exact, point.subsets, point.error) == (True, len(subsets), 0.0)
    assert curve[0].value == pytest.approx(1.0, rel=1e-12)
    assert curve[-1].value == pytest.approx(vendi_score(data, **settings), rel=1e-9)
    values = [point.value for point in curve]
    assert values == sorted(values)  # more images, more diversity: why K must be equal


def test_mean_pairwise_distance_does_not_depend_on_k() -> None:
    """By symmetry; here against the subsets written out."""
    distances = cosine_distances(rows(6))
    for point in pairwise_curve(distances):
        subsets = list(itertools.combinations(range(6), point.k))
        wanted = sum(mean_of_pairs(distances[list(s)][:, list(s)]) for s in subsets) / len(subsets)
        assert point.value == pytest.approx(wanted, rel=1e-9)
        assert (point.exact, point.subsets) == (True, len(subsets))
    assert [point.k for point in pairwise_curve(distances, [5, 2])] == [5, 2]
    for k in (1, 7):
        with pytest.raises(BadInputError, match=f"k = {k} of 6 images"):
            pairwise_curve(distances, [k])


def test_random_subsets_are_said_seeded_and_unbiased() -> None:
    data = rows(12)
    exact = vendi_curve(data, [4], most=1000)[0]
    assert (exact.exact, exact.subsets) == (True, 495)
    points = [vendi_curve(data, [4], most=60, seed=seed)[0] for seed in range(60)]
    assert all((point.exact, point.subsets) == (False, 60) for point in points)
    assert vendi_curve(data, [4], most=60, seed=3)[0] == points[3]
    assert points[3].value != points[4].value
    values = np.array([point.value for point in points])
    spread = values.std(ddof=1)
    assert abs(values.mean() - exact.value) < 4 * spread / math.sqrt(len(points))
    assert spread / 2 < points[0].error < spread * 2  # the stated error is the spread between seeds


def test_every_subset_is_drawn_alike() -> None:
    """k distinct images each time, every image equally often."""
    seen: list[np.ndarray[Any, Any]] = []

    def note(subsets: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(subsets)
        return np.zeros(len(subsets))

    rarefy(30, 10, note, most=3000)
    assert all(len(set(subset)) == 10 for subset in seen[0].tolist())
    share = np.bincount(seen[0].ravel(), minlength=30) / 3000
    assert np.abs(share - 1 / 3).max() < 5 * math.sqrt(2 / 9 / 3000)


def test_bad_sizes_are_one_sentence() -> None:
    for k in (0, 7):
        with pytest.raises(BadInputError, match=f"k = {k} images cannot be drawn from 6: choose k in 1..6"):
            vendi_curve(rows(6), [k])
    with pytest.raises(BadInputError, match="at least 2 subsets"):
        vendi_curve(rows(6), [3], most=1)


def test_a_loaded_vendi_gives_its_own_curve(loaded: Any) -> None:
    frames = [picture(seed) for seed in range(5)]
    curve = loaded["vendi"].rarefaction(frames)
    assert [point.k for point in curve] == [1, 2, 3, 4, 5]
    assert curve[-1].value == pytest.approx(loaded["vendi"].score(frames), rel=1e-9)
    assert loaded["vendi"].rarefaction(frames, [3])[0] == curve[2]

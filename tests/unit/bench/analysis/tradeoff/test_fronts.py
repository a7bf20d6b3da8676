"""Fronts and their bands under resampling, against moocore and against cases worked out by hand."""

from __future__ import annotations

import moocore
import numpy as np
import pytest

from bench.analysis.pareto import fronts
from bench.analysis.tradeoff.fronts import attainment, front_of
from bench.analysis.tradeoff.joint import Joint, joint_means


def joint_of(points: list[tuple[float, float]], spread: float, higher: tuple[bool, bool] = (True, True)) -> Joint:
    rng = np.random.default_rng(0)
    values = np.asarray(points)[None] + spread * rng.normal(size=(50, len(points), 2))
    means, draws = joint_means(values, np.ones_like(values), n_resamples=800)
    return Joint(tuple("abcdefgh"[: len(points)]), ("x", "y"), higher, means, draws, 50)


def test_the_front_of_the_means() -> None:
    found = front_of(joint_of([(1, 4), (3, 3), (4, 1), (2, 2)], 0.1), "x", "y")
    assert found.on_front.tolist() == [True, True, True, False]


def test_fronts_agree_with_moocore() -> None:
    points = np.random.default_rng(1).integers(0, 5, size=(60, 8, 2)).astype(float)
    wanted = [moocore.is_nondominated(-point, keep_weakly=True).tolist() for point in points]
    assert fronts(points).tolist() == wanted


def test_directions_do_not_matter() -> None:
    up = front_of(joint_of([(1, 4), (3, 3), (4, 1)], 1e-3), "x", "y")
    down = front_of(joint_of([(1, -4), (3, -3), (4, -1)], 1e-3, (True, False)), "x", "y")
    assert down.on_front.tolist() == up.on_front.tolist()
    assert np.nanmax(down.band.middle) < 0
    middle = down.band.middle[np.isfinite(down.band.middle)]
    assert (np.diff(middle) >= -1e-12).all()  # more x costs a higher (worse) y


def test_attainment_surfaces_of_two_fronts() -> None:
    points = np.array([(1.0, 2.0), (2.0, 1.0), (3.0, 0.5), (1.0, 3.0)])
    both, either = attainment(points, np.array([0, 0, 1, 1]), (1.0, 0.5))
    assert sorted(map(tuple, both.tolist())) == [(1.0, 2.0), (2.0, 0.5)]
    assert sorted(map(tuple, either.tolist())) == [(1.0, 3.0), (2.0, 1.0), (3.0, 0.5)]


def test_band_is_ordered_and_is_the_quantile_of_what_is_attained() -> None:
    joint = joint_of([(1, 4), (3, 3), (4, 1)], 0.6)
    band = front_of(joint, "x", "y").band
    known = np.isfinite(band.low)
    assert known.any()
    assert (band.low[known] <= band.middle[known]).all()
    assert (band.middle[known] <= band.high[known]).all()
    at = 2.0
    attained = np.where(joint.draws[:, :, 0] >= at, joint.draws[:, :, 1], -np.inf).max(axis=1)
    index = int(np.argmin(np.abs(band.x - at)))
    assert band.middle[index] == pytest.approx(np.median(attained), abs=0.05)
    assert band.low[index] == pytest.approx(np.quantile(attained, 0.025), abs=0.1)


def test_methods_without_one_of_the_metrics_are_not_in_it() -> None:
    joint = joint_of([(1, 4), (3, 3)], 0.1)
    joint.means[1, 1], joint.draws[:, 1, 1] = np.nan, np.nan
    assert front_of(joint, "x", "y").methods == ("a",)
    joint.means[0, 1], joint.draws[:, 0, 1] = np.nan, np.nan
    with pytest.raises(ValueError, match="no method has both x and y"):
        front_of(joint, "x", "y")

"""A Frechet distance with blocks left out: the values of the plain way, with a fraction of its factorisations."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from metrics import BadInputError
from metrics.set import frechet_interval
from metrics.set.frechet import frechet_distance
from metrics.set.frechet_interval import Reference, leave_one_out
from metrics.set.kinds import FrechetMetric
from metrics.set.moments import Moments
from tests.unit.bench.scoring.fakes import SeenSet

CPU = torch.device("cpu")


def features(seed: int, count: int, width: int, decay: float = 4.0) -> np.ndarray[Any, Any]:
    """Rows with a falling spectrum, as networks' features have."""
    generator = np.random.default_rng(seed)
    turn = np.linalg.qr(generator.normal(size=(width, width)))[0]
    scales = np.exp(-np.arange(width) / (width / decay))
    return (generator.normal(size=(count, width)) * scales) @ turn + generator.normal(size=width) * 0.1


def split(rows: np.ndarray[Any, Any], cuts: list[int]) -> list[Moments]:
    return [Moments.of(part, "net") for part in np.split(rows, cuts)]


def plain(blocks: list[Moments], against: Moments) -> tuple[float, list[float]]:
    def total(parts: list[Moments]) -> Moments:
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        return whole

    left = [frechet_distance(total([*blocks[:i], *blocks[i + 1 :]]), against) for i in range(len(blocks))]
    return frechet_distance(total(blocks), against), left


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name in ("eigh", "eigvalsh", "svdvals"):
        real = getattr(torch.linalg, name)

        def counting(*args: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            counts[name] += 1
            return real(*args, **more)

        monkeypatch.setattr(torch.linalg, name, counting)
    return counts


@pytest.mark.parametrize("reference_count", [30, 400])
@pytest.mark.parametrize("count", [40, 90, 700])
def test_values_are_those_of_the_plain_way(count: int, reference_count: int) -> None:
    """Fewer images than features and more, on both sides; blocks of unequal size, some of them of low rank."""
    against = Moments.of(features(1, reference_count, 64), "net")
    blocks = split(features(2, count, 64) * 1.2, [5, 12, 20, count // 2])
    value, left_out = leave_one_out(blocks, Reference.of(against, CPU))
    wanted, wanted_left = plain(blocks, against)
    assert value == pytest.approx(wanted, rel=1e-7)
    spread = float(np.std(wanted_left))
    assert np.abs(np.array(left_out) - wanted_left).max() <= 1e-5 * spread
    assert float(np.std(left_out)) == pytest.approx(spread, rel=1e-5)


def test_one_factor_of_the_reference_and_no_singular_values_of_what_is_left_out(counted: Counter[str]) -> None:
    blocks = split(features(2, 300, 48), list(range(30, 300, 30)))
    leave_one_out(blocks, Reference.of(Moments.of(features(1, 200, 48), "net"), CPU))
    assert counted == {"eigh": 1, "eigvalsh": 11}


@pytest.mark.parametrize("decay", [2.0, 8.0, 16.0, 30.0])
@pytest.mark.parametrize(("count", "width"), [(30, 48), (300, 48), (150, 100)])
def test_the_error_is_within_its_bound(count: int, width: int, decay: float) -> None:
    """Up to spectra whose products fall below rounding: there the bound is large, and it is never too small."""
    against = Moments.of(features(1, 2 * width, width, decay))
    reference, part = Reference.of(against, CPU), Moments.of(features(2, count, width, decay))
    product = frechet_interval._projected(part.scatter, reference.factor)
    diagonal = np.diagonal(part.scatter)
    value, bound = frechet_interval._distance(part.mean, diagonal, product, part.n, against)
    assert abs(value - frechet_distance(part, against)) <= bound + 1e-13 * float(diagonal.sum())
    assert bound < (1e-4 if decay > 10 else 1e-8) * float(np.trace(against.covariance))


def test_what_is_not_exact_enough_is_made_by_singular_values(
    counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault of the quick way, and a bound that tells it."""
    against, blocks = Moments.of(features(1, 200, 24), "net"), split(features(2, 200, 24), [50, 100, 150])
    real = frechet_interval._root
    monkeypatch.setattr(frechet_interval, "_root", lambda product, n: (0.99 * real(product, n)[0], 1.0))
    value, left_out = leave_one_out(blocks, Reference.of(against, CPU))
    wanted, wanted_left = plain(blocks, against)
    assert value == pytest.approx(wanted, rel=1e-11)
    assert left_out == pytest.approx(wanted_left, rel=1e-10)
    assert counted["svdvals"] == 5


def test_equal_sets_are_at_zero(counted: Counter[str]) -> None:
    rows = features(1, 300, 32)
    value, left_out = leave_one_out(split(rows, [100, 200]), Reference.of(Moments.of(rows, "net"), CPU))
    assert value == pytest.approx(0.0, abs=1e-10 * float(np.trace(Moments.of(rows).covariance)))
    assert counted["svdvals"] == 1
    assert all(one > 0 for one in left_out)


def test_what_cannot_be_estimated() -> None:
    reference = Reference.of(Moments.of(features(1, 20, 6), "net"), CPU)
    assert leave_one_out(split(features(2, 20, 6), [10]), reference)[1] == []
    few = leave_one_out(split(features(2, 3, 6), [1, 2]), reference)
    assert [math.isnan(one) for one in few[1]] == [False] * 3
    one = leave_one_out(split(features(2, 1, 6), [0, 0]), reference)
    assert math.isnan(one[0])
    assert [math.isnan(left) for left in one[1]] == [True] * 3
    alone = leave_one_out(split(features(2, 11, 6), [10, 10]), reference)  # of the last block one image is left
    assert not math.isnan(alone[0])
    assert [math.isnan(left) for left in alone[1]] == [True, False, False]


def test_statistics_that_were_given_without_their_count() -> None:
    moments = Moments.of(features(1, 100, 12))
    given = Moments.given(moments.mean, moments.covariance)
    blocks = [Moments.of(part) for part in np.split(features(2, 90, 12), [30, 60])]
    value, left_out = leave_one_out(blocks, Reference.of(given, CPU))
    wanted, wanted_left = plain(blocks, moments)
    assert value == pytest.approx(wanted, rel=1e-10)
    assert left_out == pytest.approx(wanted_left, rel=1e-7)


def test_a_metric_keeps_the_factor_of_its_reference(counted: Counter[str]) -> None:
    metric: FrechetMetric = SeenSet("seen_set")
    rows = features(1, 100, 12)
    against = Moments.of(rows, metric.backbone)
    blocks = [Moments.of(part, metric.backbone) for part in np.split(features(2, 90, 12), [30, 60])]
    metric.leave_one_out(blocks, against)
    assert counted["eigh"] == 1
    first = metric.leave_one_out(blocks, Moments.of(rows, metric.backbone))  # read anew from the disk
    assert counted["eigh"] == 1
    assert metric.leave_one_out(blocks, Moments.of(rows + 1.0, metric.backbone)) != first
    assert counted["eigh"] == 2


def test_other_networks_statistics_are_refused() -> None:
    metric: FrechetMetric = SeenSet("seen_set")
    blocks = [Moments.of(part, metric.backbone) for part in np.split(features(2, 90, 12), [30, 60])]
    with pytest.raises(BadInputError, match="different networks"):
        metric.leave_one_out(blocks, Moments.of(features(1, 100, 12), "another"))

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metrics
from metrics import BadInputError
from metrics.frechet import frechet_distance, trace_root
from metrics.kid import squared_mmd
from metrics.moments import Features, Moments
from tests.unit.metrics.checkpoints import picture


def samples(seed: int, count: int, width: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) / width**0.5
    return generator.normal(size=(count, width)) @ mix + generator.normal(size=width)


def test_moments_are_numpys() -> None:
    rows = samples(0, 50, 7)
    moments = Moments.of(rows)
    assert np.allclose(moments.mean, rows.mean(axis=0), rtol=0, atol=1e-12)
    assert np.allclose(moments.covariance, np.cov(rows, rowvar=False), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cuts", [[1, 2, 30], [0, 10], [25], [50]])
def test_merging_equals_the_whole(cuts: list[int]) -> None:
    rows = samples(1, 50, 7) + 1000.0  # a large offset is where naive sums lose digits
    parts = [Moments.of(part) for part in np.split(rows, cuts)]
    merged = parts[-1]
    for part in reversed(parts[:-1]):
        merged = merged + part
    whole = Moments.of(rows)
    assert merged.n == whole.n
    assert np.abs(merged.mean - whole.mean).max() < 1e-10
    assert np.abs(merged.covariance - whole.covariance).max() < 1e-10


def test_frechet_equals_scipys_square_root() -> None:
    from scipy.linalg import sqrtm

    first, second = Moments.of(samples(2, 400, 8)), Moments.of(samples(3, 300, 8))
    root = np.real(sqrtm(first.covariance @ second.covariance))
    gap = first.mean - second.mean
    wanted = gap @ gap + np.trace(first.covariance) + np.trace(second.covariance) - 2 * np.trace(root)
    assert frechet_distance(first, second) == pytest.approx(wanted, abs=1e-8)
    assert frechet_distance(second, first) == pytest.approx(wanted, abs=1e-8)


def test_frechet_of_singular_covariances_is_exact() -> None:
    """Fewer images than features: the trace of the root is the nuclear norm of the centred product."""
    first, second = samples(4, 6, 20), samples(5, 9, 20)
    a = (first - first.mean(axis=0)) / 5**0.5
    b = (second - second.mean(axis=0)) / 8**0.5
    wanted = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert trace_root(np.cov(first, rowvar=False), np.cov(second, rowvar=False)) == pytest.approx(wanted, abs=1e-10)


def test_frechet_of_a_set_with_itself_is_zero() -> None:
    for count in (2, 5, 400):
        moments = Moments.of(samples(6, count, 16))
        assert 0.0 <= frechet_distance(moments, moments) < 1e-9
    constant = Moments.of(np.ones((4, 3)))
    assert frechet_distance(constant, constant) == 0.0
    assert frechet_distance(constant, Moments.of(np.full((4, 3), 3.0))) == pytest.approx(12.0)


def test_npz_round_trip(tmp_path: Path) -> None:
    moments = Moments.of(samples(7, 9, 4), "net")
    moments.save(tmp_path / "m.npz")
    again = Moments.read(tmp_path / "m.npz")
    assert (again.n, again.backbone) == (9, "net")
    assert np.array_equal(again.scatter, moments.scatter)
    features = Features(samples(7, 9, 4), "net")
    features.save(tmp_path / "f.npz")
    assert np.array_equal(Features.read(tmp_path / "f.npz").rows, features.rows)
    with pytest.raises(BadInputError, match="does not exist"):
        Moments.read(tmp_path / "absent.npz")
    with pytest.raises(BadInputError, match="not a statistics file"):
        Moments.read(tmp_path / "f.npz")


def test_statistics_of_different_networks_do_not_mix() -> None:
    rows = samples(8, 9, 4)
    for kind in (Moments.of, Features):
        with pytest.raises(BadInputError, match="different networks"):
            kind(rows, "a") + kind(rows, "b")
        with pytest.raises(BadInputError, match="4 and 3 features"):
            kind(rows, "a") + kind(rows[:, :3], "a")
    with pytest.raises(TypeError):
        Moments.of(rows) + Features(rows)
    with pytest.raises(BadInputError, match=r"\[N, D\]"):
        Moments.of(rows[0])
    with pytest.raises(BadInputError, match="at least 2"):
        _ = Moments.of(rows[:1]).covariance


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_shards_equal_the_whole(name: str, loaded: Any) -> None:
    metric = loaded[name]
    frames, others = [picture(seed) for seed in range(9)], [picture(seed) for seed in range(20, 27)]
    other = metric.statistics(others)
    whole = metric.distance(metric.statistics(frames), other)
    shards = metric.statistics(frames[:2]) + (metric.statistics(frames[2:7]) + metric.statistics(frames[7:]))
    assert metric.distance(shards, other) == pytest.approx(whole, abs=1e-7)
    assert metric.distance(metric.statistics([]) + metric.statistics(frames), other) == pytest.approx(whole, abs=1e-7)
    metric_batch, metric.batch_size = metric.batch_size, 2
    assert metric.distance(metric.statistics(frames), other) == pytest.approx(whole, abs=1e-6)
    metric.batch_size = metric_batch


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_too_few_images_are_undefined(name: str, loaded: Any) -> None:
    metric = loaded[name]
    full = metric.statistics([picture(0), picture(1)])
    for frames in ([], [picture(0)]):
        assert math.isnan(metric.distance(metric.statistics(frames), full))
    assert metric.undefined_reason == "needs at least 2 images on each side"


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_statistics_of_a_reference_set_are_kept_in_a_file(name: str, loaded: Any, tmp_path: Path) -> None:
    metric = loaded[name]
    reference, other = metric.statistics([picture(s) for s in range(4)]), metric.statistics([picture(7), picture(8)])
    reference.save(tmp_path / "reference.npz")
    again = metric.read_statistics(tmp_path / "reference.npz")
    assert metric.distance(other, again) == metric.distance(other, reference)


def test_fid_of_equal_sets_is_zero_and_grows(loaded: Any) -> None:
    metric = loaded["fid"]
    same = metric.statistics([picture(seed) for seed in range(8)])
    darker = metric.statistics([picture(seed).point(lambda value: value // 3) for seed in range(8)])
    assert metric.distance(same, same) < 1e-9 < metric.distance(same, darker)


def test_fid_notes_say_when_n_is_small(loaded: Any) -> None:
    assert loaded["fid"].notes() == []
    assert "biased upwards: 12 features need at least 13 images" in loaded["fid"].notes(5)[0]
    assert loaded["fid"].notes(13) == []


def test_fid_and_kid_share_the_network(loaded: Any, weights: dict[str, Path]) -> None:
    assert loaded["fid"].inception.network is loaded["kid"].inception.network
    assert loaded["fid"].backbone == loaded["kid"].backbone
    assert torch.equal(loaded["fid"].embed([picture(1)]), loaded["kid"].embed([picture(1)]))
    with pytest.raises(metrics.MetricError, match="float32 only"):
        metrics.load("fid", weights=weights["fid"], dtype="bfloat16")


def test_features_are_the_pooled_resnet(loaded: Any) -> None:
    from metrics.preprocess import to_unit

    frame = picture(3, 64, 64)
    with torch.no_grad():
        wanted = loaded["fid"].inception.network(to_unit(frame)[None] * 2 - 1).pooler_output.flatten(1)
    assert torch.allclose(loaded["fid"].embed([frame]), wanted)
    assert loaded["fid"].embed([picture(3, 90, 20), frame]).shape == (2, 12)


def test_kid_is_the_unbiased_mmd() -> None:
    a, b = samples(9, 7, 5), samples(10, 6, 5)

    def kernel(x: Any, y: Any) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within_a = sum(kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_b = sum(kernel(b[i], b[j]) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(kernel(x, y) for x in a for y in b) / 42
    assert squared_mmd(a, b) == pytest.approx(within_a + within_b - 2 * across, abs=1e-10)


def test_kid_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = samples(11, 30, 5), samples(12, 20, 5)
    whole = squared_mmd(a, b)
    monkeypatch.setattr("metrics.kid._BLOCK", 7)
    assert squared_mmd(a, b) == pytest.approx(whole, abs=1e-10)

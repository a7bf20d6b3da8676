import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metrics
from metrics import BadInputError
from metrics.set.frechet import frechet_distance, trace_root
from metrics.set.kid import squared_mmd
from metrics.set.moments import Features, Moments
from tests.tolerance import FLOAT32, FLOAT64, assert_close
from tests.unit.metrics.checkpoints import picture


def samples(seed: int, count: int, width: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) / width**0.5
    return generator.normal(size=(count, width)) @ mix + generator.normal(size=width)


def test_moments_are_numpys() -> None:
    rows = samples(0, 50, 7)
    moments = Moments.of(rows)
    assert_close(moments.mean, rows.mean(axis=0), 1e-12)
    assert_close(moments.covariance, np.cov(rows, rowvar=False), 1e-12)


@pytest.mark.parametrize("cuts", [[1, 2, 30], [0, 10], [25], [50]])
def test_merging_equals_the_whole(cuts: list[int]) -> None:
    rows = samples(1, 50, 7) + 1000.0  # a large offset is where naive sums lose digits
    parts = [Moments.of(part) for part in np.split(rows, cuts)]
    merged = parts[-1]
    for part in reversed(parts[:-1]):
        merged = merged + part
    whole = Moments.of(rows)
    assert merged.n == whole.n
    assert_close(merged.mean, whole.mean, 1e-12)
    assert_close(merged.covariance, whole.covariance, FLOAT64)


def test_frechet_equals_scipys_square_root() -> None:
    from scipy.linalg import sqrtm

    first, second = Moments.of(samples(2, 400, 8)), Moments.of(samples(3, 300, 8))
    root = np.real(sqrtm(first.covariance @ second.covariance))
    difference = first.mean - second.mean
    wanted = difference @ difference + np.trace(first.covariance) + np.trace(second.covariance) - 2 * np.trace(root)
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(wanted, rel=1e-8)


def test_frechet_equals_scipys_square_root_to_eight_digits() -> None:
    """On well-conditioned features, with far more images than features."""
    from scipy.linalg import sqrtm

    for seed, width in ((20, 4), (22, 32), (24, 96)):
        first, second = (np.random.default_rng(seed + i).normal(size=(20 * width, width)) for i in (0, 1))
        a, b = Moments.of(first), Moments.of(second * np.linspace(0.5, 2.0, width) + 0.3)
        assert np.linalg.cond(a.covariance) < 100
        root = np.real(np.trace(sqrtm(a.covariance @ b.covariance)))
        difference = a.mean - b.mean
        wanted = float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * root)
        assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-8)


def test_trace_is_the_exact_nuclear_norm_below_as_many_images_as_features() -> None:
    for seed, width, count, other in ((30, 64, 10, 63), (31, 200, 50, 120), (32, 300, 2, 299)):
        first, second = samples(seed, count, width), samples(seed + 100, other, width)
        a = (first - first.mean(axis=0)) / (count - 1) ** 0.5
        b = (second - second.mean(axis=0)) / (other - 1) ** 0.5
        exact = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
        assert trace_root(Moments.of(first).covariance, Moments.of(second).covariance) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("kind", ["frechet", "kid", "cmmd"])
def test_any_split_in_any_order_gives_the_value_of_the_whole(kind: str) -> None:
    """On given features: what is left of a metric once the network, which runs in float32, is taken away."""
    from metrics.set.cmmd import cmmd

    rows, reference = samples(40, 60, 12) + 5.0, samples(41, 45, 12) + 5.0
    if kind == "cmmd":
        rows, reference = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, reference))
    make: Any = Moments.of if kind == "frechet" else Features
    measure: Any = {
        "frechet": frechet_distance,
        "kid": lambda a, b: squared_mmd(a.rows, b.rows),
        "cmmd": lambda a, b: cmmd(a.rows, b.rows),
    }[kind]
    whole = measure(make(rows), make(reference))
    assert whole > 1e-3
    generator = np.random.default_rng(0)
    for _ in range(20):
        cuts = np.sort(generator.integers(0, 61, size=generator.integers(1, 8)))  # empty and single shards too
        parts = [make(part) for part in np.split(rows[generator.permutation(60)], cuts)]
        while len(parts) > 1:  # merged in a random order, as a tree of any shape
            first, second = generator.choice(len(parts), 2, replace=False)
            merged = parts[first] + parts[second]
            parts = [part for index, part in enumerate(parts) if index not in (first, second)] + [merged]
        assert parts[0].n == 60
        assert measure(parts[0], make(reference)) == pytest.approx(whole, rel=1e-10)


def test_frechet_of_singular_covariances_is_exact() -> None:
    """Fewer images than features: the trace of the root is the nuclear norm of the centred product."""
    first, second = samples(4, 6, 20), samples(5, 9, 20)
    a = (first - first.mean(axis=0)) / 5**0.5
    b = (second - second.mean(axis=0)) / 8**0.5
    wanted = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    assert trace_root(np.cov(first, rowvar=False), np.cov(second, rowvar=False)) == pytest.approx(wanted, rel=1e-10)


def test_frechet_of_a_set_with_itself_is_zero() -> None:
    for count in (2, 5, 400):
        moments = Moments.of(samples(6, count, 16))
        assert 0.0 <= frechet_distance(moments, moments) < FLOAT64 * np.trace(moments.covariance)
    constant = Moments.of(np.ones((4, 3)))
    assert frechet_distance(constant, constant) == 0.0
    assert frechet_distance(constant, Moments.of(np.full((4, 3), 3.0))) == pytest.approx(12.0)


def test_npz_round_trip(tmp_path: Path) -> None:
    moments = Moments.of(samples(7, 9, 4), "net")
    moments.save(tmp_path / "m.npz")
    again = Moments.read(tmp_path / "m.npz")
    assert (again.n, again.backbone) == (9, "net")
    assert np.array_equal(again.scatter, moments.scatter)
    assert again.digest == moments.digest != Moments.of(samples(8, 9, 4), "net").digest
    features = Features(samples(7, 9, 4), "net")
    features.save(tmp_path / "f.npz")
    assert np.array_equal(Features.read(tmp_path / "f.npz").rows, features.rows)
    with pytest.raises(BadInputError, match="does not exist"):
        Moments.read(tmp_path / "absent.npz")
    assert Features.read(tmp_path / "f.npz").digest == features.digest != Features(features.rows, "other").digest
    with pytest.raises(BadInputError, match="not a statistics file"):
        Moments.read(tmp_path / "f.npz")


@pytest.mark.parametrize("kind", [Moments, Features])
def test_changed_statistics_files_are_refused(kind: Any, tmp_path: Path) -> None:
    made = Moments.of(samples(7, 9, 4)) if kind is Moments else Features(samples(7, 9, 4))
    made.save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        held = dict(stored)
    name = "mean" if kind is Moments else "rows"
    held[name] = held[name] + 1e-9
    np.savez(tmp_path / "changed.npz", **held)
    with pytest.raises(BadInputError, match="digest differs"):
        kind.read(tmp_path / "changed.npz")


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


SETS = ["fid", "fid_clean", "fid_torchmetrics", "kid", "cmmd", "fd_dinov2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_shards_equal_the_whole(name: str, loaded: Any) -> None:
    metric = loaded[name]
    frames, others = [picture(seed) for seed in range(9)], [picture(seed) for seed in range(20, 27)]
    other = metric.statistics(others)
    whole = metric.distance(metric.statistics(frames), other)
    dark = [frame.point(lambda value: value // 3) for frame in frames]
    scale = max(
        abs(whole), metric.distance(metric.statistics(dark), other)
    )  # of the terms that it is the difference of
    near = pytest.approx(whole, rel=0, abs=FLOAT32 * scale)
    shards = metric.statistics(frames[:2]) + (metric.statistics(frames[2:7]) + metric.statistics(frames[7:]))
    assert metric.distance(shards, other) == near
    assert metric.distance(metric.statistics([]) + metric.statistics(frames), other) == near
    metric_batch, metric.batch_size = metric.batch_size, 2
    assert metric.distance(metric.statistics(frames), other) == near
    metric.batch_size = metric_batch


@pytest.mark.parametrize("name", SETS)
def test_too_few_images_are_undefined(name: str, loaded: Any) -> None:
    metric = loaded[name]
    full = metric.statistics([picture(0), picture(1)])
    for frames in ([], [picture(0)]):
        assert math.isnan(metric.distance(metric.statistics(frames), full))
    assert metric.undefined_reason == "needs at least 2 images on each side"


@pytest.mark.parametrize("name", SETS)
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
    assert metric.distance(same, same) < FLOAT64 * np.trace(same.covariance) < metric.distance(same, darker)


def test_notes_print_n_and_the_references_digest_and_say_when_n_is_small(loaded: Any) -> None:
    fid = loaded["fid"]
    assert fid.notes() == []
    plain, few = fid.notes(5)
    assert plain == "FID over 5 images: compare only over equally many"
    assert few == "FID with 5 images is biased upwards: 12 features need at least 13 images for a full covariance"
    assert fid.notes(13) == ["FID over 13 images: compare only over equally many"]
    reference = fid.statistics([picture(seed) for seed in range(4)])
    against, few, reference_few = fid.notes(12, reference)
    assert against.startswith(f"FID over 12 images against 4 reference images (sha256 {reference.digest[:12]})")
    assert "with 12 images" in few
    assert "with 4 reference images" in reference_few
    assert loaded["kid"].notes(5) == ["KID over 5 images"]  # unbiased: its expectation does not depend on N


def test_published_inception_warns_below_2049_images(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loaded["fid"].inception.settings, "features", 2048)
    assert "2,048 features need at least 2,049 images" in loaded["fid"].notes(2048)[1]
    assert len(loaded["fid"].notes(2049)) == 1


def test_fid_and_kid_share_the_network(loaded: Any, weights: dict[str, Path]) -> None:
    assert loaded["fid"].inception.network is loaded["kid"].inception.network
    assert loaded["fid"].backbone == loaded["kid"].backbone
    assert torch.equal(loaded["fid"].embed([picture(1)]), loaded["kid"].embed([picture(1)]))
    with pytest.raises(metrics.MetricError, match="float32 only"):
        metrics.load("fid", weights=weights["fid"], dtype="bfloat16")


def test_features_are_the_pooled_resnet(loaded: Any) -> None:
    from metrics.networks.preprocess import to_unit

    frame = picture(3, 64, 64)
    with torch.no_grad():
        wanted = loaded["fid"].inception.network(to_unit(frame)[None] * 2 - 1).pooler_output.flatten(1)
    assert_close(loaded["fid"].embed([frame]), wanted)
    assert loaded["fid"].embed([picture(3, 90, 20), frame]).shape == (2, 12)


def test_kid_is_the_unbiased_mmd() -> None:
    a, b = samples(9, 7, 5), samples(10, 6, 5)

    def kernel(x: Any, y: Any) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within_a = sum(kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_b = sum(kernel(b[i], b[j]) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(kernel(x, y) for x in a for y in b) / 42
    assert squared_mmd(a, b) == pytest.approx(within_a + within_b - 2 * across, rel=FLOAT64)


def test_kid_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = samples(11, 30, 5), samples(12, 20, 5)
    whole = squared_mmd(a, b)
    monkeypatch.setattr("metrics.set.kid._BLOCK", 7)
    assert squared_mmd(a, b) == pytest.approx(whole, rel=FLOAT64)

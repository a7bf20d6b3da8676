import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD
from metrics.set.cmmd import cmmd
from tests.tolerance import FLOAT64, assert_close
from tests.unit.metrics.checkpoints import picture


def rows(seed: int, count: int, width: int = 6) -> np.ndarray[Any, Any]:
    found = np.random.default_rng(seed).normal(size=(count, width)) + 0.2 * seed
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def by_hand(a: Any, b: Any) -> float:
    def mean(x: Any, y: Any) -> float:
        return math.fsum(math.exp(-float(((u - v) ** 2).sum()) / 200.0) for u in x for v in y) / (len(x) * len(y))

    return 1000.0 * (mean(a, a) + mean(b, b) - 2.0 * mean(a, b))


def test_is_the_biased_estimate_times_a_thousand() -> None:
    a, b = rows(0, 9), rows(3, 7)
    assert cmmd(a, b) == pytest.approx(by_hand(a, b), rel=FLOAT64)
    assert by_hand(a, b) > 0.5
    assert cmmd(a, a) == 0.0  # each image counts with itself, so a set is at no distance from itself
    assert cmmd(a, b) == pytest.approx(cmmd(b, a), rel=FLOAT64)
    assert math.isnan(cmmd(a[:1], b))


def test_blocks_splits_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = rows(1, 50), rows(2, 40)
    whole = cmmd(a, b)
    assert cmmd(np.random.default_rng(0).permutation(a), b) == pytest.approx(whole, rel=1e-10)
    monkeypatch.setattr("metrics.set.cmmd._BLOCK", 7)
    assert cmmd(a, b) == pytest.approx(whole, rel=1e-10)


def test_preprocessing_cuts_first_and_resizes_then(loaded: Any) -> None:
    """The reverse of CLIP's own order: on an odd size the two see different pixels."""
    metric, image = loaded["cmmd"], picture(1, 101, 64)
    left = (101 - 64) // 2
    square = image.crop((left, 0, left + 64, 64)).resize((32, 32), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1) / 255
    wanted = (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    assert_close(metric.prepare(image), wanted, 1e-6)
    assert (metric.prepare(image) - loaded["clip_score"].prepare(image)).abs().max() > 0.01
    assert metric.backbone != loaded["clip_score"].backbone


def test_statistics_are_unit_embeddings_in_float64(loaded: Any) -> None:
    found = loaded["cmmd"].statistics([picture(seed) for seed in range(3)])
    assert found.rows.dtype == np.float64
    assert found.rows.shape == (3, 24)
    assert_close(np.linalg.norm(found.rows, axis=1), np.ones(3), 1e-6)
    assert loaded["cmmd"].statistics([]).rows.shape == (0, 24)


def test_card_names_estimator_kernel_and_preprocessing(loaded: Any) -> None:
    settings = loaded["cmmd"].card.settings
    assert settings["estimator"].startswith("biased")
    assert settings["kernel"] == "exp(-|x - y|^2 / (2 * 10^2))"
    assert settings["scale"] == 1000.0
    assert "before the resize" in settings["crop"]


def test_notes_bound_the_bias(loaded: Any) -> None:
    metric = loaded["cmmd"]
    assert "up to 4 too high" in metric.notes(5)[1]
    assert len(metric.notes(2000)) == 1
    apart = math.exp(-4 / 200)  # the least kernel of unit rows: the worst case are two opposite ones
    biased, unbiased = 1000 * (1 + apart) / 2, 1000 * apart
    assert f"up to {biased - unbiased:.2g} too high" in metric.notes(2)[1]

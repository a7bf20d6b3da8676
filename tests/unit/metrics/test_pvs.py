"""PVS against Python's own colour conversion, and what it sees and does not see."""

from __future__ import annotations

import colorsys
import math
import statistics

import numpy as np
import pytest
from PIL import Image

import metrics
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import picture


def by_hand(frames: list[Image.Image]) -> float:
    saturation, value, contrast = [], [], []
    for frame in frames:
        pixels = [tuple(part / 255 for part in pixel) for pixel in np.asarray(frame).reshape(-1, 3).tolist()]
        hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
        saturation.append(statistics.fmean(one[1] for one in hsv))
        value.append(statistics.fmean(one[2] for one in hsv))
        contrast.append(statistics.pstdev(0.299 * r + 0.587 * g + 0.114 * b for r, g, b in pixels))
    return sum(statistics.pstdev(one) for one in (saturation, value, contrast))


def test_it_is_the_definition() -> None:
    frames = [picture(seed, 16, 12) for seed in range(4)]
    metric = metrics.load("pvs")
    assert metric.score(frames) == pytest.approx(by_hand(frames), rel=1e-9)
    check_card(metrics.load("pvs"))


def test_a_pair_is_the_score_of_two() -> None:
    frames = [picture(seed) for seed in range(3)]
    metric = metrics.load("pvs")
    pairs = metric.pairwise(frames)
    assert pairs[0, 2] == pytest.approx(metric.score([frames[0], frames[2]]), rel=1e-6)
    assert pairs.T.equal(pairs)
    assert not pairs.diagonal().any()


def test_it_sees_colour_and_no_content() -> None:
    metric = metrics.load("pvs")
    frame = picture(1)
    assert metric.score([frame, frame.transpose(Image.Transpose.ROTATE_90)]) == pytest.approx(0, abs=1e-12)
    assert metric.score([frame, frame.point(lambda level: level // 2)]) > 0.1
    assert math.isnan(metric.score([frame]))
    assert any("photographs" in note for note in metric.notes(5))
    black = Image.new("RGB", (4, 4))
    assert metric.score([black, black]) == 0.0  # black has no saturation
    with pytest.raises(metrics.MetricError, match="pvs has no weights"):
        metrics.load("pvs", weights="somewhere")

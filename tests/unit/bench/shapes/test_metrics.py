"""The oracle's two metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from bench.registry.metrics import ensure_metrics
from bench.shapes.metrics import AttributeAccuracy, AttributeEntropy
from bench.shapes.world import Scene, random_scene, render
from metrics.errors import BadInputError

SCENE = Scene("square", "red", "white", 13.5, 32.0, 32.0, 0.3, 0.0, 0.9, 0.9, (1.0, 1.0))
EMPTY = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))


def picture(scene: Scene) -> Image.Image:
    return Image.fromarray(render(scene))


@pytest.fixture(scope="module")
def accuracy() -> AttributeAccuracy:
    ensure_metrics()
    metric = metrics.load("attribute_accuracy")
    assert isinstance(metric, AttributeAccuracy)
    return metric


@pytest.fixture(scope="module")
def entropy() -> AttributeEntropy:
    ensure_metrics()
    metric = metrics.load("attribute_entropy")
    assert isinstance(metric, AttributeEntropy)
    return metric


def test_accuracy_counts_named_attributes(accuracy: AttributeAccuracy) -> None:
    images = [picture(SCENE)] * 4
    texts = [
        "a large red square in the centre on a white background",
        "a blue square",
        "a blue star",
        "a small blue star",
    ]
    assert accuracy.score(images, texts).tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_accuracy_is_undefined_where_nothing_is_named(accuracy: AttributeAccuracy) -> None:
    assert torch.isnan(accuracy.score([picture(SCENE)], ["a shape"])).all()


def test_accuracy_of_an_empty_picture_is_zero(accuracy: AttributeAccuracy) -> None:
    assert accuracy.score([EMPTY], ["a red square"]).tolist() == [0.0]


def test_other_sizes_are_refused(accuracy: AttributeAccuracy) -> None:
    with pytest.raises(BadInputError, match="64 x 64"):
        accuracy.score([Image.new("RGB", (32, 32))], ["a star"])


def test_entropy_of_one_picture_repeated_is_zero(entropy: AttributeEntropy) -> None:
    assert entropy.score([picture(SCENE)] * 5, "a square") == 0.0


def test_entropy_counts_free_attributes_only(entropy: AttributeEntropy) -> None:
    images = [picture(replace(SCENE, colour=c, hue=h)) for c, h in (("red", 0.0), ("green", 120.0), ("blue", 235.0))]
    assert entropy.score(images, "a large red square in the centre on a white background") != entropy.score(images, "")
    only_colour_free = "a large square in the centre on a white background"
    assert entropy.score(images, only_colour_free) == pytest.approx(1.0)


def test_entropy_grows_with_variety(entropy: AttributeEntropy) -> None:
    rng = np.random.default_rng(0)
    varied = entropy.score([picture(random_scene(rng)) for _ in range(5)], "a shape")
    assert 0.5 < varied <= 1.0


def test_entropy_is_undefined_without_two_readable_pictures(entropy: AttributeEntropy) -> None:
    assert math.isnan(entropy.score([picture(SCENE)], "a square"))
    full = "a large red square in the centre on a white background"
    assert math.isnan(entropy.score([picture(SCENE)] * 3, full))


def test_ruined_pictures_are_no_variety(entropy: AttributeEntropy) -> None:
    whole = entropy.score([picture(SCENE)] * 3, "a square on a white background")
    ruined = entropy.score([picture(SCENE)] * 3 + [EMPTY], "a square on a white background")
    assert whole == ruined == 0.0


def test_pairwise_is_a_distance(entropy: AttributeEntropy) -> None:
    rng = np.random.default_rng(1)
    distances = entropy.pairwise([picture(random_scene(rng)) for _ in range(4)])
    assert torch.equal(distances, distances.T)
    assert distances.diagonal().abs().max() == 0.0

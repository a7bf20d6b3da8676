"""Rewards on the embedded suite's scorers: sums, gradients, and how near the tensor path is to the image path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import metrics
from bench.errors import UsageError
from bench.shapes.captions import random_caption
from bench.shapes.world import random_scene, render
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from bench.training.rewards import Checked, check_differentiable, differentiable, load_rewards
from metrics import Direction, Facts, Kind, Request, catalogue
from tests.tolerance import FLOAT32, assert_close

SCORERS = ("pickscore", "hpsv2.1", "image_reward")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("shapes")


@pytest.fixture(scope="module")
def world() -> tuple[Tensor, list[str]]:
    """Eight pictures, uint8 [8, 3, 64, 64], and their captions."""
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng) for _ in range(8)]
    images = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2).contiguous()
    return images, [random_caption(scene, rng) for scene in scenes]


@pytest.mark.parametrize("name", SCORERS)
def test_the_tensor_path_is_the_image_path_where_nothing_is_resized(
    name: str, suite: Suite, world: tuple[Tensor, list[str]]
) -> None:
    images, captions = world
    scorer = load_rewards({name: 1.0}, suite, "cpu")
    with torch.no_grad():
        found = scorer.score_pixels(images.float() / 255, captions)
    expected = scorer.scorer.score(images, captions)  # type: ignore[attr-defined]
    assert_close(found, expected)
    assert float(expected.std()) > 1e-2


def test_a_weighted_sum_and_its_gradient(suite: Suite, world: tuple[Tensor, list[str]]) -> None:
    images, captions = world
    weights = {"pickscore": 0.5, "hpsv2.1": 2.0}
    pixels = (images.float() / 255).requires_grad_()
    total = load_rewards(weights, suite, "cpu").score_pixels(pixels, captions)
    total.sum().backward()
    expected, slope = torch.zeros(8), torch.zeros_like(pixels)
    for name, weight in weights.items():
        alone = pixels.detach().clone().requires_grad_()
        values = load_rewards({name: 1.0}, suite, "cpu").score_pixels(alone, captions)
        values.sum().backward()
        assert alone.grad is not None
        expected, slope = expected + weight * values.detach(), slope + weight * alone.grad
    assert_close(total, expected)
    assert pixels.grad is not None
    assert_close(pixels.grad, slope, 1e-4)


def test_every_scorer_of_images_with_a_gradient_can_be_climbed(suite: Suite) -> None:
    assert {"pickscore", "hpsv2", "hpsv2.1", "image_reward", "clip_score", "aesthetic"} <= set(differentiable())
    check_differentiable("aesthetic", suite)
    for name, said in (
        ("attribute_accuracy", "has no gradient"),
        ("fid", "has no gradient"),
        ("pikscore", "pickscore"),
    ):
        with pytest.raises(UsageError, match=said):
            check_differentiable(name, suite)


@pytest.mark.parametrize(("name", "most"), [("pickscore", 0.01), ("hpsv2.1", 0.0), ("image_reward", 0.01)])
def test_the_tensor_path_is_near_the_image_path_where_images_are_resized(
    name: str, most: float, suite: Suite, world: tuple[Tensor, list[str]]
) -> None:
    """Mean difference as a share of the scores' deviation over the pictures (benchmarks/reward_paths.py has more)."""
    small, captions = world
    images = [Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((200, 150)) for frame in small]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255
    scorer = load_rewards({name: 1.0}, suite, "cpu")
    with torch.no_grad():
        found = scorer.score_pixels(pixels, captions)
    expected = scorer.scorer.score(images, captions)  # type: ignore[attr-defined]
    rounding = FLOAT32 * float(expected.abs().max())
    assert float((found - expected).abs().mean()) < most * float(expected.std()) + rounding


class Darkness:
    """Mean of all pixels: lower is better."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Darkness:
        return cls()

    def score_pixels(self, pixels: Tensor, prompts: list[str]) -> Tensor:
        return pixels.mean(dim=(1, 2, 3))


def test_where_lower_is_better_the_reward_is_the_negative(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = Facts(name="darkness", title="Darkness", kind=Kind.IMAGE, direction=Direction.LOWER)
    monkeypatch.setitem(catalogue._FACTS, "darkness", facts)
    monkeypatch.setitem(catalogue._TARGETS, "darkness", "nowhere:Darkness")
    monkeypatch.setattr(metrics, "find_class", lambda name: Darkness)
    pixels = torch.full((2, 3, 4, 4), 0.25)
    found = load_rewards({"darkness": 2.0}, suite, "cpu").score_pixels(pixels, ["", ""])
    assert_close(found, torch.tensor([-0.5, -0.5]))


class Faulty:
    """A user's own reward with this mistake in it."""

    def __init__(self, score: Any) -> None:
        self.score_pixels = lambda pixels, prompts: score(pixels)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda pixels: (pixels > 0.5).float().mean(dim=(1, 2, 3)), "values without gradient"),
        (lambda pixels: pixels.detach().mean(dim=(1, 2, 3)), "values without gradient"),
        (lambda pixels: pixels.mean(), r"one value per image, \[3\] here, got shape \[\]"),
        (lambda pixels: pixels.mean(dim=(2, 3)), r"got shape \[3, 3\]"),
        (lambda pixels: [0.0, 1.0, 2.0], "got list"),
        (lambda pixels: pixels.mean(dim=(1, 2, 3)) * torch.tensor([1.0, float("nan"), 1.0]), "for 1 of 3 images"),
        (lambda pixels: pixels.mean(dim=(1, 2, 3)) / 0.0, "is NaN or infinite for 3 of 3"),
    ],
)
def test_a_reward_that_cannot_be_climbed_says_why(score: Any, said: str) -> None:
    pixels = torch.rand(3, 3, 4, 4, requires_grad=True)
    with pytest.raises(UsageError, match=f"reward 'mine' .*{said}"):
        Checked("mine", Faulty(score)).score_pixels(pixels, ["", "", ""])


def test_a_reward_without_gradient_is_fine_where_none_is_asked_for() -> None:
    faulty = Checked("mine", Faulty(lambda pixels: (pixels > 0.5).float().mean(dim=(1, 2, 3))))
    assert faulty.score_pixels(torch.ones(2, 3, 4, 4), ["", ""]).tolist() == [1.0, 1.0]

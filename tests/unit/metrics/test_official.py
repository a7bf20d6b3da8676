"""The metrics of the official protocol, against its code written out as plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import metrics
from metrics.official.measure import (
    coarse_cosine,
    coarse_distances,
    logged_diversity,
    logged_mean,
    shared_inputs,
)
from metrics.types import OFFICIAL, corrected_name, is_official
from tests.unit.metrics.card_checks import check_card

OPTIONS = {"antialias": True, "batch": 30}


def pictures(count: int, width: int = 80, height: int = 50) -> list[Image.Image]:
    draws = np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in draws]


def test_names() -> None:
    assert corrected_name("hpsv2.1@official") == "hpsv2.1"
    assert corrected_name("hpsv2.1") == "hpsv2.1"
    assert [is_official(name) for name in ("hpsv2.1", "hpsv2.1@official")] == [False, True]
    official = [name for name in metrics.names() if is_official(name)]
    assert [corrected_name(name) for name in official] == [
        "image_reward",
        "hpsv2.1",
        "pickscore",
        "clip_score",
        "dino",
        "clip_diversity",
    ]
    for name in official:
        mine, theirs = metrics.info(name), metrics.info(corrected_name(name))
        assert (mine.kind, mine.direction) == (theirs.kind, theirs.direction)
        assert mine.options == OPTIONS
        assert mine.title == f"{theirs.title}, official protocol"


@pytest.fixture(scope="module")
def loaded_officially(weights: dict[str, Path]) -> dict[str, Any]:
    found = {}
    for name in ("image_reward", "hpsv2.1", "pickscore", "clip_score", "dino", "clip_diversity"):
        found[name] = metrics.load(f"{name}{OFFICIAL}", weights=weights[name])
    return found


def test_the_cards_of_metrics_by_the_official_protocol(weights: dict[str, Path]) -> None:
    check_card(metrics.load("image_reward@official", weights=weights["image_reward"]))
    check_card(metrics.load("hpsv2.1@official", weights=weights["hpsv2.1"]))
    check_card(metrics.load("pickscore@official", weights=weights["pickscore"]))
    check_card(metrics.load("clip_score@official", weights=weights["clip_score"]))
    check_card(metrics.load("dino@official", weights=weights["dino"]))
    check_card(metrics.load("clip_diversity@official", weights=weights["clip_diversity"]))


def test_no_card_is_that_of_the_corrected_metric(loaded_officially: dict[str, Any], weights: dict[str, Path]) -> None:
    for name, metric in loaded_officially.items():
        plain = metrics.load(name, weights=weights[name])
        assert metric.card.digest != plain.card.digest
        assert metric.backbone != plain.backbone, "features of the one would be taken for those of the other"
        assert metric.preprocessing != plain.preprocessing
        assert metric.card.settings["autocast"] == "bfloat16"


@torch.no_grad()
def official_input(image: Image.Image, size: int, antialias: bool) -> Tensor:
    """get_reward_image of the official code, with torchvision's own transforms."""
    from torchvision import transforms

    raw = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    half = (raw / 2 + 0.5).clamp(0, 1).to(torch.bfloat16)
    steps = transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC, antialias=antialias),
            transforms.CenterCrop(size),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    found: Tensor = steps(half)
    return found.float()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(80, 50), (51, 90), (32, 32), (31, 33)])
def test_the_shared_input_is_that_of_torchvisions_transforms(antialias: bool, shape: tuple[int, int]) -> None:
    from metrics.networks.preprocess import to_unit

    image = pictures(1, *shape)[0]
    ours = shared_inputs(to_unit(image)[None], 32, antialias=antialias)
    theirs = official_input(image, 32, antialias)
    assert ours.shape == theirs.shape == (1, 3, 32, 32)
    steps = (ours - theirs).abs() / theirs.abs().clamp_min(2**-6)
    assert float((steps > 2**-7).float().mean()) < 0.01, "but for roundings of the last bit of bfloat16"


def test_antialias_moves_values(weights: dict[str, Path]) -> None:
    images, texts = pictures(6), ["a red circle"] * 6
    on, off = (
        metrics.load("pickscore@official", weights=weights["pickscore"], antialias=one).score(images, texts)
        for one in (True, False)
    )
    assert not torch.equal(on, off)


@pytest.mark.parametrize("name", ["image_reward", "hpsv2.1", "pickscore", "clip_score"])
def test_values_are_in_steps_of_bfloat16_and_near_the_corrected_ones(
    name: str, loaded_officially: dict[str, Any], weights: dict[str, Path]
) -> None:
    metric, plain = loaded_officially[name], metrics.load(name, weights=weights[name])
    images, texts = pictures(4, 32, 32), ["a red circle", "a blue square", "a red square", "a big circle"]
    values, theirs = metric.score(images, texts), plain.score(images, texts)
    assert torch.equal(values, values.to(torch.bfloat16).float())
    assert torch.equal(values, metric.score_features(metric.embed(images), texts))
    if name == "image_reward":
        theirs = theirs * 1.0333394966054072 + 0.16717362830052426
    if name == "clip_score":
        theirs = theirs / 100
    assert float((values - theirs).abs().max()) < 0.06 * float(theirs.abs().max()) + 0.02


def test_only_the_protocols_own_precision(weights: dict[str, Path]) -> None:
    with pytest.raises(metrics.MetricError, match="chooses the precision itself"):
        metrics.load("pickscore@official", weights=weights["pickscore"], dtype="bfloat16")
    for batch in (0, -1, 2.5, "30"):
        with pytest.raises(metrics.MetricError, match="batch = .* must be an integer of at least 1"):
            metrics.load("pickscore@official", weights=weights["pickscore"], batch=batch)


def test_the_number_that_is_logged_weighs_a_small_last_batch_like_the_others() -> None:
    values = torch.tensor([1.0] * 30 + [3.0] * 10)
    assert logged_mean(values).value == 2.0
    assert logged_mean(values).how == "the plain mean of 2 batches of 30, the last of 10"
    assert logged_mean(values[:20]).how == "the mean of 1 batch of 20"
    assert logged_mean(torch.tensor([0.2817] * 30)).value == float(torch.tensor(0.2817).to(torch.bfloat16))


def test_positional_groups_mix_prompts() -> None:
    """Pictures of a prompt are alike, those of two prompts are not: only a mixed group has any diversity."""
    rows = torch.eye(6).repeat_interleave(5, dim=0)
    assert logged_diversity(rows, 5, 30).value == 0.0
    assert logged_diversity(rows, 5, 30).how.endswith("0 of 6 mix prompts")
    seven = logged_diversity(rows, 5, 7)
    scores = []
    for start in range(0, 30, 7):
        batch, means = rows[start : start + 7], []
        for first in range(0, len(batch), 5):
            group = batch[first : first + 5]
            cosines = (group @ group.T).double()
            lower = torch.tril_indices(len(group), len(group), -1)
            means.append(1 - float(cosines[lower[0], lower[1]].mean()))
        scores.append(float(np.mean(means)))
    assert seven.value == pytest.approx(float(np.mean(scores)))
    assert seven.value > 0
    assert seven.how.endswith("4 of 9 mix prompts")
    assert np.isnan(logged_diversity(rows, 5, 6).value), "a group of one picture has no pair"


def test_products_are_rounded_once() -> None:
    rows = torch.nn.functional.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    product = coarse_cosine(rows, rows)
    assert torch.equal(product, product.to(torch.bfloat16).float())
    near = rows.to(torch.bfloat16) @ rows.to(torch.bfloat16).T
    distances = coarse_distances(rows)
    assert torch.equal(distances.diagonal(), torch.zeros(5))
    off = ~torch.eye(5, dtype=torch.bool)
    assert float((distances - (1 - near.float()))[off].abs().max()) <= 2**-8


def test_diversities_of_a_prompt(loaded_officially: dict[str, Any]) -> None:
    images = pictures(5, 40, 40)
    for name in ("dino", "clip_diversity"):
        metric = loaded_officially[name]
        value = metric.score(images)
        assert 0 < value < 2
        assert value == metric.score_embeddings(metric.embed(images))
        rows = metric.embed(images)
        assert metric.logged(rows, 5).value == pytest.approx(value)
        upper = torch.triu_indices(5, 5, 1)
        assert value == pytest.approx(float(metric.pairwise(images)[upper[0], upper[1]].mean()), abs=1e-6)


def test_a_pixel_gradient_flows(loaded_officially: dict[str, Any]) -> None:
    pixels = torch.rand(2, 3, 40, 40, requires_grad=True)
    loaded_officially["pickscore"].score_pixels(pixels, ["a red circle", "a square"]).sum().backward()
    assert pixels.grad is not None
    assert float(pixels.grad.abs().sum()) > 0

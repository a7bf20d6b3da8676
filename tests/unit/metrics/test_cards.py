"""Every card says what decides the values: preprocessing, token limit, dtype."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from metrics.tokens import cut_notes
from tests.unit.metrics.checkpoints import FOLDERS, picture

WITH_TEXT = ["image_reward", "hpsv2.1", "pickscore", "clip_score"]


@pytest.mark.parametrize("name", FOLDERS)
def test_settings_name_the_preprocessing(name: str, loaded: Any) -> None:
    settings = loaded[name].card.settings
    assert {"dtype", "resize", "antialias", "crop", "colour"} <= set(settings)
    assert "normalisation" in settings or len(settings["mean"]) == len(settings["deviation"]) == 3
    assert name == "lpips" or settings["image_size"] in (32, 64)
    plain = loaded[name].card.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    for key in ("unit", "direction", "licence", "citation", "version"):
        assert plain[key]
    assert {"low", "high"} <= set(plain)


@pytest.mark.parametrize("name", FOLDERS)
def test_token_limit_where_there_are_tokens(name: str, loaded: Any) -> None:
    settings = loaded[name].card.settings
    if name not in WITH_TEXT:
        assert "max_tokens" not in settings
        return
    assert settings["max_tokens"] == (35 if name == "image_reward" else 20)
    assert settings["longer_prompts"] == "cut, keeping the end token"


@pytest.mark.parametrize("name", ["clip_score", "pickscore", "aesthetic", "dino", "clip_diversity", "cmmd"])
def test_mean_and_deviation_are_those_that_are_used(name: str, loaded: Any) -> None:
    metric = loaded[name]
    grey = metric.prepare(picture(0).point(lambda value: 0))
    wanted = [-mean / deviation for mean, deviation in zip(*spread(metric), strict=True)]
    assert torch.allclose(grey.mean(dim=(1, 2)), torch.tensor(wanted), atol=1e-5)


def spread(metric: Any) -> tuple[list[float], list[float]]:
    return metric.card.settings["mean"], metric.card.settings["deviation"]


def test_longer_prompts_are_cut_as_the_card_says(loaded: Any) -> None:
    """The end token stays, so that a cut prompt is still read to its end."""
    for name in ("pickscore", "clip_score"):
        metric = loaded[name]
        long = metric.score([picture(0)], ["red " * 18])  # 18 and the two ends: all of it
        longer = metric.score([picture(0)], ["red " * 60])
        assert torch.equal(long, longer)


def test_cut_prompts_are_counted() -> None:
    assert cut_notes(0, 6) == []
    assert cut_notes(1, 6) == ["1 prompt longer than 6 tokens was cut"]
    assert cut_notes(3, 6) == ["3 prompts longer than 6 tokens were cut"]


@pytest.mark.parametrize("name", WITH_TEXT)
def test_prompts_are_counted_whoever_scored_them(name: str, loaded: Any) -> None:
    """A run that goes on after an interruption tells of all its prompts, not of those of the last part only."""
    metric = loaded[name]
    limit = metric.card.settings["max_tokens"]
    prompts = ["small", "red " * (limit + 1), "blue " * (limit + 1), "red " * (limit + 1), "red " * (limit - 2)]
    assert metric.notes_for(prompts) == [f"2 prompts longer than {limit} tokens were cut"]
    assert metric.notes_for(prompts[:2]) == [f"1 prompt longer than {limit} tokens was cut"]
    assert metric.notes_for(["small"]) == metric.notes_for([]) == []


def test_options_and_dtype_are_in_the_digest(weights: dict[str, Path], loaded: Any) -> None:
    digests = {loaded["clip_score"].card.digest}
    for changes in ({"dtype": "bfloat16"}, {"variant": "paper"}):
        digests.add(metrics.load("clip_score", weights=weights["clip_score"], **changes).card.digest)
    assert len(digests) == 3

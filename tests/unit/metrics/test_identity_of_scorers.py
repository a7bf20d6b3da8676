"""What decides a scorer's values and lies beside its weights: tokenizer files, preprocessor, number of heads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from metrics.networks.blip import text_heads
from metrics.networks.clip_preprocessor import Scale, read_scale
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

CLIP_METRICS = ("pickscore", "clip_score", "clip_diversity", "cmmd")


@pytest.fixture
def folder(weights: dict[str, Path], tmp_path: Path) -> Path:
    """A CLIP folder that may be changed."""
    return Path(shutil.copytree(weights["pickscore"], tmp_path / "clip"))


def only_tokenizer_json(folder: Path, *swapped: str) -> Path:
    """The folder with its vocabulary in tokenizer.json alone; the ids of two words may be swapped in it."""
    from transformers import CLIPTokenizer

    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    merges = str(folder / "merges.txt")
    made = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=merges)
    made.save_pretrained(folder)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if swapped:
        a, b = swapped
        table = content["model"]["vocab"]
        table[a], table[b] = vocab[b], vocab[a]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    return folder


def test_two_swapped_words_of_tokenizer_json_change_the_values_and_the_identity(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    frames, prompts = [picture(0)], ["red"]
    as_published = metrics.load("pickscore", weights=folder).score(frames, prompts)
    plain = metrics.load("pickscore", weights=only_tokenizer_json(folder))
    swapped = metrics.load("pickscore", weights=only_tokenizer_json(other, "red</w>", "blue</w>"))
    assert_close(plain.score(frames, prompts), as_published)
    assert float((swapped.score(frames, prompts) - as_published).abs()) > 1e-3 * float(as_published.abs())
    assert plain.card.digest != swapped.card.digest
    assert "tokenizer.json" in plain.card.weights
    assert plain.backbone == swapped.backbone  # the image side is the same, so its features are shared


def test_the_card_names_the_tokenizer_files_that_are_read(folder: Path) -> None:
    before = metrics.load("pickscore", weights=folder).card
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")  # not read where vocabulary and merges are there
    assert metrics.load("pickscore", weights=folder).card.digest == before.digest
    assert {"vocab.json", "merges.txt"} <= before.weights.keys()


def write(folder: Path, name: str = "preprocessor_config.json", **config: Any) -> None:
    content = {"image_processor": config} if name == "processor_config.json" else config
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


PUBLISHED = {
    "feature_extractor_type": "CLIPFeatureExtractor",
    "size": 32,
    "crop_size": 32,
    "resample": 3,
    "do_resize": True,
    "do_center_crop": True,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
NEWER = PUBLISHED | {
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "rescale_factor": 0.00392156862745098,
    "image_processor_type": "CLIPImageProcessor",
}


@pytest.mark.slow
@pytest.mark.parametrize("metric", CLIP_METRICS)
@pytest.mark.parametrize("config", [PUBLISHED, NEWER])
def test_the_published_preprocessor_changes_nothing(metric: str, config: dict[str, Any], folder: Path) -> None:
    before = metrics.load(metric, weights=folder)
    write(folder, **config)
    assert metrics.load(metric, weights=folder).card.digest == before.card.digest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("metric", CLIP_METRICS)
def test_mean_and_deviation_of_the_folder_are_used(metric: str, name: str, folder: Path) -> None:
    before = metrics.load(metric, weights=folder)
    write(folder, name, **PUBLISHED | {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5]})
    after = metrics.load(metric, weights=folder)
    assert after.card.settings["mean"] == [0.5, 0.5, 0.5]
    assert after.card.digest != before.card.digest
    assert after.backbone != before.backbone
    black = picture(0).point(lambda value: 0)
    assert_close(after.prepare(black).mean(dim=(1, 2)), torch.tensor([-2.0, -1.0, -1.0]))
    if hasattr(after, "prepare_pixels"):
        assert_close(
            after.prepare_pixels(torch.zeros(1, 3, 40, 40)).mean(dim=(0, 2, 3)), torch.tensor([-2.0, -1.0, -1.0])
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 64}, "size = 64"),
        ({"size": {"height": 32, "width": 32}}, "size = "),
        ({"crop_size": 16}, "crop_size = 16"),
        ({"resample": 2}, "resample = 2"),
        ({"do_center_crop": False}, "do_center_crop = False"),
        ({"do_resize": None}, "do_resize = None"),
        ({"do_normalize": False}, "do_normalize = False"),
        ({"rescale_factor": 1.0}, "rescale_factor = 1.0"),
        ({"rescale_factor": "x"}, "rescale_factor = 'x'"),
        ({"image_processor_type": "SiglipImageProcessor"}, "image_processor_type = 'SiglipImageProcessor'"),
        ({"image_mean": [0.5, 0.5]}, "image_mean and image_std"),
        ({"image_std": [0.0, 1.0, 1.0]}, "image_mean and image_std"),
        ({"image_mean": "grey"}, "no usable image_mean"),
        ({"image_mean": None}, "no usable image_mean"),
    ],
)
@pytest.mark.parametrize("metric", ["pickscore", "clip_diversity"])
def test_another_preprocessing_is_refused_by_its_key(
    metric: str, change: dict[str, Any], said: str, folder: Path
) -> None:
    write(folder, **PUBLISHED | change)
    with pytest.raises(metrics.MissingWeightsError, match=said.replace("(", r"\(")) as caught:
        metrics.load(metric, weights=folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_preprocessor_has_clips(tmp_path: Path) -> None:
    assert read_scale(tmp_path, 224, "CLIP") == Scale()


STATE_768 = {"embeddings.word_embeddings.weight": torch.zeros(4, 768)}
STATE_32 = {"embeddings.word_embeddings.weight": torch.zeros(4, 32)}


def test_heads_are_the_published_ones_or_stated() -> None:
    assert text_heads(None, STATE_768, "x") == text_heads({}, STATE_768, "x") == 12
    assert text_heads({"num_attention_heads": 2}, STATE_32, "x") == 2
    with pytest.raises(metrics.MissingWeightsError, match="a text tower of width 32 does not tell"):
        text_heads(None, STATE_32, "x")
    for value in ("12", 12.0, True, None):
        with pytest.raises(metrics.MissingWeightsError, match="not an integer"):
            text_heads({"num_attention_heads": value}, STATE_768, "x")


def test_image_reward_with_another_number_of_heads_is_refused(tmp_path: Path) -> None:
    """8 heads divide the width and load without a word; the value would be another one."""
    from metrics.networks.blip import _check_heads

    _check_heads(12, 768, "ImageReward")
    with pytest.raises(metrics.MissingWeightsError, match=r"gives 8 attention heads, the published .* has 12"):
        _check_heads(8, 768, "ImageReward")


def test_without_med_config_a_small_text_tower_is_refused(weights: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(weights["image_reward"], tmp_path / "reward"))
    (folder / "med_config.json").unlink()
    with pytest.raises(metrics.MissingWeightsError, match="put med_config.json with num_attention_heads beside"):
        metrics.load("image_reward", weights=folder)

"""DINOv3 and SigLIP 2 from folders of their published form, against transformers' own classes and image processors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import metrics
from tests.tolerance import assert_close, assert_parity
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import make_clip, picture

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def shaken(model: Any, seed: int) -> Any:
    """Weights of a size at which images differ."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.2
    return model.eval()


@pytest.fixture(scope="module")
def dinov3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

    folder = tmp_path_factory.mktemp("dinov3") / "model"
    config = DINOv3ViTConfig(**SIZES, image_size=32, patch_size=8, num_register_tokens=4)
    shaken(DINOv3ViTModel(config), 0).save_pretrained(folder)
    DINOv3ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import SiglipConfig, SiglipModel

    folder = tmp_path_factory.mktemp("siglip") / "model"
    text = {**SIZES, "vocab_size": 40, "max_position_embeddings": 8, "pad_token_id": 1, "bos_token_id": 2}
    config = SiglipConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 8})
    shaken(SiglipModel(config), 1).save_pretrained(folder)
    processor = {"resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def distance(rows: torch.Tensor) -> float:
    rows = functional.normalize(rows.double(), dim=-1)
    cosines = rows @ rows.T
    count = len(rows)
    return float((1 - cosines).sum() / (count * (count - 1)))


def test_dinov3_is_transformers_own(dinov3: Path) -> None:
    from transformers import DINOv3ViTImageProcessor, DINOv3ViTModel

    frames = [picture(seed, 48, 64) for seed in range(3)]
    processor = DINOv3ViTImageProcessor.from_pretrained(dinov3)
    inputs = processor(images=frames, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        tokens = DINOv3ViTModel.from_pretrained(dinov3).eval()(pixel_values=inputs).last_hidden_state
    wanted, mean = (functional.normalize(one, dim=-1) for one in (tokens[:, 0], tokens[:, 5:].mean(dim=1)))
    metric = metrics.load("dinov3", weights=dinov3)
    assert_parity("dinov3", metric.embed(frames), wanted, "the mean of the patches", mean)
    assert metric.score(frames) == pytest.approx(distance(wanted), rel=1e-4)
    assert metric.score(frames) > 1e-3
    check_card(metrics.load("dinov3", weights=dinov3))


def test_siglip2_is_transformers_own(siglip: Path, tmp_path: Path) -> None:
    from transformers import SiglipModel, SiglipVisionModel

    metric = metrics.load("siglip2", weights=siglip)
    frames = [picture(seed, 32, 32) for seed in range(3)]  # of the network's size: no resize
    inputs = torch.stack([metric.prepare(frame) for frame in frames])
    assert float(inputs.amin()) >= -1.0
    whole = SiglipModel.from_pretrained(siglip).eval()
    with torch.no_grad():
        seen = whole.vision_model(pixel_values=inputs)
    wanted, mean = (
        functional.normalize(one, dim=-1) for one in (seen.pooler_output, seen.last_hidden_state.mean(dim=1))
    )
    assert_parity("siglip2", metric.embed(frames), wanted, "the mean of the patches", mean)
    assert metric.score(frames) > 1e-3
    check_card(metrics.load("siglip2", weights=siglip))

    tower = tmp_path / "tower"
    SiglipVisionModel.from_pretrained(siglip).save_pretrained(tower)
    shutil.copy(siglip / "preprocessor_config.json", tower)
    assert_close(metrics.load("siglip2", weights=tower).embed(frames), metric.embed(frames))


def test_the_preprocessing_is_that_of_the_folder(siglip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(siglip, other)
    config = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 3, "image_mean": [0.4] * 3}))
    mine, theirs = (metrics.load("siglip2", weights=folder) for folder in (siglip, other))
    assert mine.card.digest != theirs.card.digest
    assert not torch.allclose(mine.prepare(picture(0)), theirs.prepare(picture(0)))
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "size": {"height": 32, "width": 16}}))
    with pytest.raises(metrics.MissingWeightsError, match="32 x 16"):
        metrics.load("siglip2", weights=other)


@pytest.mark.slow
def test_another_model_is_refused_by_its_kind(siglip: Path, dinov3: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip")
    with pytest.raises(metrics.MissingWeightsError, match="of type 'clip', not a SigLIP"):
        metrics.load("siglip2", weights=clip)
    with pytest.raises(metrics.MissingWeightsError):
        metrics.load("dinov3", weights=clip)
    with pytest.raises(metrics.MissingWeightsError):
        metrics.load("dinov3", weights=siglip)


@pytest.mark.parametrize("name", ["dinov3", "siglip2"])
def test_a_damaged_folder_is_refused(name: str, dinov3: Path, siglip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(dinov3 if name == "dinov3" else siglip, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(metrics.MissingWeightsError, match="download them again"):
        metrics.load(name, weights=folder)


def test_set_metrics_take_the_encoders(dinov3: Path, siglip: Path) -> None:
    frames = [picture(seed) for seed in range(8)]
    for encoder, folder in (("dinov3", dinov3), ("siglip2", siglip)):
        metric = metrics.load("prdc", weights=folder, encoder=encoder, k=2)
        found = metric.statistics(frames)
        assert found.width == 32
        assert metric.distance(found, found) == 1.0

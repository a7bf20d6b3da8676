"""CLIP's named backbones and CLIPScore's variants: none may be taken for another."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import metrics
from metrics import MetricError, MissingWeightsError, Request
from metrics.networks.clip_image import BACKBONES, identify, with_backbone
from tests.tolerance import assert_close, relative_difference
from tests.unit.metrics.checkpoints import picture

CLIP_METRICS = ["clip_score", "clip_diversity"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, weights: dict[str, Path]) -> list[str]:
    """A hub that has the tiny CLIP under every name; returns what was asked for."""
    import huggingface_hub

    asked: list[str] = []

    def snapshot(repo: str, **settings: Any) -> str:
        asked.append(repo)
        return str(weights["pickscore"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


@pytest.mark.parametrize("metric", CLIP_METRICS)
def test_a_backbone_chooses_the_source_and_the_title(metric: str, hub: list[str]) -> None:
    cards = {name: metrics.load(metric, backbone=name).card for name in BACKBONES}
    assert hub == [
        "openai/clip-vit-large-patch14",
        "openai/clip-vit-base-patch32",
        "openai/clip-vit-base-patch16",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    ]
    assert len({card.title for card in cards.values()}) == len(BACKBONES)
    assert cards["vit-b-32"].title == metrics.info(metric).title + " ViT-B/32"
    assert all(card.label is None for card in cards.values())  # asked for by their published names
    assert metrics.load(metric).card.title == cards["vit-l-14"].title  # the default


@pytest.mark.parametrize("metric", CLIP_METRICS)
def test_unknown_backbones_are_one_sentence(metric: str, weights: dict[str, Path]) -> None:
    with pytest.raises(MetricError, match=f"{metric}: backbone 'vit-x' is not one of vit-l-14, vit-b-32") as caught:
        metrics.load(metric, weights=weights["pickscore"], backbone="vit-x")
    assert caught.value.exit_code == 2


def config_folder(folder: Path, **vision: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"vision_config": vision}))
    return folder


def test_given_weights_are_told_by_their_config(tmp_path: Path) -> None:
    facts = with_backbone(metrics.info("clip_score"), "vit-l-14")
    base = config_folder(tmp_path / "base", patch_size=32)  # transformers leaves its defaults out
    request = Request(weights=str(base))
    found, title = identify(facts, request, "vit-l-14", base)
    assert (title, found.weights) == ("ViT-B/32", "openai/clip-vit-base-patch32")
    large = config_folder(tmp_path / "large", patch_size=14, hidden_size=1024, num_hidden_layers=24)
    assert identify(facts, request, "vit-l-14", large)[1] == "ViT-L/14"
    larger = config_folder(tmp_path / "336", image_size=336, patch_size=14, hidden_size=1024, num_hidden_layers=24)
    assert identify(facts, request, "vit-l-14", larger)[1] == ""  # no published one of these: no name is claimed
    with pytest.raises(MissingWeightsError, match="is not a ViT-B/32"):
        identify(with_backbone(facts, "vit-b-32"), request, "vit-b-32", large)


def test_a_backbone_that_the_weights_are_not_is_refused(weights: dict[str, Path]) -> None:
    for metric in CLIP_METRICS:
        with pytest.raises(MissingWeightsError, match="is not a ViT-B/16") as caught:
            metrics.load(metric, weights=weights["pickscore"], backbone="vit-b-16")
        assert "\n" not in str(caught.value)


def test_own_weights_carry_no_published_backbones_name(loaded: Any) -> None:
    assert loaded["clip_score"].card.title == "CLIPScore (own weights)"
    assert loaded["clip_diversity"].card.title == "CLIP diversity (own weights)"


def test_paper_variant(weights: dict[str, Path], loaded: Any, pictures: Any, prompts: Any) -> None:
    paper = metrics.load("clip_score", weights=weights["clip_score"], variant="paper")
    prefixed = loaded["clip_score"].score(pictures, [f"A photo depicts {prompt}" for prompt in prompts])
    plain = loaded["clip_score"].score(pictures, prompts)
    found = paper.score(pictures, prompts)
    assert_close(found, 2.5 * prefixed.clamp_min(0) / 100)
    assert relative_difference(found, 2.5 * plain.clamp_min(0) / 100) > 1e-2  # the prefix matters
    assert paper.card.digest != loaded["clip_score"].card.digest
    assert paper.card.facts.unit == "2.5 x max(cosine, 0)"
    assert (paper.card.facts.low, paper.card.facts.high) == (0.0, 2.5)
    assert "paper's variant" in paper.card.title
    assert paper.backbone == loaded["clip_score"].backbone == loaded["pickscore"].backbone
    with pytest.raises(MetricError, match="variant 'x100' is not one of cosine, paper"):
        metrics.load("clip_score", weights=weights["clip_score"], variant="x100")


def test_paper_variant_is_never_negative(weights: dict[str, Path], loaded: Any) -> None:
    paper = metrics.load("clip_score", weights=weights["clip_score"], variant="paper")
    image = loaded["clip_score"].embed([picture(0)])
    texts = (-image.to(paper.device),)
    assert paper.compare(image, texts).tolist() == [0.0]
    assert loaded["clip_score"].compare(image, texts).item() == pytest.approx(-100.0, rel=1e-6)


def test_paper_variant_counts_the_prefix_among_the_tokens(weights: dict[str, Path]) -> None:
    prompt = "red " * 14  # 14 tokens and the two ends: within 20, and beyond with the prefix
    for variant, cut in (("cosine", 0), ("paper", 1)):
        metric = metrics.load("clip_score", weights=weights["clip_score"], variant=variant)
        metric.score([picture(0)], [prompt])
        assert len(metric.notes()) == cut


def test_the_vision_tower_alone_is_the_whole_models(weights: dict[str, Path], loaded: Any, pictures: Any) -> None:
    """The saved vision_config holds a wrong projection width (its class's default): the outer one counts."""
    config = json.loads((weights["pickscore"] / "config.json").read_text())
    assert config["projection_dim"] == 24
    assert config["vision_config"].get("projection_dim", 512) == 512
    assert torch.equal(loaded["clip_diversity"].embed(pictures), loaded["clip_score"].embed(pictures))
    assert loaded["clip_diversity"].backbone == loaded["clip_score"].backbone
    assert loaded["clip_diversity"].encoder is loaded["cmmd"].encoder.clip


def test_clip_diversity(loaded: Any, pictures: Any, weights: dict[str, Path]) -> None:
    metric = loaded["clip_diversity"]
    rows = torch.nn.functional.normalize(loaded["clip_score"].embed(pictures).double(), dim=-1)
    wanted = [1 - float(rows[i] @ rows[j]) for i in range(5) for j in range(i)]
    assert metric.score(pictures) == pytest.approx(sum(wanted) / 10, rel=1e-5)
    half = metrics.load("clip_diversity", weights=weights["pickscore"], dtype="bfloat16")
    assert half.score(pictures) == pytest.approx(metric.score(pictures), rel=0.1)
    assert half.card.digest != metric.card.digest
    assert half.backbone != metric.backbone


def test_a_folder_that_is_no_clip(weights: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(weights["pickscore"], folder)
    (folder / "config.json").write_text('{"vision_config": {"hidden_size": "wide"}}')
    for metric in ("clip_diversity", "cmmd"):
        with pytest.raises(MissingWeightsError, match="does not describe a CLIP") as caught:
            metrics.load(metric, weights=folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["clip_diversity", "cmmd", "aesthetic"])
@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape"])
def test_faults_of_the_vision_tower_are_named(
    metric: str, fault: str, weights: dict[str, Path], tmp_path: Path
) -> None:
    """The text tower is left out on purpose; nothing else may be."""
    folder = tmp_path / "clip"
    shutil.copytree(weights["aesthetic"], folder)
    state = load_file(folder / "model.safetensors")
    if fault == "missing":
        del state["visual_projection.weight"]
    elif fault == "unexpected":
        state["something.else.weight"] = torch.zeros(2)
    else:
        state["vision_model.encoder.layers.0.mlp.fc1.bias"] = torch.zeros(5)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MissingWeightsError, match=fault) as caught:
        metrics.load(metric, weights=folder)
    assert "\n" not in str(caught.value)

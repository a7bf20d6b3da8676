import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision import transforms

import metrics
from metrics import MetricError, MissingWeightsError
from metrics.image.aesthetic import build_head
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD, to_unit
from tests.tolerance import assert_close, relative_difference
from tests.unit.metrics.checkpoints import aesthetic_state, make_clip, picture

HEAD = "sac+logos+ava1-l14-linearMSE.pth"
MODES = [("RGB", 97, 31), ("RGBA", 40, 64), ("L", 33, 33), ("P", 32, 50), ("1", 1, 3)]


def odd_pictures() -> list[Image.Image]:
    frames = [picture(seed, width, height, mode) for seed, (mode, width, height) in enumerate(MODES)]
    frames[1].putalpha(Image.linear_gradient("L").resize(frames[1].size))
    return frames


def test_equals_the_originals_steps(weights: dict[str, Path], loaded: Any) -> None:
    """CLIP's own preprocess (resize, crop, then RGB), the whole CLIPModel, and the layers multiplied out by hand."""
    from transformers import CLIPModel

    preprocess = transforms.Compose(
        [
            transforms.Resize(32, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    model = CLIPModel.from_pretrained(weights["aesthetic"]).eval()
    with torch.no_grad():
        x = model.get_image_features(torch.stack([preprocess(frame) for frame in odd_pictures()])).pooler_output
    x = x / x.norm(dim=-1, keepdim=True)
    state = torch.load(weights["aesthetic"] / HEAD, weights_only=True)
    for index in (0, 2, 4, 6, 7):
        x = x @ state[f"layers.{index}.weight"].T + state[f"layers.{index}.bias"]
    found = loaded["aesthetic"].score(odd_pictures(), ["a"] * 5)
    assert found.std() > 1e-3
    assert_close(found, x[:, 0])


def test_ignores_the_prompt_and_takes_none(loaded: Any, pictures: Any, prompts: Any) -> None:
    metric = loaded["aesthetic"]
    values = metric.score(pictures, prompts)
    assert values.shape == (5,)
    assert torch.equal(values, metric.score(pictures, ["", "x" * 5000, "é", "a", "b"]))
    assert torch.equal(values, metric.score(pictures))
    assert metric.notes() == []  # nothing is cut where nothing is read
    assert metric.score([], []).shape == metric.score([]).shape == (0,)
    single = torch.cat([metric.score([frame]) for frame in pictures])
    assert_close(single, values)
    with pytest.raises(metrics.BadInputError, match="5 images but 1 prompts"):
        metric.score(pictures, ["a"])


def test_pixels_path_has_gradient_and_agrees(loaded: Any) -> None:
    frames = [picture(seed, 32, 32) for seed in range(3)]
    leaf = torch.stack([to_unit(frame) for frame in frames]).requires_grad_()
    values = loaded["aesthetic"].score_pixels(leaf, ["a"] * 3)
    assert_close(values, loaded["aesthetic"].score(frames))
    values.sum().backward()
    assert leaf.grad is not None
    assert bool((leaf.grad.flatten(1).abs().amax(dim=1) > 0).all())


def test_clip_from_an_option_or_a_folder_beside(weights: dict[str, Path], loaded: Any, tmp_path: Path) -> None:
    wanted = loaded["aesthetic"].score([picture(1)])
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(weights["aesthetic"] / HEAD, alone)
    given = metrics.load("aesthetic", weights=alone / HEAD, clip=str(weights["pickscore"]))
    assert torch.equal(given.score([picture(1)]), wanted)
    shutil.copytree(weights["pickscore"], alone / "clip")
    assert torch.equal(metrics.load("aesthetic", weights=alone).score([picture(1)]), wanted)
    with pytest.raises(MetricError, match="clip = 3 must be a path or a hub id"):
        metrics.load("aesthetic", weights=alone, clip=3)


def test_card(loaded: Any, weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    card = loaded["aesthetic"].card
    assert set(card.weights) == {HEAD, "clip/config.json", "clip/model.safetensors"}
    assert card.settings["head"] == "24 to 16 to 12 to 8 to 4 to 1"
    assert card.settings["colour"] == "resized in the image's own mode, then RGB"
    assert card.label == "own weights"
    own = card.weights[HEAD]  # the published predictor on another CLIP is not the published metric
    monkeypatch.setattr("metrics.image.aesthetic.make_card", published_head(own))
    assert metrics.load("aesthetic", weights=weights["aesthetic"]).card.label == "own weights"
    assert metrics.load("aesthetic", weights=weights["aesthetic"], label="mine").card.label == "mine"


def published_head(digest: str) -> Any:
    from dataclasses import replace

    from metrics.base.kinds import make_card

    return lambda facts, *rest: make_card(replace(facts, sha256=(digest,)), *rest)


def test_features_are_shared_only_where_they_are_equal(loaded: Any, weights: dict[str, Path]) -> None:
    metric = loaded["aesthetic"]
    assert metric.encoder is metrics.load("clip_diversity", weights=weights["aesthetic"]).encoder
    assert metric.backbone != loaded["clip_diversity"].backbone  # other order of resize and RGB
    other = torch.nn.functional.normalize(metric.embed([picture(3)]), dim=-1)
    assert_close(other, metric.embed([picture(3)]))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"fc.weight": torch.zeros(1, 24)}, "no keys layers.N.weight"),
        ({**aesthetic_state(), "extra": torch.zeros(1)}, "unexpected"),
        ({k: v for k, v in aesthetic_state().items() if k != "layers.4.bias"}, "missing"),
        (aesthetic_state((24, 16, 12, 8, 4, 2)), "do not form a chain down to one value"),
        ({**aesthetic_state(), "layers.2.weight": torch.zeros(12, 15)}, "24 to 16, 15 to 12"),
        (aesthetic_state((23, 16, 12, 8, 4, 1)), "takes embeddings of 23, the CLIP of .* makes 24"),
    ],
)
def test_wrong_predictors_are_one_sentence(state: Any, said: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "x")
    torch.save(state, tmp_path / "x" / HEAD)
    with pytest.raises(MissingWeightsError, match=said) as caught:
        metrics.load("aesthetic", weights=tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_no_weights_here_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: Any, **settings: Any) -> None:
        raise OSError("offline")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"run `mkdir -p .* && curl -L -o .*sac\+logos.*\.pth https://"):
        metrics.load("aesthetic")
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, path, **settings: torch.save(aesthetic_state(), path)
    )
    with pytest.raises(MissingWeightsError, match="openai/clip-vit-large-patch14"):  # the predictor is there now
        metrics.load("aesthetic", clip="openai/clip-vit-large-patch14@nowhere")


def test_sizes_come_from_the_file() -> None:
    head = build_head(aesthetic_state((768, 1024, 128, 64, 16, 1)), "x")
    assert [(layer.in_features, layer.out_features) for layer in head] == [
        (768, 1024),
        (1024, 128),
        (128, 64),
        (64, 16),
        (16, 1),
    ]
    assert not any(weight.requires_grad for weight in head.parameters())


def test_the_resize_comes_before_the_conversion(loaded: Any) -> None:
    image = odd_pictures()[1]
    with_alpha, without = loaded["aesthetic"].score([image, image.convert("RGB")])
    assert relative_difference(with_alpha, without) > 1e-4

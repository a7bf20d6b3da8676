from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import transforms

import metrics
from metrics.networks.dinov2 import shrink_positions
from metrics.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD
from tests.tolerance import FLOAT64, assert_close, relative_difference
from tests.unit.metrics.checkpoints import make_dinov2, picture


def cubic(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The cubic kernel of torch's plain bicubic, a = -0.75."""
    x, a = np.abs(x), -0.75
    inner, outer = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.asarray(np.where(x < 1, inner, np.where(x < 2, outer, 0.0)))


def sampling(before: int, after: int, factor: float) -> np.ndarray[Any, Any]:
    """Matrix [after, before] that samples at (i + 0.5) / factor - 0.5, with the border repeated."""
    found = np.zeros((after, before))
    for row in range(after):
        position = (row + 0.5) / factor - 0.5
        for tap in range(int(np.floor(position)) - 1, int(np.floor(position)) + 3):
            found[row, min(max(tap, 0), before - 1)] += cubic(np.array(position - tap))
    return found


@pytest.mark.parametrize("before", [37, 5, 20])
def test_positions_are_sampled_as_dinov2s_code_does(before: int) -> None:
    positions = torch.randn(1, 1 + before**2, 3, generator=torch.Generator().manual_seed(before))
    grid = positions[0, 1:].reshape(before, before, 3).double().numpy()
    found = shrink_positions(positions, 16)
    assert found.shape == (1, 257, 3)
    assert torch.equal(found[:, 0], positions[:, 0])

    def at(factor: float) -> np.ndarray[Any, Any]:
        matrix = sampling(before, 16, factor)
        return np.einsum("ab,bcd,ec->aed", matrix, grid, matrix).reshape(256, 3)

    given = found[0, 1:].double().numpy()
    assert_close(given, at(16.1 / before))
    assert relative_difference(given, at(16.0 / before)) > 1e-3  # what resizing to 16 x 16 would give


def test_positions_of_the_right_number_stay() -> None:
    positions = torch.randn(1, 257, 3)
    assert shrink_positions(positions, 16) is positions


def test_feature_is_the_normed_cls_token_of_the_originals_preprocessing(weights: dict[str, Path], loaded: Any) -> None:
    from transformers import Dinov2Model

    preprocess = transforms.Compose(
        [
            transforms.Resize((64, 64), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    frames = [picture(0, 97, 31), picture(1, 64, 64), picture(2, 80, 30, "L"), picture(3, 50, 50, "RGBA")]
    pixels = torch.stack([preprocess(frame.convert("RGB")) for frame in frames])
    model = Dinov2Model.from_pretrained(weights["fd_dinov2"]).eval()
    raw = model.embeddings.position_embeddings
    model.embeddings.position_embeddings = torch.nn.Parameter(shrink_positions(raw.detach(), 16))
    with torch.no_grad():
        before: list[torch.Tensor] = []
        model.layernorm.register_forward_pre_hook(lambda module, inputs: before.append(inputs[0]))
        model(pixel_values=pixels)
        wanted = functional.layer_norm(before[0][:, 0], (24,), model.layernorm.weight, model.layernorm.bias, 1e-6)
    found = loaded["fd_dinov2"].embed(frames)
    assert found.std() > 0.1
    assert_close(found, wanted)


def test_card(loaded: Any) -> None:
    settings = loaded["fd_dinov2"].card.settings
    assert settings["image_size"] == 64
    assert settings["features"] == 24
    assert settings["statistics"] == "float64"
    assert "0.1" in settings["positions"]
    assert "24 features need at least 25 images" in loaded["fd_dinov2"].notes(24)[1]


def test_checkpoints_share_a_network_and_change_with_dtype(weights: dict[str, Path], loaded: Any) -> None:
    again = metrics.load("fd_dinov2", weights=weights["fd_dinov2"])
    assert again.encoder is loaded["fd_dinov2"].encoder
    half = metrics.load("fd_dinov2", weights=weights["fd_dinov2"], dtype="bfloat16")
    assert half.backbone != again.backbone
    assert 0 < relative_difference(half.embed([picture(0)]), again.embed([picture(0)])) < 0.1


def test_damaged_folders_are_one_sentence(tmp_path: Path) -> None:
    folder = make_dinov2(tmp_path / "x")
    (folder / "model.safetensors").unlink()
    with pytest.raises(metrics.MissingWeightsError, match=r"has none of model\.safetensors"):
        metrics.load("fd_dinov2", weights=folder)


def test_distance_grows_with_what_differs(loaded: Any) -> None:
    metric = loaded["fd_dinov2"]
    frames = [picture(seed) for seed in range(8)]
    dark = [frame.point(lambda value: value // 3) for frame in frames]
    grey = [Image.new("RGB", (64, 64), (128, 128, 128))] * 4
    same, darker = metric.statistics(frames), metric.statistics(dark)
    tiny = FLOAT64 * np.trace(same.covariance)  # the terms whose difference is the distance
    assert metric.distance(same, same) < tiny < metric.distance(same, darker)
    assert metric.distance(metric.statistics(grey), metric.statistics(grey)) < tiny

"""The resize conventions of FID, each against the implementation it is named after, on one random Inception."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from metrics.networks.preprocess import to_bytes
from metrics.networks.resize import antialiased, bilinear, clean
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

SIZES = [(299, 299), (256, 256), (400, 300), (64, 90)]


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of torch-fidelity's Inception: the file its loaders take."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state: dict[str, torch.Tensor] = {}

    class Bare(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, given: Any, *rest: Any) -> None:  # the constructor loads a file: not wanted here
            pass

    empty = tmp_path_factory.mktemp("inception") / "empty.pth"
    torch.save({}, empty)
    with torch.device("meta"):
        shapes = Bare("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(empty)).state_dict()
    generator = torch.Generator().manual_seed(0)
    for key, value in shapes.items():
        if key.endswith(("running_var", "bn.weight")):
            state[key] = torch.ones(value.shape)
        elif not value.is_floating_point():
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif value.dim() < 2:
            state[key] = torch.zeros(value.shape)
        else:
            state[key] = torch.randn(value.shape, generator=generator) * (2.0 / value[0].numel()) ** 0.5
    path = empty.with_name("weights-inception.pth")
    torch.save(state, path)
    return path


def features(name: str, path: Path, frames: list[Image.Image]) -> torch.Tensor:
    found: torch.Tensor = metrics.load(name, weights=path).embed(frames)
    return found


def torchmetrics_features(path: Path, frames: list[Image.Image], antialias: bool) -> torch.Tensor:
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path), antialias=antialias
    )
    with torch.no_grad():
        return torch.cat([network(to_bytes(frame)[None]) for frame in frames])


def near(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def found(inception_file: Path) -> dict[str, torch.Tensor]:
    frames = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    made = {name: features(name, inception_file, frames) for name in ("fid", "fid_clean", "fid_torchmetrics")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made["torchmetrics"] = torchmetrics_features(inception_file, frames, antialias=True)
        made["torch-fidelity"] = torchmetrics_features(inception_file, frames, antialias=False)
    gc.collect()
    return made


@pytest.mark.slow
def test_each_convention_is_the_one_it_is_named_after(found: dict[str, torch.Tensor]) -> None:
    assert found["fid"].shape == (len(SIZES), 2048)
    assert float(found["fid"].std()) > 1e-3
    assert near(found["fid"], found["torch-fidelity"]) < 1e-6
    assert near(found["fid_torchmetrics"], found["torchmetrics"]) < 1e-6


@pytest.mark.slow
def test_conventions_differ_unless_nothing_is_resized(found: dict[str, torch.Tensor]) -> None:
    names = ("fid", "fid_clean", "fid_torchmetrics")
    for index, name in enumerate(names):
        other = names[index - 1]
        assert near(found[name][:1], found[other][:1]) < 1e-6  # 299 x 299 already
        assert near(found[name][1:], found[other][1:]) > 1e-4


def test_clean_resize_is_pils_bicubic_on_each_float_channel() -> None:
    """Recomputed from PIL's documented filter (a = -0.5, support stretched by the scale), not with PIL."""

    def weights(before: int, after: int) -> np.ndarray[Any, Any]:
        scale = max(before / after, 1.0)
        centres = (np.arange(after) + 0.5) * before / after
        x = np.abs((np.arange(before)[None] + 0.5 - centres[:, None]) / scale)
        inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        found = np.where(x < 1, inner, np.where(x < 2, outer, 0.0))
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    noise = np.kron(np.random.default_rng(0).integers(0, 2, (14, 19, 3)) * 255, np.ones((3, 3, 1))).astype(np.uint8)
    noise = noise[:41]
    for size in (20, 64):
        rows, columns = weights(41, size), weights(57, size)
        wanted = np.einsum("ab,bcd,ec->dae", rows, noise.astype(np.float64), columns)
        assert wanted.min() < 0.0  # clipped, or the test could not see it
        given = clean(Image.fromarray(noise), size).numpy()
        assert_close(given, wanted.clip(0, 255), 4e-6)
        assert np.abs(given - np.round(given)).max() > 0.1  # not rounded


def test_antialiased_and_bilinear_shrink_by_averaging() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[::2] = 255
    image = Image.fromarray(stripes)
    for resize in (clean, antialiased, bilinear):
        small = resize(image, 8)
        assert small.shape == (3, 8, 8)
        assert float((small - 127.5).abs().max()) < 10  # without antialias: rows of one colour
        assert torch.equal(resize(image, 64), to_bytes(image).float())


@pytest.mark.parametrize("name", ["fid_clean", "fid_torchmetrics"])
def test_conventions_are_metrics_of_their_own(name: str, loaded: Any) -> None:
    plain, other = loaded["fid"], loaded[name]
    assert other.inception.network is plain.inception.network
    assert other.backbone != plain.backbone
    assert other.card.settings["resize"] != plain.card.settings["resize"]
    frames = [picture(seed, 80, 50) for seed in range(3)]
    with pytest.raises(metrics.BadInputError, match="different networks or settings"):
        other.distance(other.statistics(frames), plain.statistics(frames))

"""Our scorers against the recorded values of the original packages, on the fixture rebuilt from its seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import metrics
from bench.doctor.parity import compare
from bench.doctor.parity.fixtures import IMAGE_SCORERS, Fixture
from bench.doctor.parity.ours import SCORERS, load, run_ours
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD, Crop, normalise, resize_crop, to_unit
from tests.tolerance import assert_close

SLOW = {"dreamsim-ensemble"}
IN_THE_ENSEMBLE = {"dreamsim-dino_vitb16", "dreamsim-clip_vitb32", "dreamsim-open_clip_vitb32"}
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SCORERS]


Rows = Callable[..., compare.Row]


@pytest.fixture(scope="module")
def row(recorded: dict[str, Any], fixture: Fixture, folder: Path) -> Rows:
    """The comparison of one scorer with the recorded values; ours are computed once."""
    kept: dict[str, Any] = {}

    def make(name: str, values: Any = None) -> compare.Row:
        if values is None and name not in kept:
            kept.update(run_ours(fixture, folder, [name]))
        return compare.compare(name, fixture, recorded["values"][name], kept[name] if values is None else values)

    return make


def test_the_fixture_is_the_recorded_one(recorded: dict[str, Any], fixture: Fixture) -> None:
    assert recorded["fixture"] == fixture.digest
    assert recorded["seed"] == fixture.seed
    assert set(recorded["values"]) == set(SCORERS)
    originals = {"image-reward": "1.5", "hpsv2": "1.2.0", "lpips": "0.1.4", "transformers": "4.27.4"}
    assert originals.items() <= recorded["versions"].items()


@pytest.mark.parametrize("name", ALL)
def test_equal_to_the_original(name: str, row: Rows, exhaustive: bool) -> None:
    if name in IN_THE_ENSEMBLE and not exhaustive:
        pytest.skip("one of the ensemble's networks: alone with --exhaustive")
    found = row(name)
    assert found.wrong == ()
    assert found.largest <= compare.TOLERANCES[name]
    assert found.pairs >= compare.PAIRS


def test_what_the_originals_refuse(row: Rows) -> None:
    """RGBA, no padding at a longest side of 224, and sides that round to no pixel: hpsv2. 16 bits: ImageReward."""
    hps = row("hpsv2").without
    assert {name.split("-", 1)[1] for name in hps} == {
        "224x180-RGB",
        "150x224-RGB",
        "480x1-RGB",
        "100x100-RGBA",
        "301x200-RGBA",
        "358x753-RGBA",
    }
    reward = row("image_reward").without
    assert {name.split("-", 1)[1] for name in reward} == {"100x80-I16", "160x240-I16"}
    clip = row("clip_score").without
    assert {name.split("-", 1)[1] for name in clip} == {"480x1-RGB", "90x3-RGB"}


@pytest.mark.parametrize("name", IMAGE_SCORERS)
def test_batches_and_order_do_not_move_a_value(name: str, fixture: Fixture, folder: Path) -> None:
    metric = load(name, folder)
    pairs = fixture.pairs[::12]
    images = [Image.open(folder / fixture.images[image]) for image, _ in pairs]
    images = [image.convert("RGB") if image.mode.startswith("I") else image for image in images]
    prompts = [fixture.prompts[prompt] for _, prompt in pairs]
    whole = metric.score(images, prompts)
    single = torch.cat([metric.score([image], [text]) for image, text in zip(images, prompts, strict=True)])
    assert_close(single, whole)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
    for size in (1, 3, 64):
        metric.batch_size = size
        moved = metric.score([images[index] for index in order], [prompts[index] for index in order])
        assert_close(moved, whole[order])


def test_autocast_rounds_to_float16_as_cuda_does(fixture: Fixture, folder: Path) -> None:
    """The original under CUDA's autocast gives float16 features and scores; here the same casts on a CPU."""
    image = Image.open(folder / fixture.images[8])
    exact, cast = load("hpsv2.1", folder), load("hpsv2.1", folder, autocast=True)
    prompts = list(fixture.prompts[:6])
    rounded, values = cast.score([image] * 6, prompts), exact.score([image] * 6, prompts)
    assert torch.equal(rounded, rounded.half().float())
    assert 1e-6 < (rounded - values).abs().max() < 2e-3
    assert cast.card.digest != exact.card.digest
    with pytest.raises(metrics.MetricError, match="leave dtype='float32'"):
        metrics.load("hpsv2.1", weights=folder / "hpsv2", autocast=True, dtype="bfloat16")


def test_both_end_of_text_ids_pool_the_same_token(fixture: Fixture, folder: Path, tmp_path: Path) -> None:
    """Files of transformers 4.27 say eos_token_id 2 (largest id wins), newer ones 49407 (its first place wins)."""
    newer = tmp_path / "pickscore"
    shutil.copytree(folder / "pickscore", newer)
    config = json.loads((newer / "config.json").read_text())
    assert config["text_config"]["eos_token_id"] == 2
    config["text_config"]["eos_token_id"] = 49407
    (newer / "config.json").write_text(json.dumps(config))
    image, prompts = Image.open(folder / fixture.images[8]), list(fixture.prompts)
    old = load("pickscore", folder).score([image] * len(prompts), prompts)
    new = metrics.load("pickscore", weights=newer).score([image] * len(prompts), prompts)
    assert torch.equal(old, new)


def values_of(name: str, fixture: Fixture, folder: Path, change: Any) -> Any:
    """Our values after a mistake was built into the loaded metric."""
    metric = load(name, folder)
    change(metric)
    return SCORERS[name][1](metric, fixture, folder)


def set_eps(module: torch.nn.Module, eps: float) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.eps = eps


def convert_first(metric: Any) -> None:
    metric.convert_first = True


def crop_even(metric: Any) -> None:
    metric.prepare = lambda image: normalise(
        to_unit(resize_crop(image, metric.size, crop=Crop.EVEN)), CLIP_MEAN, CLIP_STD
    )


def pillows_passes(metric: Any) -> None:
    def prepare(image: Image.Image) -> torch.Tensor:
        width, height = image.size
        short, long = min(width, height), max(width, height)
        other = int(metric.size * long / short)
        target = (metric.size, other) if width <= height else (other, metric.size)
        if width >= height or other / height >= metric.size / width or image.mode in ("P", "RGBA", "LA"):
            return kept(image)
        rows = image.resize((width, target[1]), Image.Resampling.BICUBIC).resize(target, Image.Resampling.BICUBIC)
        return kept(rows)

    kept, metric.prepare = metric.prepare, prepare


MISTAKES = {
    "vision eps": ("image_reward", lambda metric: set_eps(metric.network.vision, 1e-5)),
    "text eps": ("image_reward", lambda metric: set_eps(metric.network.text, 1e-5)),
    "RGB before the resize": ("image_reward", convert_first),
    "crop of torchvision": ("pickscore", crop_even),
    "passes of Pillow 13": ("image_reward", pillows_passes),
    "antialias": ("hpsv2.1", lambda metric: setattr(metric, "antialias", True)),
    "no antialias": ("hpsv2.1-antialias", lambda metric: setattr(metric, "antialias", False)),
    "quick gelu": ("clip_score", lambda metric: set_gelu(metric.model)),
}


def set_gelu(module: torch.nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "activation_fn"):
            part.activation_fn = torch.nn.GELU()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_fixture_shows_the_mistake(mistake: str, row: Rows, fixture: Fixture, folder: Path) -> None:
    name, change = MISTAKES[mistake]
    found = row(name, values_of(name, fixture, folder, change))
    assert any("values differ" in clause for clause in found.wrong)

"""CycleReward against its network written out again, and the two BLIP heads told apart."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

import metrics
from tests.tolerance import assert_close, assert_parity
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.checkpoints import image_reward_state, make_image_reward
from tests.unit.metrics.test_reference import TEXTS, Blip, frames, pixels

WIDTHS = {0: (32, 24), 2: (24, 16), 4: (16, 8), 6: (8, 4), 8: (4, 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the published release, small: towers as ImageReward's, and the head's own numbers."""
    made = make_image_reward(tmp_path_factory.mktemp("cycle") / "cycle")
    state = {
        key: value for key, value in load_file(made / "ImageReward.safetensors").items() if not key.startswith("mlp.")
    }
    generator = torch.Generator().manual_seed(8)
    for index, (into, out) in WIDTHS.items():
        state[f"mlp.layers.{index}.weight"] = torch.randn(out, into, generator=generator) * 2 * into**-0.5
        state[f"mlp.layers.{index}.bias"] = torch.randn(out, generator=generator) * 0.1
    (made / "ImageReward.safetensors").unlink()
    save_file(state, made / "CycleReward-Combo.safetensors")
    torch.save(state, made / "CycleReward-T2I.pth")
    return made


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return metrics.load("cycle_reward", weights=folder)


def plain(
    state: dict[str, Tensor], length: int, tokenizer: Any, between: Callable[[Tensor], Tensor] = functional.gelu
) -> Tensor:
    """Towers as ImageReward's, then GELU between the layers of the head, and no scale."""
    network = Blip(state)
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    x = network.text(tokens.input_ids, tokens.attention_mask, network.vision(pixels()))[:, 0]
    for index in WIDTHS:
        x = network.linear(f"mlp.layers.{index}", x if index == 0 else between(x))
    return x[:, 0]


def test_it_is_the_network_of_the_package(folder: Path, scorer: Any) -> None:
    state = load_file(folder / "CycleReward-Combo.safetensors")
    wanted = plain(state, 48, scorer.tokenizer)
    assert wanted.std() > 0.02
    linear = plain(state, 48, scorer.tokenizer, lambda x: x)
    assert_parity("cycle_reward", scorer.score(frames(), TEXTS), wanted, "a head without GELU", linear)
    check_card(metrics.load("cycle_reward", weights=folder))
    assert scorer.card.settings["max_tokens"] == 48  # 128, or the positions of the text tower


def test_the_option_names_the_file(folder: Path, scorer: Any) -> None:
    other = metrics.load("cycle_reward", weights=folder, model="t2i")
    assert "CycleReward-T2I.pth" in other.card.weights
    assert "T2I" in other.card.title
    assert_close(other.score(frames(), TEXTS), scorer.score(frames(), TEXTS))  # the same tensors here
    with pytest.raises(metrics.MetricError, match="model 'both' is not one of combo, t2i, i2t"):
        metrics.load("cycle_reward", weights=folder, model="both")


def test_a_prompt_beyond_imagerewards_limit_is_read_whole(scorer: Any) -> None:
    long = "a red circle " * 14  # 42 tokens and two: more than 35, fewer than 48
    first, second = scorer.score([frames()[0]] * 2, [long + "blue", long + "square"])
    assert abs(float(first - second)) > 1e-4
    assert not scorer.notes()


def test_the_heads_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """The original loads with strict=False, so that ImageReward's file would be scored with a random layer."""
    swapped = tmp_path / "swapped"
    shutil.copytree(folder, swapped)
    save_file(image_reward_state(72), swapped / "CycleReward-Combo.safetensors")
    with pytest.raises(metrics.MissingWeightsError, match=r"head of ImageReward; CycleReward's are 0, 2, 4, 6, 8"):
        metrics.load("cycle_reward", weights=swapped)
    with pytest.raises(metrics.MissingWeightsError, match="head of CycleReward; ImageReward's are 0, 2, 4, 6, 7"):
        metrics.load("image_reward", weights=folder / "CycleReward-Combo.safetensors")


@pytest.mark.parametrize("drop", ["mlp.layers.8.bias", "mlp.layers.4.weight"])
def test_a_part_of_the_head_is_refused(folder: Path, tmp_path: Path, drop: str) -> None:
    state = load_file(folder / "CycleReward-Combo.safetensors")
    del state[drop]
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    save_file(state, broken / "CycleReward-Combo.safetensors")
    with pytest.raises(metrics.MissingWeightsError):
        metrics.load("cycle_reward", weights=broken)

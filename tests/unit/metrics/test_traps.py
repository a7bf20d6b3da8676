"""Silent mistakes that no other test would catch: each moves a value without an error.

The other known ones are caught by `test_reference.py` (networks written out again), `tests/parity` (values of the
original packages) and the tests of the single metrics.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import metrics
from metrics.group.lpips import _squared_differences
from tests.tolerance import assert_close, relative_difference
from tests.unit.metrics.checkpoints import picture


def test_image_rewards_text_tower_has_12_heads_unless_its_file_says_otherwise(
    weights: dict[str, Path], tmp_path: Path
) -> None:
    """transformers' default is 8, which loads just as well: no shape shows the number of heads."""
    folder = tmp_path / "reward"
    shutil.copytree(weights["image_reward"], folder)
    (folder / "med_config.json").unlink()
    with pytest.raises(metrics.MissingWeightsError, match="width 32 does not tell its number of attention heads"):
        metrics.load("image_reward", weights=folder)
    for content in ('{"hidden_size": 32}', '{"num_attention_heads": 12}'):
        (folder / "med_config.json").write_text(content)
        with pytest.raises(metrics.MissingWeightsError, match="12 heads"):
            metrics.load("image_reward", weights=folder)


def test_image_rewards_heads_are_those_of_its_file(loaded: Any) -> None:
    assert loaded["image_reward"].network.text.config.num_attention_heads == 2


@pytest.mark.parametrize("name", ["lpips", "dreamsim", "dino", "vendi", "clip_diversity"])
@pytest.mark.parametrize("count", [2, 5, 16])
def test_distances_of_k_images_cost_k_forward_passes(name: str, count: int, loaded: Any) -> None:
    """Not K (K - 1), as calls for each pair would."""
    metric, seen = loaded[name], []
    if name == "lpips":
        hook = metric.network.net.slice1.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
        restore = hook.remove
    else:
        encode = metric.encode_images
        metric.encode_images = lambda inputs: (seen.append(len(inputs)), encode(inputs))[1]
        restore = lambda: metric.__dict__.pop("encode_images")  # noqa: E731
    try:
        metric.score([picture(seed, 32, 32) for seed in range(count)])
    finally:
        restore()
    assert sum(seen) == count


def unit_maps(level: float, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 8, 5, 4, generator=generator) * level


def pairs_of(unit: Tensor, weight: Tensor) -> Tensor:
    """Weighted squared differences of maps [K, C, H, W], pair by pair in float64."""
    squared = (unit[:, None] - unit[None]).double().square() * weight.double().view(1, 1, -1, 1, 1)
    return squared.sum(dim=2).mean(dim=(2, 3))


def by_lpips(maps: Tensor, weight: Tensor) -> Tensor:
    """LPIPS of one layer as its paper and package have it: maps over (their norm + 1e-10)."""
    exact = maps.double()
    return pairs_of(exact / (exact.square().sum(dim=1, keepdim=True).sqrt() + 1e-10), weight)


@pytest.mark.parametrize("level", [1.0, 1e-4, 1e-8])
def test_lpips_of_nearly_dead_activations(level: float) -> None:
    """1e-10 is added to the norm, not 1e-8 to its square: that differs only where nearly nothing is active."""
    maps, weight = unit_maps(level), torch.rand(8, generator=torch.Generator().manual_seed(1))
    found = _squared_differences([maps[:2], maps[2:]], weight)
    assert_close(found, by_lpips(maps, weight))
    other = pairs_of(maps / (maps.square().sum(dim=1, keepdim=True) + 1e-8).sqrt(), weight)
    assert level == 1.0 or relative_difference(found, other) > 1e-2


def test_lpips_of_nearly_equal_images_is_exact() -> None:
    """|a|^2 + |b|^2 - 2 a.b in float32 loses what is left between two nearly equal maps; in float64 it does not."""
    maps = unit_maps(1.0, 1).repeat(2, 1, 1, 1)
    maps[1, 0] *= 1.0003
    weight = torch.rand(8, generator=torch.Generator().manual_seed(1))
    wanted = by_lpips(maps, weight)[0, 1]
    found = _squared_differences([maps], weight)[0, 1]
    assert 1e-10 < wanted < 1e-6
    assert abs(float(found - wanted)) < 2e-2 * float(wanted)


def test_texts_without_an_end_token_are_refused(weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would pool their first place: one score for all prompts."""
    metric = metrics.load("pickscore", weights=weights["pickscore"])
    tokenizer = metric.tokenizer

    class Endless:
        eos_token_id = tokenizer.eos_token_id

        def __call__(self, texts: list[str], **options: Any) -> Any:
            found = tokenizer(texts, **options)
            if "return_tensors" in options:
                found["input_ids"] = found["input_ids"].masked_fill(found["input_ids"] == self.eos_token_id, 3)
            return found

    metric.tokenizer = Endless()
    with pytest.raises(metrics.MissingWeightsError, match="does not end texts with its end token"):
        metric.score([picture(0)], ["a red circle"])


def test_dreamsims_published_networks_are_not_asked_for_other_precision(tmp_path: Path) -> None:
    """Their CLIP projections are plain attributes that a cast does not reach."""
    with pytest.raises(metrics.MetricError, match="the published network runs in float32 only"):
        metrics.load("dreamsim", weights=tmp_path, dtype="bfloat16")

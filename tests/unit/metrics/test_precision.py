"""dtype and TF32 of a metric: what the card says, what happens while it computes, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import metrics
from bench.scoring.identity import scope_of
from bench.suite.metric_spec import MetricSpec
from metrics import MetricError
from metrics.base.precision import products_of
from tests.tolerance import assert_close

WITH_DTYPE = ["image_reward", "hpsv2.1", "pickscore", "clip_score", "dino", "clip_diversity", "vendi", "cmmd"]
FLOAT32_ONLY = ["lpips", "fid", "kid"]


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


class Suite:
    label = None
    reference = None


def digest(weights: Path, **more: Any) -> str:
    return scope_of("pickscore", MetricSpec(weights=str(weights), **more), Suite()).digest  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WITH_DTYPE)
def test_a_dtype_is_in_the_card_and_moves_values_a_little(
    name: str, weights: dict[str, Path], loaded: dict[str, Any], pictures: list[Image.Image], prompts: list[str]
) -> None:
    plain, half = loaded[name], metrics.load(name, weights=weights[name], dtype="bfloat16")
    assert half.card.settings["dtype"] == "bfloat16"
    assert half.card.digest != plain.card.digest
    assert half.backbone != plain.backbone  # features are not shared
    for metric in (plain, half):
        assert "tf32" not in metric.card.settings
    wanted, found = plain.embed(pictures), half.embed(pictures)
    assert not torch.equal(wanted, found)
    assert_close(found, wanted, 0.05)


@pytest.mark.parametrize("name", FLOAT32_ONLY)
def test_metrics_of_one_precision_refuse_another(name: str, weights: dict[str, Path]) -> None:
    with pytest.raises(MetricError, match="float32 only"):
        metrics.load(name, weights=weights[name], dtype="bfloat16")


@pytest.mark.parametrize("name", [*WITH_DTYPE, *FLOAT32_ONLY])
def test_tf32_is_in_the_card_only_where_it_is_chosen(
    name: str, weights: dict[str, Path], loaded: dict[str, Any]
) -> None:
    chosen = metrics.load(name, weights=weights[name], tf32=True)
    assert chosen.card.settings["tf32"] is True
    assert "tf32" not in loaded[name].card.settings
    assert chosen.card.digest != loaded[name].card.digest
    if hasattr(chosen, "backbone"):
        assert chosen.backbone != loaded[name].backbone


def test_tf32_concerns_float32_only(weights: dict[str, Path]) -> None:
    with pytest.raises(MetricError, match="tf32 concerns float32 only and dtype is bfloat16"):
        metrics.load("pickscore", weights=weights["pickscore"], dtype="bfloat16", tf32=True)


@pytest.mark.parametrize("tf32", [False, True])
def test_what_cuda_does_while_a_metric_computes(
    tf32: bool,
    weights: dict[str, Path],
    pictures: list[Image.Image],
    prompts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exact products and exact convolutions, or both by TF32; and afterwards what it was."""
    before = flags()
    assert before == (False, True)  # torch's own default: convolutions by TF32, products exactly
    metric = metrics.load("pickscore", weights=weights["pickscore"], tf32=tf32)
    seen: dict[str, tuple[bool, bool]] = {}
    for name in ("encode_prompts", "encode_images", "compare"):
        real = getattr(metric, name)

        def watching(*args: Any, name: str = name, real: Any = real) -> Any:
            seen[name] = flags()
            return real(*args)

        monkeypatch.setattr(metric, name, watching)
    metric.score(pictures, prompts)
    assert seen == dict.fromkeys(("encode_prompts", "encode_images", "compare"), (tf32, tf32))
    assert flags() == before


def test_an_error_leaves_the_flags_as_they_were(loaded: dict[str, Any]) -> None:
    before = flags()
    with pytest.raises(ZeroDivisionError), products_of(loaded["lpips"].card):
        raise ZeroDivisionError
    assert flags() == before


def test_the_defaults_change_no_identity(weights: dict[str, Path]) -> None:
    """What was scored before there was a choice is current."""
    path = weights["pickscore"]
    plain = digest(path)
    assert digest(path, dtype="float32", tf32=False) == plain
    assert len({plain, digest(path, dtype="bfloat16"), digest(path, dtype="float16"), digest(path, tf32=True)}) == 4

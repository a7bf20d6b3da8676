"""The checksums by which a changed base network is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.models.adapters.base_weights import changed, fingerprint, unchanged


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("size", [1, 3, 7, 65_537, 8 * 65_536 + 3])
def test_one_value_that_changes_is_seen(dtype: torch.dtype, size: int) -> None:
    layer = nn.Linear(1, 1).to(dtype)
    layer.weight = nn.Parameter(torch.linspace(-1, 1, size, dtype=dtype)[:, None])
    before = fingerprint(layer)
    assert fingerprint(layer) == before
    for index in {0, size // 2, size - 1}:
        kept = layer.weight.data[index].clone()
        layer.weight.data[index] = -kept - 1
        assert changed(before, fingerprint(layer)) == ["weight"]
        layer.weight.data[index] = kept
    assert fingerprint(layer) == before


def test_blocks_that_change_places_are_seen() -> None:
    layer = nn.Linear(131_072, 4, bias=False)  # a row is one block
    before = fingerprint(layer)
    layer.weight.data = layer.weight.data.flip(0)
    assert changed(before, fingerprint(layer)) == ["weight"]


def test_memory_layouts_and_buffers() -> None:
    layer = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
    before = fingerprint(layer)
    layer.to(memory_format=torch.channels_last)
    assert fingerprint(layer) == before
    layer[1].running_mean += 1
    assert changed(before, fingerprint(layer)) == ["1.running_mean"]


def fail(layer: nn.Linear) -> None:
    with unchanged({"network": layer}):
        layer.weight.data += 1
        raise ValueError


def test_an_error_is_told_even_where_loading_fails() -> None:
    with pytest.raises(RuntimeError, match="loading changed the base network: weight"):
        fail(nn.Linear(2, 2))

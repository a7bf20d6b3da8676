"""Silent mistakes that no other test would catch: each moves a value without an error.

The other known ones are caught by `test_reference.py` (networks written out again), `tests/parity` (values of the
original packages) and the tests of the single metrics.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import metrics


def test_image_rewards_text_tower_has_12_heads_unless_its_file_says_otherwise(
    weights: dict[str, Path], tmp_path: Path
) -> None:
    """transformers' default is 8, which loads just as well: no shape shows the number of heads."""
    folder = tmp_path / "reward"
    shutil.copytree(weights["image_reward"], folder)
    (folder / "med_config.json").unlink()
    with pytest.raises(metrics.MissingWeightsError, match="12 heads, which do not divide width 32"):
        metrics.load("image_reward", weights=folder)
    for content in ('{"hidden_size": 32}', '{"num_attention_heads": 12}'):
        (folder / "med_config.json").write_text(content)
        with pytest.raises(metrics.MissingWeightsError, match="12 heads"):
            metrics.load("image_reward", weights=folder)


def test_image_rewards_heads_are_those_of_its_file(loaded: Any) -> None:
    assert loaded["image_reward"].network.text.config.num_attention_heads == 2

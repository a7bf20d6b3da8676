"""Fixtures of the metric tests: tiny random checkpoints, built once a session (seconds)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.metrics.checkpoints import FOLDERS, MAKERS, picture


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Metric name -> folder of its tiny checkpoint."""
    root = tmp_path_factory.mktemp("weights")
    made = {name: maker(root / name) for name, maker in MAKERS.items()}
    return {metric: made[folder] for metric, folder in FOLDERS.items()}


@pytest.fixture(scope="session")
def loaded(weights: dict[str, Path]) -> dict[str, Any]:
    """All metrics, loaded once."""
    import metrics

    return {name: metrics.load(name, weights=folder) for name, folder in weights.items()}


@pytest.fixture
def pictures() -> list[Image.Image]:
    return [picture(seed) for seed in range(5)]


@pytest.fixture
def prompts() -> list[str]:
    return ["a red circle", "a blue square", "a red circle", "a big circle on the left", "small"]

"""One fixture for all parity tests, built from the seed, and the originals' recorded values on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.doctor.parity import fixtures

RECORDED = Path(__file__).parents[1] / "data" / "parity" / "official.json"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("parity") / "fixture"
    fixtures.build(made)
    return made


@pytest.fixture(scope="session")
def fixture(folder: Path) -> fixtures.Fixture:
    return fixtures.read(folder)


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return content

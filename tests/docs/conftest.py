"""A small results folder for the examples of docstrings and pages, made for each test from tests/data."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"
V1_RUNS = ("base@f968f89e", "refl@ad6b75db", "combined@4de1646c")


@pytest.fixture
def real_results(tmp_path: Path) -> Path:
    """Three runs with images and scores, suite "small", 4 prompts x 2 images."""
    results = tmp_path / "results"
    for run in V1_RUNS:
        shutil.copytree(DATA / "v1" / "results" / "runs" / "small" / run, results / "runs" / "small" / run)
    return results


@pytest.fixture
def invented_results(tmp_path: Path) -> Path:
    """Four runs of invented scores, with the name and the metrics of the embedded suite, 32 prompts x 5 images."""
    make = runpy.run_path(str(DATA / "judging" / "fakes.py"))["make"]
    for method in ("base", "refl", "combined", "imagerefl"):
        make(tmp_path / "results", method)
    return tmp_path / "results"

"""The example in the docstring of every public function runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench
import metrics

WEIGHTS = Path(bench.__file__).parent / "shapes" / "weights"
THRESHOLDS = """
[refl.pickscore]
min = -5.0

[refl.fid]
max = 200.0
"""
CLAIMS = """
suite = "small"

[[claim]]
id = "quality"
sentence = "ReFL raises its reward."
method = "refl"
over = "base"
metric = "pickscore"
direction = "above"
"""
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"bench.{name}": getattr(bench, name) for name in bench.__all__ if inspect.isfunction(getattr(bench, name))},
    **{f"metrics.{name}": getattr(metrics, name) for name in ("load", "info", "names")},
}
SLOW = {"bench.run", "bench.train"}  # they generate
WITHOUT = {"bench.register_method", "bench.register_model"}  # they change the process: docs/plugins.md has the examples


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in sorted(FUNCTIONS.keys() - WITHOUT)],
)
def test_the_example_runs(name: str, real_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thresholds.toml").write_text(THRESHOLDS)
    (tmp_path / "claims.toml").write_text(CLAIMS)
    given = {
        "RESULTS": real_results,
        "BASE": "base@f968f89e",
        "THRESHOLDS": tmp_path / "thresholds.toml",
        "CLAIMS": tmp_path / "claims.toml",
        "OUT": tmp_path / "out",
        "WEIGHTS": WEIGHTS,
    }
    function = FUNCTIONS[name]
    module = importlib.import_module(function.__module__)
    [example] = doctest.DocTestFinder(recurse=False).find(function, name, module, globs=given)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert outcome.failed == 0, "".join(said)
    assert outcome.attempted >= 2

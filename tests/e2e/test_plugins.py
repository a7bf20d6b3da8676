"""A metric and a method of one's own: the examples of CONTRIBUTING.md, as an installed package would bring them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def plugin_path(tmp_path: Path) -> str:
    """A PYTHONPATH with the modules of CONTRIBUTING.md and the entry points that it names."""
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)
    assert {name for name, _ in blocks} == {"my_metrics", "my_methods"}
    site = tmp_path / "site"
    site.mkdir()
    for name, code in blocks:
        (site / f"{name}.py").write_text(code, encoding="utf-8")
    facts = site / "mine-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[bench.metrics]\nbrightness = my_metrics:register_all\n[bench.methods]\nlate = my_methods:late\n"
    )
    return os.pathsep.join([str(site), str(CONTRIBUTING.parent)])


def test_they_are_listed(bench_command, plugin_path: str) -> None:
    assert "brightness" in bench_command("list", "metrics", PYTHONPATH=plugin_path).stdout
    assert "late" in bench_command("list", "methods", PYTHONPATH=plugin_path).stdout


def test_they_run(bench_command, tiny_suite, plugin_path: str, tidy, tmp_path: Path) -> None:
    results = tmp_path / "results"
    settings = ["--set", f"weights={tiny_suite.tuned}", "--set", "late.switch_step=5", "--metrics", "brightness"]
    bench_command(*tiny_suite.arguments(results, "late"), *settings, PYTHONPATH=plugin_path)
    rows = tidy(results)
    assert len(rows) == 6
    assert rows["value"].between(0, 1).all()

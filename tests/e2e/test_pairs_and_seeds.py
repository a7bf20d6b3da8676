"""All pairs and training seeds from the command line, on small stored results and on a tiny model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

seeds = runpy.run_path(str(Path(__file__).parents[1] / "data" / "judging" / "seeds.py"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base, combined, and three checkpoints of refl."""
    folder = tmp_path_factory.mktemp("stored")
    for method in ("base", "combined"):
        seeds["fakes"]["make"](folder, method, prompts=12, samples=2)
    for number in range(3):
        seeds["store"](folder, "refl", number, prompts=12, samples=2)
    return folder


def test_compare_three_runs(bench_command, stored: Path) -> None:
    text = bench_command("compare", "base", "refl", "combined", "--results", stored).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "may be the best" in text
    assert "other training seeds of these methods are there" in text.replace("\n  ", " ")
    markdown = bench_command("compare", "base", "refl", "combined", "--markdown", "--results", stored).stdout
    assert markdown.startswith("# All pairs")
    assert markdown.count("### ") == 8


@pytest.mark.slow
def test_compare_methods_over_training_seeds(bench_command, error_of, stored: Path) -> None:
    text = bench_command("compare", "base", "refl", "--replicates", "--metrics", "lpips", "--results", stored).stdout
    assert "refl (3 checkpoints) minus base (1 checkpoint), over training seeds" in text
    several = bench_command("compare", "base", "refl", "combined", "--replicates", "--results", stored).stdout
    assert "2 refl (3 checkpoints)" in several
    assert "no other checkpoints" in error_of(2, "compare", "base", "combined", "--replicates", "--results", stored)
    assert "given twice" in error_of(2, "compare", "base", "refl", "base", "--results", stored)


@pytest.mark.slow
def test_report_has_both(bench_command, stored: Path, tmp_path: Path) -> None:
    bench_command("report", "--results", stored, "--out", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert all(f'<section id="{name}"' in page for name in ("seeds", "pairs", "robust"))
    assert "## Training seeds" in (tmp_path / "report" / "table.md").read_text(encoding="utf-8")
    for name in ("methods.csv", "pairs.csv", "ranks.csv", "robust.csv", "profiles.csv"):
        assert len((tmp_path / "report" / name).read_text(encoding="utf-8").splitlines()) > 3, name


@pytest.mark.slow
def test_replicates_are_run_beside_the_single_checkpoint(bench_command, tmp_path: Path) -> None:
    what = ("--method", "base,refl", "--limit", "1", "--samples", "1", "--metrics", "pickscore")
    first = bench_command("run", *what, "--results", tmp_path).stdout
    again = bench_command("run", *what, "--replicates", "--results", tmp_path)
    runs = {path.name.partition("@")[0]: path.name for path in (tmp_path / "runs" / "shapes").iterdir()}
    assert set(runs) == {"base", "refl", "refl-replicate-1", "refl-replicate-2"}
    assert runs["refl"] in first  # the same run as without --replicates, and not made again
    assert "refl (3 checkpoints)" in again.stdout
    assert "one checkpoint" not in again.stdout

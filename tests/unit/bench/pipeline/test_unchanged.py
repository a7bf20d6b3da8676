"""A run with nothing to do loads neither torch nor pandas, and whatever changed is still looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store.parts import part_files

HEAVY = ("torch", "pandas", "pyarrow", "scipy", "diffusers")
CODE = """
import sys
from bench.cli import main
code = main(sys.argv[1:])
print("loaded:", *[name for name in {heavy} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def finished(run_bench, tiny_suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("whole") / "results"
    run_bench(*tiny_suite.arguments(results, "base", "refl"), "--limit", "2")
    return results


def again(run_bench, tiny_suite, results: Path) -> subprocess.CompletedProcess[str]:
    command = [*tiny_suite.arguments(results, "base", "refl"), "--limit", "2"]
    return subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), *command],
        cwd=run_bench.folder,
        env=run_bench.environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )


@pytest.mark.slow
def test_nothing_heavy_is_loaded_and_the_table_is_the_same(run_bench, tiny_suite, finished: Path) -> None:
    first = run_bench(*tiny_suite.arguments(finished, "base", "refl"), "--limit", "2")
    done = again(run_bench, tiny_suite, finished)
    assert done.stdout == first.stdout
    assert done.stderr.splitlines() == ["nothing to do: all images and scores exist", "loaded:"]


@pytest.mark.slow
def test_what_changed_is_looked_at(run_bench, tiny_suite, finished: Path, tmp_path: Path) -> None:
    whole = again(run_bench, tiny_suite, finished).stdout.partition("run: ")[0]
    for index, kind in enumerate(("picture", "part", "summary", "other mtime")):
        results = shutil.copytree(finished, tmp_path / f"{index}")
        [run] = results.glob("runs/tiny/refl@*")
        [part] = part_files(run / "scores/attribute_accuracy")
        path = {"picture": run / "images/red/0.png", "part": part}.get(kind, run / "summary.json")
        if kind != "other mtime":
            path.write_bytes(path.read_bytes()[:-3] + b"abc")
        done = again(run_bench, tiny_suite, results)
        assert done.stdout.partition("run: ")[0] == whole, kind
        said = done.stderr.splitlines()
        if kind == "other mtime":  # a restored cache of CI: all times and inodes are new, and nothing is a fault
            assert said == ["nothing to do: all images and scores exist", "loaded:"]
        else:
            assert any("damaged" in line or "made again" in line or "regenerating" in line for line in said), said

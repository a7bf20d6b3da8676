"""The wheel in an environment of its own: it has all that the embedded suite needs, and uses nothing of this checkout.

The packages that it depends on are those of the tests' environment, so that nothing is downloaded; `make wheel-check`
installs them, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="a wheel is built with hatchling, which is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bench` of an environment that has the wheel, and beside it the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # A path that comes after the environment's own, so that the wheel's packages win over an editable install.
    beside = folder / "lib" / version / "site-packages" / "beside.pth"
    beside.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "bench"


def run(command: list[str], folder: Path) -> str:
    """As a user calls it: elsewhere, and without a path to this checkout."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BENCH_RESULTS")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_what_the_suite_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.partition("/")[0] for name in names}
    assert {name for name in inside if not name.endswith(".dist-info")} == {"bench", "metrics", "prompts"}
    tracked = subprocess.run(
        ["git", "ls-files", "bench", "metrics", "prompts"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode == 0:
        assert set(tracked.stdout.split()) <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".log"))]


def test_it_runs_the_suite_and_writes_the_report(installed: Path, tmp_path: Path) -> None:
    python = str(installed.with_name("python"))
    where = run([python, "-c", "import bench, metrics, prompts; print(bench.__file__)"], tmp_path).strip()
    assert Path(where).is_relative_to(installed.parents[1])
    chosen = ["--method", "base,refl", "--limit", "4", "--samples", "2", "--metrics", "pickscore,lpips"]
    said = run([str(installed), "run", *chosen], tmp_path)
    assert "refl" in said
    run([str(installed), "report", "--gallery", "2"], tmp_path)
    page = (tmp_path / "results" / "report" / "index.html").read_text(encoding="utf-8")
    assert "(shapes)" in page
    assert (tmp_path / "results" / "report" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "imagerefl-bench" in run([str(installed), "--version"], tmp_path)

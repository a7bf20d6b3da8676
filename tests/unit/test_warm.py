"""A warm command is a process of its own, and ends as a new one does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import QUIET, ROOT
from tests.warm import Server

pytestmark = pytest.mark.slow
ENVIRONMENT = {**os.environ, **QUIET}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server(ROOT)
    made.start(ENVIRONMENT)
    yield made
    made.close()


@pytest.mark.parametrize(
    "arguments", [["--version"], ["run", "--methd", "base"], ["list", "metrics"], ["report", "--results", "none"]]
)
def test_warm_and_cold_say_the_same(server: Server, tmp_path: Path, arguments: list[str]) -> None:
    cold = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    warm = server.run(arguments, tmp_path, ENVIRONMENT, 60)
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_plugin_of_the_folder_and_a_variable_are_the_calls_own(server: Server, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import os, sys\nsys.exit(f\"{os.getcwd()} {os.environ['BENCH_OWN']}\")\n")
    for value in ("a", "b"):
        made = server.run(["list", "metrics", "--plugin", "own.py"], tmp_path, {**ENVIRONMENT, "BENCH_OWN": value}, 60)
        assert f"{tmp_path} {value}" in made.stderr


def test_a_program_is_a_python_of_its_own(server: Server, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("value = 3\n")
    code = "import sys, beside\nprint(__name__, beside.value)\nsys.exit(5)\n"
    made = server.run([], tmp_path, ENVIRONMENT, 60, code)
    assert (made.returncode, made.stdout) == (5, "__main__ 3\n")
    assert server.run([], tmp_path, ENVIRONMENT, 60, "raise ValueError('x')").returncode == 1


def test_a_library_s_variable_needs_a_new_process(server: Server) -> None:
    assert server.takes({**ENVIRONMENT, "BENCH_RESULTS": "r", "COLUMNS": "80"})
    assert not server.takes({**ENVIRONMENT, "HF_ENDPOINT": "http://localhost:1"})


def test_what_takes_too_long_is_ended(server: Server, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import time\ntime.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(["list", "metrics", "--plugin", "own.py"], tmp_path, ENVIRONMENT, 1)
    assert server.run(["--version"], tmp_path, ENVIRONMENT, 30).returncode == 0
    assert time.monotonic() - began < 40

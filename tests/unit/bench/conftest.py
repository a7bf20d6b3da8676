"""What the tests of the suite's modules share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench


@pytest.fixture(scope="session")
def left_by_a_kill() -> Callable[[Path], Path]:
    """The temporary name that a process, which is dead now, had for a path."""
    code = "from pathlib import Path; from bench.store.leftovers import temporary_name; "
    code += "print(temporary_name(Path('NAME')))"
    root = str(Path(bench.__file__).parents[1])
    made = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=True, capture_output=True, text=True
    )
    name = made.stdout.strip()
    return lambda path: path.with_name(name.replace("NAME", path.name))

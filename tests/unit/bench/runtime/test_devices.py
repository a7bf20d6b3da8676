"""What a process tells of its own memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.runtime.devices import peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands the parent's peak to a child")
def test_peak_memory_is_not_the_parents() -> None:
    large = np.ones(50 << 20)  # 400 MiB, touched
    script = "from bench.runtime.devices import peak_memory; print(peak_memory())"
    child = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout)
    assert large.nbytes < peak_memory()
    assert 1 << 20 < child < large.nbytes


@pytest.mark.slow
def test_peak_memory_grows_with_what_is_used() -> None:
    before = peak_memory()
    used = np.ones((before >> 3) + (16 << 20))
    assert peak_memory() >= used.nbytes > before

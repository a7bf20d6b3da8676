"""What work needed: not the files that it mapped, and also what it held for a moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.runtime import memory
from bench.runtime.devices import peak_memory
from bench.runtime.memory import held_memory, needed_memory, watched

SIZE = 64 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells mapped files apart")


@linux
def test_a_mapped_file_is_not_needed_and_a_moment_is(tmp_path: Path) -> None:
    """In a process of its own, whose peak is no other test's."""
    file = tmp_path / "weights"
    file.write_bytes(bytes(SIZE))
    code = f"""
import mmap, numpy as np, time
from bench.runtime.devices import peak_memory
from bench.runtime.memory import needed_memory, watched
before, resident = needed_memory(), peak_memory()
with open({str(file)!r}, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    total = sum(mapped[n] for n in range(0, {SIZE}, 4096))
    print(needed_memory() - before, peak_memory() - resident)
with watched():
    held = np.ones({SIZE} // 8)
    time.sleep(0.5)
    del held
print(needed_memory() - before)
"""
    shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    first, resident, second = map(int, shown.stdout.split())
    assert first < SIZE / 4 < SIZE / 2 < resident
    assert second > 0.9 * SIZE


def test_one_thread_watches_and_ends() -> None:
    def threads() -> int:
        return sum(one.name == "memory" for one in threading.enumerate())

    with watched(), watched():
        assert threads() == 1
    for _ in range(100):
        if threads() == 0:
            break
        time.sleep(0.02)
    assert threads() == 0


def test_where_the_system_does_not_tell_it_is_the_resident_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_HELD", ("Nothing:",))
    assert held_memory() is None
    assert needed_memory() == peak_memory()

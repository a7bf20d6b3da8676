from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.runtime import threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend: cores of this process, cores of the machine, load average."""

    def pretend(available: int, total: int, load: float) -> None:
        monkeypatch.setattr(threads, "available_cores", lambda: available)
        monkeypatch.setattr(os, "cpu_count", lambda: total)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))

    return pretend


def test_omp_num_threads_wins(machine) -> None:
    machine(8, 8, 0.0)
    choice = threads.explain_threads({"OMP_NUM_THREADS": "3"})
    assert choice.count == 3
    assert "OMP_NUM_THREADS" in choice.reason


@pytest.mark.parametrize("nonsense", ["", "0", "-2", "many"])
def test_nonsense_in_the_environment_is_ignored(machine, nonsense: str) -> None:
    machine(4, 4, 0.0)
    assert threads.explain_threads({"OMP_NUM_THREADS": nonsense}).count == 4


@pytest.mark.parametrize(
    ("available", "total", "load", "expected"),
    [
        (2, 2, 0.0, 2),
        (2, 2, 0.4, 2),
        (2, 2, 1.1, 1),  # one busy neighbour
        (2, 2, 9.0, 1),  # never below one
        (16, 16, 3.2, 13),
        (2, 64, 16.0, 2),  # a slice of a big machine: its share of the load is half a core
        (2, 64, 40.0, 1),
    ],
)
def test_busy_cores_are_left_alone(machine, available: int, total: int, load: float, expected: int) -> None:
    machine(available, total, load)
    assert threads.explain_threads({}).count == expected


def test_a_system_without_load_average_uses_its_cores(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(4, 4, 0.0)

    def unsupported() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unsupported)
    assert threads.explain_threads({}).count == 4


@pytest.mark.parametrize(
    ("text", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_container_quota_cuts_the_cores(tmp_path: Path, text: str, most: int | None) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    unlimited = threads.available_cores(tmp_path / "absent")
    assert threads.available_cores(quota) == (most or unlimited)


def test_the_choice_reads_as_a_clause() -> None:
    assert str(threads.ThreadChoice(1, "2 cores, load average 1.0")) == "1 thread (2 cores, load average 1.0)"
    assert str(threads.ThreadChoice(2, "x")) == "2 threads (x)"


def test_apply_sets_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        assert threads.apply_threads().count == threads.choose_threads() == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)

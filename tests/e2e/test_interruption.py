"""Killed in the middle, run twice at once: the numbers must be those of a run that nothing happened to."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

METHODS = ("base", "refl", "combined")
# Enough work for a kill to land in the middle.
SIZE = ["--samples", "12"]
ATTEMPTS = 5


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, run_bench, tiny_suite) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    run_bench(*tiny_suite.arguments(results, *METHODS), *SIZE)
    return results


def unfinished(results: Path) -> bool:
    runs = [path.parent for path in results.rglob("manifest.json")]
    complete = [run for run in runs if json.loads((run / "manifest.json").read_text())["status"] == "complete"]
    return len(complete) < len(METHODS) or not all((run / "summary.json").exists() for run in complete)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Poll until the condition holds; False when the process ends (or time does) first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.002)
    return False


def interrupt(bench_command, arguments: list[str], condition: Callable[[Path], bool], with_signal: int) -> Path:
    """Start in a fresh folder, send the signal once the condition holds; again if the process was quicker."""
    for attempt in range(ATTEMPTS):
        results = bench_command.folder / f"results-{attempt}"
        command = [part.replace("RESULTS", str(results)) for part in arguments]
        process = bench_command.start(*command)
        if wait_for(process, lambda results=results: condition(results)):
            bench_command.kill(process, with_signal)
            if unfinished(results):
                return results
        else:
            bench_command.kill(process)
    pytest.fail(f"the process was never caught in the middle in {ATTEMPTS} attempts")


def generating(results: Path) -> bool:
    return len(list(results.rglob("images/*/*.png"))) >= 3


def scoring(results: Path) -> bool:
    return any(True for _ in results.rglob("scores/*/part-*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [generating, scoring])
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_interrupted_then_continued_gives_the_same_numbers(
    bench_command, tiny_suite, undisturbed: Path, tidy, pixels, stage: Callable[[Path], bool], with_signal: int
) -> None:
    arguments = [*tiny_suite.arguments(Path("RESULTS"), *METHODS), *SIZE]
    results = interrupt(bench_command, arguments, stage, with_signal)
    made = {path: path.stat().st_ino for path in results.rglob("images/*/*.png")}
    bench_command(*(part.replace("RESULTS", str(results)) for part in arguments))
    assert not unfinished(results)
    assert pixels(results) == pixels(undisturbed)
    assert tidy(results).equals(tidy(undisturbed))
    if stage is scoring:  # every image was there and recorded: none is made again
        assert {path: path.stat().st_ino for path in results.rglob("images/*/*.png")} == made
    leftovers = [path for path in results.rglob("*") if ".tmp" in path.name]
    assert leftovers == []


def test_ctrl_c_is_exit_code_130_and_one_sentence(bench_command, tiny_suite, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = bench_command.start(*tiny_suite.arguments(results, "base"), "--samples", "200")
    assert wait_for(process, lambda: generating(results))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said


@pytest.mark.slow
def test_two_runs_at_once_in_one_folder_both_end_right(
    bench_command, tiny_suite, undisturbed: Path, tidy, pixels, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    arguments = [*tiny_suite.arguments(results, *METHODS), *SIZE]
    both = [bench_command.start(*arguments), bench_command.start(*reversed_methods(arguments))]
    for process in both:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert pixels(results) == pixels(undisturbed)
    assert tidy(results).equals(tidy(undisturbed))


def reversed_methods(arguments: list[str]) -> list[str]:
    """The same call with its methods in the other order: locks taken in order of naming would deadlock."""
    return [",".join(reversed(METHODS)) if part == ",".join(METHODS) else part for part in arguments]

"""The command line without models: help, lists, exit codes, speed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest

from bench.cli.app import COMMANDS

HEAVY = ["torch", "pandas", "numpy", "diffusers", "transformers", "pyarrow", "matplotlib"]


def test_help_names_every_command(bench_command) -> None:
    for arguments in (["--help"], ["-h"], []):
        text = bench_command(*arguments).stdout
        assert all(f"  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(bench_command, command: str) -> None:
    assert f"bench {command}" in bench_command(command, "--help").stdout


def test_version(bench_command) -> None:
    assert bench_command("--version").stdout.startswith("imagerefl-bench")


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("methods", ["base", "refl", "combined", "imagerefl", "aig", "scaled"]),
        ("models", ["shapes:pipeline"]),
        ("metrics", ["image_reward", "hpsv2.1", "pickscore", "lpips", "dreamsim", "fid", "attribute_accuracy"]),
        ("prompts", ["shapes", "hpdv2-test", "hpdv2-bench"]),
        ("suites", ["shapes"]),
    ],
)
def test_list(bench_command, topic: str, expected: list[str]) -> None:
    lines = bench_command("list", topic).stdout.splitlines()
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert set(expected) <= first_words


def test_list_without_topic_names_the_topics(bench_command) -> None:
    text = bench_command("list").stdout
    assert all(f"bench list {topic}" in text for topic in ("methods", "models", "metrics", "prompts", "suites"))


def processor_seconds() -> float:
    """What the ended child processes used; on an idle machine the time one waits, since nothing here waits for disk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], ["list", "methods"], ["list", "metrics"], ["list", "prompts"]])
def test_help_and_lists_are_quick_and_light(bench_command, arguments: list[str]) -> None:
    code = (
        "import sys; from bench.cli import main; code = main(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    seconds, libraries = [], []
    for _ in range(3):  # the best of three, and processor time, against what it cannot do without: machines differ
        begin = processor_seconds()
        subprocess.run([sys.executable, "-c", "import typer, pydantic.types"], check=True)
        libraries.append(processor_seconds() - begin)
        begin = processor_seconds()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=bench_command.environment(),
            cwd=bench_command.folder,
            capture_output=True,
            text=True,
        )
        seconds.append(processor_seconds() - begin)
        assert done.returncode == 0, done.stderr
        assert done.stderr.strip() == "[]"
    assert min(seconds) < 4 * min(libraries)


def test_works_with_standard_input_closed(bench_command) -> None:
    script = 'exec <&-; exec "$0" -m bench list methods'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], env=bench_command.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "imagerefl" in done.stdout


def test_a_closed_pipe_is_not_an_error(bench_command) -> None:
    script = 'set -o pipefail; "$0" -m bench list metrics | true'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], env=bench_command.environment(), capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["run"], "--method"),
        (["run", "--bogus"], "--bogus"),
        (["run", "--method", "base", "--samples", "many"], "--samples"),
        (["run", "--method", "base", "--resume", "sometimes"], "missing"),
        (["run", "--method", "base", "--set", "switch_step"], "key=value"),
        (["list", "method"], "Did you mean 'methods'?"),
        (["train", "imageref"], "Did you mean 'imagerefl'?"),
        (["train", "refl", "--learning-rate", "-1"], "--learning-rate"),
        (["score"], "--images"),
        (["score", "--images", "somewhere"], "--suite and --prompts and --name"),
        (["check"], "--thresholds"),
        (["compare", "a"], "B"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(error_of, arguments: list[str], said: str) -> None:
    assert said in error_of(2, *arguments)


def test_precision_and_batch_size_are_options(bench_command: Any, tiny_suite: Any) -> None:
    """Another dtype is another run; the batch size is written down and changes no name."""
    results = bench_command.folder / "results"
    for more in (["--batch-size", "2"], ["--dtype", "bfloat16", "--batch-size", "3"]):
        bench_command(*tiny_suite.arguments(results, "base"), "--limit", "1", *more)
    manifests = [json.loads(path.read_text()) for path in sorted(results.glob("runs/tiny/base@*/manifest.json"))]
    found = {manifest["identity"]["dtype"]: manifest["timings"]["batch_size"] for manifest in manifests}
    assert found == {"float32": 2, "bfloat16": 3}
    bench_command(*tiny_suite.arguments(results, "base"), "--dtype", "float8", code=2)

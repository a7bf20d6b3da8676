"""Every mistake a user can make at `bench run`: one clear sentence, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "refk"], "Did you mean 'refl'?"),
        (["--method", "base", "--metrics", "atribute_accuracy"], "Did you mean 'attribute_accuracy'?"),
        (["--method", "base", "--metrics", "ocr", "--protocol", "oficial"], "official"),
        (["--method", "base", "--prompts", "hpdv2-tst"], "Did you mean 'hpdv2-test'?"),
        (["--method", "base", "--samples", "0"], "samples"),
        (["--method", "base", "--samples", "-3"], "samples"),
        (["--method", "base", "--limit", "0"], "limit"),
        (["--method", "combined", "--set", "switch_step=9"], "0..8"),  # of 8 steps
        (["--method", "combined", "--set", "switch_step=-1"], "0..8"),
        (["--method", "combined", "--set", "switch_step=soon"], "switch_step"),
        (["--method", "combined", "--set", "switchstep=3"], "switch_step"),
        (["--method", "base", "--engine", "cloud"], "engine"),
        (["--method", "base", "--device", "toaster"], "device"),
        (["--method", "base", "--prompts", "nowhere/prompts.jsonl"], "nowhere/prompts.jsonl"),
    ],
)
def test_run_with_a_bad_option(error_of, tiny_suite, tmp_path: Path, options: list[str], said: str) -> None:
    sentence = error_of(2, "run", "--suite", tiny_suite.toml, "--results", tmp_path / "results", *options)
    assert said in sentence
    assert not list(tmp_path.rglob("*.png"))


def test_unknown_suite(error_of) -> None:
    assert "Did you mean 'shapes'?" in error_of(2, "run", "--method", "base", "--suite", "shape")


def test_suite_file_with_an_unknown_key(error_of, tiny_suite, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(tiny_suite.toml.read_text().replace("samples = 2", "sample = 2"))
    sentence = error_of(2, "run", "--method", "base", "--suite", bad)
    assert "bad.toml" in sentence
    assert "sample" in sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ('{"id": "a", "text": "a red circle"}\n{"id": "b", "text": \n', "line 2"),
        ('{"id": "a", "text": "x"}\n{"id": "c"}\n', "line 2"),
        ('{"id": "a", "text": "x"}\n\n{"id": "a", "text": "y"}\n', "line 3"),
        ('{"id": "a/b", "text": "x"}\n', "a/b"),
        ('{"id": "..", "text": "x"}\n', ".."),
        ('{"id": "a..b", "text": "x"}\n', "a..b"),
        ('{"id": "/etc/passwd", "text": "x"}\n', "/etc/passwd"),
        ('{"id": "a", "text": "  "}\n', "line 1"),
        ("[1, 2]\n", "item 1"),
    ],
)
def test_bad_prompt_file(error_of, tiny_suite, tmp_path: Path, content: str, said: str) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(content)
    results = tmp_path / "results"
    sentence = error_of(2, *tiny_suite.arguments(results, "base"), "--prompts", prompts)
    assert "prompts.jsonl" in sentence
    assert said in sentence
    assert not results.exists()


def test_method_without_weights_says_how_to_get_them(error_of, tiny_suite, tmp_path: Path) -> None:
    sentence = error_of(4, *tiny_suite.arguments(tmp_path / "results", "draft"))
    assert "bench train draft" in sentence


def test_corrupted_weights(error_of, tiny_suite, tmp_path: Path) -> None:
    bad = tmp_path / "tuned"
    shutil.copytree(tiny_suite.tuned, bad)
    weights = next(bad.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    sentence = error_of(4, *tiny_suite.arguments(tmp_path / "results", "refl"), "--set", f"weights={bad}")
    assert "tuned" in sentence


def test_absent_weights(error_of, tiny_suite, tmp_path: Path) -> None:
    sentence = error_of(
        4, *tiny_suite.arguments(tmp_path / "results", "refl"), "--set", f"weights={tmp_path / 'nothing'}"
    )
    assert "nothing" in sentence


def test_results_folder_that_is_a_file(error_of, tiny_suite, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("mine")
    sentence = error_of(2, *tiny_suite.arguments(tmp_path / "results", "base"))
    assert "results" in sentence
    assert (tmp_path / "results").read_text() == "mine"


def test_run_of_a_newer_schema(bench_command, error_of, tiny_suite, tmp_path: Path) -> None:
    results = tmp_path / "results"
    bench_command(*tiny_suite.arguments(results, "base"), "--limit", "1", "--samples", "1")
    manifest = next(results.rglob("manifest.json"))
    text = manifest.read_text()
    newer = json.dumps({**json.loads(text), "schema_version": 99})
    manifest.write_text(newer)
    again = [*tiny_suite.arguments(results, "base"), "--limit", "1", "--samples", "1"]
    for arguments in (again, ["report", "--results", str(results)], ["score", str(manifest.parent)]):
        sentence = error_of(2, *arguments)
        assert "99" in sentence
        assert "upgrade" in sentence
    assert manifest.read_text() == newer


def test_unknown_run_names(error_of, tiny_suite, tmp_path: Path) -> None:
    assert "nosuch" in error_of(2, "report", "nosuch", "--results", tmp_path)
    assert "nosuch" in error_of(2, "compare", "nosuch", "other", "--results", tmp_path)
    error_of(2, "report", "--results", tmp_path / "nothing")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this system")
@pytest.mark.parametrize(("options", "reason"), [("size=64k", "space"), ("ro,size=1m", "ead-only")])
def test_full_or_read_only_disk(bench_command, tiny_suite, tmp_path: Path, options: str, reason: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = bench_command.command(*tiny_suite.arguments(disk, "base"), "--samples", "40")
    script = f'mount -t tmpfs -o {options} tmpfs "{disk}" || exit 77; exec "$@"'
    probe = ["unshare", "-rm", "bash", "-c", script, "bash", *command]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -rm is not permitted here")
    done = subprocess.run(probe, env=bench_command.environment(), capture_output=True, text=True, timeout=240)
    if done.returncode == 77:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert reason in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_results_without_permission(error_of, tiny_suite, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "locked" in error_of(2, *tiny_suite.arguments(locked / "results", "base"))

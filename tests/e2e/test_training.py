"""`bench train` as a user calls it: killed and continued, evaluated on the way, refused, on a full disk."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from bench.analysis.table.build import build
from bench.analysis.table.sweeps import curves
from bench.models.sd import StableDiffusion
from bench.store.select import open_runs
from bench.suite.load import load_suite

STEP_SETTINGS = ["--set", "start_step=5", "--set", "grad_steps=6-7"]
SMALL = ["--batch-size", "2", *STEP_SETTINGS, "--set", "probe_prompts=1", "--set", "probe_samples=2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few pictures with captions."""
    folder = tmp_path_factory.mktemp("pictures")
    for shade in (0, 90, 180):
        Image.new("RGB", (72, 64), (shade, 0, 200 - shade)).save(folder / f"{shade}.png")
        (folder / f"{shade}.txt").write_text("a red circle")
    return folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, tiny_suite) -> Path:
    """The tiny suite with the embedded world's small PickScore, and one that is not there."""
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    more = (
        '\n[metrics.pickscore]\nweights = "shapes:pickscore"\n\n[metrics.image_reward]\nweights = "nowhere/model.pt"\n'
    )
    path.write_text(tiny_suite.toml.read_text() + more)
    return path


def train(suite: Path, pictures: Path, out: Path, *more: str) -> list[str]:
    start = ["train", "imagerefl", "--suite", str(suite), "--data", str(pictures), "--out", str(out), "--device", "cpu"]
    return [*start, *SMALL, "--set", "precision=float32", "--set", "accumulation=1", "--set", "ema=0.9", *more]


def weights(out: Path) -> bytes:
    return (out / "diffusion_pytorch_model.safetensors").read_bytes()


def log_of(out: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((out.with_name(out.name + ".log") / "log.csv").read_text().splitlines()))
    return [{**row, "seconds": ""} for row in rows]


@pytest.mark.slow
def test_killed_and_continued_gives_the_same_bytes(bench_command, suite, pictures, tmp_path: Path) -> None:
    steps = ["--steps", "24", "--set", "save_every=3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    bench_command(*train(suite, pictures, whole, *steps))
    kills = 0
    for after in (4, 11):  # updates in the log before the kill
        process = bench_command.start(*train(suite, pictures, parts, *steps))
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            path = parts.with_name("parts.log") / "log.csv"
            if path.exists() and path.read_text().count("\n") > after:
                break
            time.sleep(0.01)
        kills += process.poll() is None
        bench_command.kill(process, signal.SIGKILL)
    assert kills == 2, "the training was quicker than the test"
    done = bench_command(*train(suite, pictures, parts, *steps))
    assert "resuming after update" in done.stderr
    assert weights(whole) == weights(parts)
    assert log_of(whole) == log_of(parts)
    assert not list(tmp_path.rglob("*.tmp"))
    assert "nothing to do" in bench_command(*train(suite, pictures, parts, *steps)).stderr


@pytest.mark.slow
def test_two_processes_train_what_one_trains_with_twice_the_batches(
    bench_command, suite, pictures, tmp_path: Path
) -> None:
    alone = [part.replace("accumulation=1", "accumulation=2") for part in train(suite, pictures, tmp_path / "one")]
    bench_command(*alone, "--steps", "3")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "bench"]
    done = subprocess.run(
        [sys.executable, *launch, *train(suite, pictures, tmp_path / "two", "--steps", "3")],
        cwd=tmp_path, env=bench_command.environment(), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Not the weights: Adam makes whole steps of gradients that are nothing but the order of a sum.
    ours, theirs = (log_of(tmp_path / name) for name in ("two", "one"))
    for name in ("loss", "reward", "gradient_norm", "denoising"):
        assert [float(row[name]) for row in ours] == pytest.approx([float(row[name]) for row in theirs], rel=2e-3)
    assert [row["step"] for row in log_of(tmp_path / "two")] == ["1", "2", "3"], "one process writes"


@pytest.mark.slow
def test_the_path_of_a_training(bench_command, suite, pictures, tmp_path: Path) -> None:
    """--eval-every makes a run a checkpoint, which the report joins; the checkpoint says what it was trained on."""
    small = tmp_path / "small.toml"
    text = suite.read_text()
    small.write_text(text[: text.index("[metrics.image_reward]")])
    out = tmp_path / "made"
    done = bench_command(
        *train(small, pictures, out, "--steps", "4", "--eval-every", "2", "--eval-limit", "2", "--reward", "pickscore")
    )
    results = out.with_name("made.eval")
    assert f"bench report --results {results}" in done.stdout
    manifests = [json.loads(path.read_text()) for path in results.glob("runs/tiny/*/manifest.json")]
    assert {manifest["method"] for manifest in manifests} == {
        "base",
        "imagerefl-training[update=2]",
        "imagerefl-training[update=4]",
    }
    assert all(
        manifest["trained_on"] == ([] if manifest["method"] == "base" else ["pickscore"]) for manifest in manifests
    )
    bench_command("report", "--results", results, "--out", tmp_path / "report")
    table = (tmp_path / "report" / "table.csv").read_text()
    assert "imagerefl-training[update=2]" in table
    runs, _, _ = open_runs(results)
    [curve] = curves(build(runs).rows)
    assert (curve.parameter, [value for _, value in curve.members]) == ("update", ["2", "4"])
    # the suite's own imagerefl says nothing of rewards: the checkpoint does
    bench_command(
        "run", "--suite", small, "--method", "imagerefl", "--set", f"weights={out}", "--samples", "2", "--limit", "1",
        "--results", tmp_path / "results",
    )  # fmt: skip
    [manifest] = (tmp_path / "results").rglob("manifest.json")
    said = json.loads(manifest.read_text())
    assert said["trained_on"] == ["pickscore"]
    assert said["resolved_method"]["trained_on_data"] == [pictures.name]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this system")
def test_full_disk_keeps_the_last_checkpoint(bench_command, tiny_suite, suite, pictures, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -rm is not permitted here")
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = train(suite, pictures, disk / "made", "--steps", "60", "--set", "save_every=1")
    # One checkpoint and state fit, a few more do not. The disk's content is copied out before it goes away.
    copy = f'code=$?; cp -r "{disk}" "{tmp_path}/kept"; exit $code'
    script = f'mount -t tmpfs -o size=1500k tmpfs "{disk}" || exit 77; "$@"; {copy}'
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "bash", *bench_command.command(*arguments)],
        env=bench_command.environment(), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    assert done.returncode in (2, 4), done.stderr  # the checkpoint or the log
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    kept = sorted((tmp_path / "kept").glob("made-step*"), key=lambda path: int(path.name.partition("step")[2]))
    assert kept
    for folder in kept:
        assert json.loads((folder / "training.json").read_text())["objective"] == "imagerefl"
    model = StableDiffusion.load(tiny_suite.tuned.parent / "pipeline", load_suite(tiny_suite.toml))
    for number, folder in enumerate(kept):
        model.add_network(f"kept{number}", folder)
    assert not list((tmp_path / "kept").rglob(".*.tmp"))

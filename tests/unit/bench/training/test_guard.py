"""What is on disk stays: a user's files, another process's training, and states whose bits were flipped."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UsageError
from bench.training import checkpoint
from bench.training.guard import alone, check_place

FACTS = {"objective": "refl", "recipe": {}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made"


def made(folder: Path, **facts: Any) -> Path:
    folder.mkdir()
    (folder / "training.json").write_text(json.dumps({**FACTS, **facts}))
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return folder


def logs(out: Path) -> Path:
    folder = checkpoint.log_folder(out)
    (folder / "samples").mkdir(parents=True)
    (folder / "log.csv").write_text("step,loss,reward\n1,2,3\n")
    for name in ("state.pt", "events.out.tfevents.1.host", ".lock", ".state.pt.tmp", "samples/step-000050.png"):
        (folder / name).write_bytes(b"x")
    return folder


def test_what_bench_train_made_may_be_replaced(out: Path) -> None:
    check_place(out, [50])
    made(out)
    made(out.with_name("made-step50"), step=50)
    logs(out)
    check_place(out, [50])


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a user's")


FOREIGN: dict[str, tuple[Any, str]] = {
    "a user's folder": (lambda out: files(out, "thesis.tex"), "no training.json of a training"),
    "another program's training.json": (
        lambda out: [files(out, "a.bin"), (out / "training.json").write_text('{"lr": 1}')],
        "no training.json of a training",
    ),
    "a user's file in a checkpoint": (lambda out: files(made(out), "notes.txt"), "also contains notes.txt"),
    "a user's folder in a checkpoint": (lambda out: files(made(out), "pictures/a.png"), "also contains pictures"),
    "a file": (lambda out: out.write_text("a user's"), "is not a folder"),
    "a link": (lambda out: out.symlink_to(made(out.with_name("elsewhere"))), "is not a folder"),
    "another checkpoint on the way": (lambda out: made(out.with_name("made-step50")), "not of a checkpoint after 50"),
    "a user's folder on the way": (lambda out: files(out.with_name("made-step50"), "a.txt"), "no training.json"),
    "a user's logs": (lambda out: files(out.with_name("made.log"), "log.csv"), "log.csv is not of a training"),
    "other logs": (lambda out: files(logs(out), "wandb/run.json"), "contains wandb"),
    "other samples": (lambda out: files(logs(out), "samples/best.png"), "contains samples/best.png"),
    "another program's state": (lambda out: files(out.with_name("made.log"), "state.pt"), "without a log.csv"),
    "a log that is a file": (lambda out: out.with_name("made.log").write_text("a user's"), "is not a folder"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_it_did_not_make_is_kept(name: str, out: Path) -> None:
    make, sentence = FOREIGN[name]
    make(out)
    before = {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}
    with pytest.raises(
        UsageError, match=f"was not made by `bench train` alone .*{sentence}.*: move it, or pass another --out"
    ):
        check_place(out, [25, 50])
    assert before == {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_one_process_at_a_time(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, pathlib; from bench.training.guard import alone\n"
        f"with alone(pathlib.Path({str(out)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="another process is training into .*made: wait"), alone(out):
            pass
        monkeypatch.setenv("RANK", "1")
        with alone(out):
            pass  # one of several processes of one training
        monkeypatch.delenv("RANK")
        other.kill()
    with alone(out):
        pass  # a killed holder holds nothing
    assert not checkpoint.log_folder(out).exists(), "what was begun for nothing is removed"


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"facts": {"seed": 1}, "done": 3, "weights": {"a": torch.randn(40, 50)}, "rewards": [0.5]}


def test_every_flipped_bit_of_a_state_is_refused(out: Path) -> None:
    path = checkpoint.state_path(out)
    checkpoint.save_state(path, state())
    loaded = checkpoint.load_state(path)
    assert loaded is not None
    assert torch.equal(loaded["weights"]["a"], state()["weights"]["a"])
    whole = path.read_bytes()
    rng = random.Random(0)
    indices = [*(rng.randrange(len(whole)) for _ in range(200)), *range(len(whole) - 100, len(whole))]
    for index in indices:
        data = bytearray(whole)
        data[index] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"state\.pt (is damaged|was written by another version)"):
            checkpoint.load_state(path)
    for length in (0, 50, len(whole) // 2, len(whole) - 92, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"state\.pt is damaged"):
            checkpoint.load_state(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(UsageError, match=r"state\.pt is damaged"):
        checkpoint.load_state(path)


def test_a_state_of_the_version_before_is_read_and_said(out: Path, said: list[str]) -> None:
    path = checkpoint.state_path(out)
    path.parent.mkdir()
    torch.save({"version": 2, **state()}, path)
    loaded = checkpoint.load_state(path)
    assert loaded is not None
    assert loaded["done"] == 3
    assert "written by an earlier version without a digest; it cannot be verified" in said[-1]
    torch.save({"version": 1, **state()}, path)
    with pytest.raises(UsageError, match="was written by another version"):
        checkpoint.load_state(path)

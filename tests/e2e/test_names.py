"""Names that the command line takes: checkpoints, suites, public prompts, settings. Each mistake is one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (
            4,
            ["--method", "refl"],
            "the paper's authors published no ReFL checkpoint; checkpoints of other methods: Control",
        ),
        (
            4,
            ["--method", "refl"],
            "train one with `bench train refl --suite sd15-hpdv2`, or pass them with `--set weights",
        ),
        (4, ["--method", "srpo"], "its published checkpoints are for other models: flux"),
        (
            2,
            ["--method", "refl", "--set", "weights=tencent/SRPO:x.safetensors"],
            "tuned from black-forest-labs/FLUX.1-dev",
        ),
        (
            4,
            ["--method", "base"],
            "the prompts 'ymhao/HPDv2:test.json' are not on this machine and could not be fetched",
        ),
        (4, ["--method", "base", "--prompts", "drawbench"], "run `curl -L --create-dirs -o"),
        (
            2,
            ["--method", "imagerefl", "--set", "switch_step=20,41"],
            "method 'imagerefl[switch_step=41]': switch step 41",
        ),
        (2, ["--method", "base", "--set", "switch_step=20"], "method 'base' has no setting 'switch_step'"),
        (2, ["--method", "imagerefl", "--set", "switchstep=20"], "Did you mean 'switch_step'?"),
        (2, ["--method", "imagerefl", "--set", "switch_step"], "write it as key=value"),
        (2, ["--method", "imagerefl", "--set", "=3"], "write it as key=value"),
        (2, ["--method", "imagerefl", "--set", "weights="], "write it as key=value"),
        (2, ["--method", "imagerefl", "--set", "switch_step=20", "--set", "switch_step=30"], "is given twice"),
        (2, ["--method", "imagerefl", "--set", "switch_step=2o"], "--set switch_step must be an integer, got '2o'"),
        (
            2,
            ["--method", "imagerefl", "--set", "lora_scale=-1"],
            "lora_scale of method 'imagerefl[lora_scale=-1]' must be",
        ),
        (2, ["--method", "imagerfl"], "unknown method 'imagerfl'. Did you mean 'imagerefl'?"),
    ],
)
def test_at_a_ready_suite(error_of, tmp_path: Path, code: int, options: list[str], said: str) -> None:
    empty = {"HF_HOME": str(tmp_path / "home"), "BENCH_PROMPTS": str(tmp_path / "prompts")}
    assert said in error_of(code, "run", "--suite", "sd15-hpdv2", *options, **empty)
    assert not (tmp_path / "results").exists()


def test_a_checkpoint_that_is_not_here(error_of, tiny_suite, tmp_path: Path) -> None:
    empty = {"HF_HOME": str(tmp_path / "home")}
    run = [*tiny_suite.arguments(tmp_path / "results", "refl"), "--set"]
    offline = error_of(4, *run, "weights=owner/name@v1:unet", **empty)
    assert "HF_HUB_OFFLINE is set: unset it, run `hf download owner/name unet/ --revision v1`" in offline
    assert "do not exist: give a local file or folder" in error_of(4, *run, "weights=./none.safetensors", **empty)
    assert "can run code when it is loaded" in error_of(4, *run, "weights=owner/name:model.ckpt", **empty)


def test_a_demanded_digest(error_of, tiny_suite, tmp_path: Path) -> None:
    file = next(tiny_suite.tuned.glob("*.safetensors"))
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    run = [*tiny_suite.arguments(tmp_path / "results", "refl"), "--limit", "1", "--samples", "1", "--set"]
    assert f"have the sha256 {right}, expected" in error_of(4, *run, f"weights={file}#sha256={'0' * 64}")
    assert "must be 64 hex digits, got 4 characters" in error_of(2, *run, f"weights={file}#sha256={right[:4]}")


def test_a_sweep_names_every_point_once(bench_command, tiny_suite, tmp_path: Path) -> None:
    results = tmp_path / "results"
    run = [*tiny_suite.arguments(results, "base", "combined", "aig"), "--limit", "1", "--samples", "1"]
    settings = ["--set", "switch_step=0,4,6,8", "--set", "power=1,2", "--set", f"aig.weights={tiny_suite.tuned}"]
    bench_command(*run, *settings)
    names = sorted(path.name.partition("@")[0] for path in (results / "runs" / "tiny").iterdir() if path.is_dir())
    assert len(names) == len(set(names)) == 1 + 4 + 2
    assert names[-5:] == ["base", "combined", *(f"combined-switch_step-{k}" for k in (0, 4, 8))]
    assert all(name.startswith(("aig-power-2-weights-", "aig-weights-")) for name in names[:2]), names

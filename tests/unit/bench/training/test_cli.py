"""Every mistake a user can make at `bench train`: one clear sentence, the right exit code, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from bench.cli.app import execute

if TYPE_CHECKING:
    from conftest import TinySuite

STEP_SETTINGS = {"start_step": "5", "grad_steps": "6-7"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (64, 64)).save(folder / "one.png")
    (folder / "one.txt").write_text("a red circle")
    return folder


@pytest.fixture
def suite(tmp_path: Path, tiny_suite: TinySuite) -> Path:
    path = tmp_path / "tiny.toml"
    more = (
        '\n[metrics.pickscore]\nweights = "shapes:pickscore"\n\n[metrics.image_reward]\nweights = "nowhere/model.pt"\n'
    )
    path.write_text(tiny_suite.toml.read_text() + more)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--reward", "attribute_accuracy"], 2, "has no gradient: train on one of"),
        (["--reward", "pikscore"], 2, "Did you mean 'pickscore'"),
        (["--reward", "pickscore=lots"], 2, "is not a metric with a weight"),
        (["--reward", "image_reward"], 4, "nowhere/model.pt"),
        (["--set", "start_step=8"], 2, "start_step 8 is outside the 8 steps"),
        (["--set", "grad_steps=2-9"], 2, "grad_steps 9 is outside the 8 steps"),
        (["--set", "start_step=7", "--set", "grad_steps=3-6"], 2, "is after the last step with gradient"),
        (["--set", "strat_step=3"], 2, "Did you mean 'start_step'"),
        (["--data", "nowhere"], 4, "nowhere is neither a folder nor a readable dataset"),
        (["--preset", "offical"], 2, "Did you mean 'official'"),
        (["--learning-rate", "-1"], 2, "learning_rate must be above 0"),
        (["--learning-rate", "inf"], 2, "learning_rate must be above 0"),
        (["--steps", "0"], 2, "--steps"),
        (["--init", "nowhere"], 4, "nowhere"),
        (["--lora-rank", "2", "--set", "lora_targets=nothing"], 2, "match no layer"),
        (["--device", "toaster"], 2, "device"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(
    options: list[str],
    code: int,
    said: str,
    suite: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--suite", str(suite), "--out", str(tmp_path / "made"), "--set", "precision=float32"]
    given += [] if "--data" in options else ["--data", str(pictures)]
    given += [] if "--device" in options else ["--device", "cpu"]
    for key, value in STEP_SETTINGS.items():
        if not any(option.startswith(f"{key}=") for option in options):
            given += ["--set", f"{key}={value}"]
    assert execute(["train", "imagerefl", *given, *options]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert not (tmp_path / "made").exists()


def test_unknown_objective(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["train", "refk"]) == 2
    assert "Did you mean 'refl'" in capsys.readouterr().err


def test_images_without_captions(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    Image.new("RGB", (64, 64)).save(bare / "bare.png")
    options = ["--suite", str(suite), "--data", str(bare), "--out", str(tmp_path / "made"), "--device", "cpu"]
    indices = [part for key, value in STEP_SETTINGS.items() for part in ("--set", f"{key}={value}")]
    assert execute(["train", "imagerefl", *options, *indices]) == 2
    assert "bare.png have no caption" in capsys.readouterr().err

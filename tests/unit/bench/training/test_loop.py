"""The loop on a tiny random model: what is learnt, written, continued and refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import BenchError, MissingError, UsageError
from bench.models.sd import StableDiffusion
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from bench.training import checkpoint, loop
from bench.training.data import ShapesData
from bench.training.options import TrainOptions
from bench.training.rollout import TUNED
from bench.training.steps import Outcome

if TYPE_CHECKING:
    from conftest import TinySuite

STEP_SETTINGS = {"start_step": "5", "grad_steps": "6-7", "probe_prompts": "1", "probe_samples": "2"}


class Redness:
    """Mean red minus mean blue."""

    def score_pixels(self, pixels: Tensor, prompts: list[str]) -> Tensor:
        return (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2))


@pytest.fixture
def said(said: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told; the world is the shapes', and the reward Redness."""
    monkeypatch.setattr(loop, "data_for", lambda *_: ShapesData())
    monkeypatch.setattr(loop, "load_rewards", lambda *_: Redness())
    return said


@pytest.fixture
def options(tiny_suite: TinySuite, tmp_path: Path) -> Callable[..., TrainOptions]:
    def make(objective: str, name: str = "made", settings: dict[str, str] | None = None, **more: Any) -> TrainOptions:
        recipe: dict[str, Any] = {"steps": 4, "batch_size": 2, "learning_rate": 1e-3, "device": "cpu", **more}
        return TrainOptions(
            objective,
            suite=str(tiny_suite.toml),
            out=tmp_path / name,
            settings={**STEP_SETTINGS, "precision": "float32", "accumulation": "1", **(settings or {})},
            **recipe,
        )

    return make


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(min(folder.glob("*.safetensors")))  # of a LoRA's two files PEFT's


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return all(torch.equal(one[key], two[key]) for key in one)


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((checkpoint.log_folder(out) / "log.csv").read_text().splitlines()))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["base", "refl", "draft", "imagerefl"])
def test_what_a_training_writes(
    objective: str, options: Callable[..., TrainOptions], said: list[str], tmp_path: Path, tiny_suite: TinySuite
) -> None:
    given = options(objective, settings={"save_every": "2"})
    out = loop.train(objective, given)
    assert out == tmp_path / "made"
    facts = json.loads((out / "training.json").read_text())
    assert facts["trained_on"] == ([] if objective == "base" else ["pickscore"])
    assert json.loads((tmp_path / "made-step2" / "training.json").read_text())["step"] == 2
    written = rows(out)
    assert [row["step"] for row in written] == ["1", "2", "3", "4"]
    assert all(float(row["gradient_norm"]) > 0 for row in written)
    assert (written[0]["reward"] != "") == (objective != "base")
    assert [bool(row["probe_diversity"]) for row in written] == [False, True, False, True]
    folder = checkpoint.log_folder(out)
    assert {path.name for path in (folder / "samples").iterdir()} == {"step-000002.png", "step-000004.png"}
    assert list(folder.glob("events.out.tfevents.*"))
    assert not (folder / "state.pt").exists(), "a finished training has nothing to go on from"
    suite = load_suite(tiny_suite.toml)
    model = StableDiffusion.load(Path(suite.model.weights), suite)
    model.add_network(TUNED, out)
    assert any(not torch.equal(value, model.unet.state_dict()[key]) for key, value in weights(out).items())


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(options: Callable[..., TrainOptions], said: list[str]) -> None:
    given = options("refl")
    assert loop.train("refl", given) is not None
    assert loop.train("refl", given) is None
    assert "nothing to do" in said[-1]
    with pytest.raises(UsageError, match="contains something else"):
        loop.train("refl", replace(given, seed=9))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"ema": "0.9", "schedule": "cosine", "warmup": "2"}, id="average"),
        pytest.param({"accumulation": "2", "precision": "bfloat16"}, id="accumulation"),
        pytest.param({"lora_rank": "2", "lora_targets": "to_q,to_v"}, id="lora"),
        pytest.param(
            {
                "checkpointing": "true",
                "kl_weight": "1",
                "refl_every": "2",
                "double_update": "true",
                "optimiser": "adam",
            },
            id="regularised",
        ),
    ],
)
def test_going_on_gives_the_same_weights(
    options: Callable[..., TrainOptions],
    said: list[str],
    tmp_path: Path,
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted after 3 of 4 updates, one past the state: optimiser, average, schedule, data go on bit for bit."""
    settings = {**settings, "save_every": "2"}
    whole = loop.train("imagerefl", options("imagerefl", "whole", settings))
    assert whole is not None
    update = loop.update

    def interrupted(training: loop.Training) -> dict[str, float]:
        if training.done == 3:
            raise KeyboardInterrupt
        return update(training)

    monkeypatch.setattr(loop, "update", interrupted)
    given = options("imagerefl", "parts", settings)
    with pytest.raises(KeyboardInterrupt):
        loop.train("imagerefl", given)
    monkeypatch.setattr(loop, "update", update)
    with pytest.raises(UsageError, match="belongs to another training run"):
        loop.train("imagerefl", replace(given, seed=1))
    parts = loop.train("imagerefl", given)
    assert parts is not None
    assert "resuming after update 2 of 4" in said[-2]
    assert same(whole, parts)
    ours, theirs = ([{**row, "seconds": ""} for row in rows(out)] for out in (whole, parts))
    assert ours == theirs


@pytest.mark.slow
def test_a_kill_after_the_state_costs_no_row_of_the_log(
    options: Callable[..., TrainOptions], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save_state

    def killed(path: Path, state: Any) -> None:
        save(path, state)
        raise KeyboardInterrupt

    given = options("refl", settings={"save_every": "2"})
    monkeypatch.setattr(checkpoint, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.train("refl", given)
    monkeypatch.setattr(checkpoint, "save_state", save)
    out = loop.train("refl", given)
    assert out is not None
    assert [row["step"] for row in rows(out)] == ["1", "2", "3", "4"]


@pytest.mark.slow
def test_a_damaged_state_is_refused(options: Callable[..., TrainOptions], said: list[str], tmp_path: Path) -> None:
    folder = checkpoint.log_folder(tmp_path / "made")
    folder.mkdir()
    (folder / "log.csv").write_text("step,loss,reward\n")
    (folder / "state.pt").write_bytes(b"PK half of it")
    with pytest.raises(UsageError, match="state.pt is damaged"):
        loop.train("refl", options("refl"))
    assert loop.train("refl", options("refl", resume="never")) is not None


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["gradient", "reward"])
def test_numbers_that_are_not_finite_stop_the_training(
    options: Callable[..., TrainOptions], said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
) -> None:
    real = loop.STEPS["refl"]

    def step(trainer: Any, draws: Any) -> Outcome:
        outcome = real(trainer, draws)
        if draws.number == 3:
            assert outcome.rewards is not None
            nan = float("nan")
            return replace(
                outcome,
                **({"loss": outcome.loss * nan} if broken == "gradient" else {"rewards": outcome.rewards * nan}),
            )
        return outcome

    monkeypatch.setitem(loop.STEPS, "refl", step)
    with pytest.raises(BenchError, match=f"stopped at step 3: the {broken} is"):
        loop.train("refl", options("refl", settings={"save_every": "2"}))
    assert checkpoint.read_facts(tmp_path / "made-step2")["step"] == 2
    assert not (tmp_path / "made").exists()
    assert [row["step"] for row in rows(tmp_path / "made")] == ["1", "2"]


@pytest.mark.slow
def test_evaluations_come_with_their_checkpoints(
    options: Callable[..., TrainOptions], said: list[str], tmp_path: Path
) -> None:
    seen: list[tuple[int, Path | None]] = []

    def evaluate(done: int, folder: Path | None) -> None:
        assert folder is None or (folder / "training.json").exists()
        seen.append((done, folder))

    loop.train("refl", options("refl", eval_every=2, settings={"save_every": "3"}), evaluate)
    assert seen == [(0, None), (2, tmp_path / "made-step2"), (4, tmp_path / "made")]


@pytest.mark.slow
def test_an_evaluation_that_was_killed_is_made_when_the_training_goes_on(
    options: Callable[..., TrainOptions], said: list[str]
) -> None:
    given = options("refl", eval_every=2)
    seen: list[int] = []

    def evaluate(done: int, folder: Path | None) -> None:
        if done and done not in seen:
            seen.append(done)
            raise KeyboardInterrupt

    for _ in range(2):  # at 2, then at 4, which is the end
        with pytest.raises(KeyboardInterrupt):
            loop.train("refl", given, evaluate)
    again: list[int] = []
    loop.train("refl", given, lambda done, folder: again.append(done))
    assert (seen, again) == ([2, 4], [4])
    assert loop.train("refl", given, evaluate) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "settings", "said_"),
    [
        ("refl", {"grad_steps": "6-8"}, "grad_steps 8 is outside the 8 steps"),
        ("imagerefl", {"start_step": "9"}, "start_step 9 is outside the 8 steps"),
        ("imagerefl", {"start_step": "7", "grad_steps": "5-6"}, "is after the last step with gradient"),
        ("refl", {"grad_steps": "7-6"}, "empty range"),
        ("draft", {"last_steps": "9"}, "last_steps 9 is outside the 8 steps"),
        ("refl", {"precision": "float16"}, "needs a CUDA device"),
        ("refl", {"schedule": "sawtooth"}, "unknown learning-rate schedule 'sawtooth'"),
        ("refl", {"lora_rank": "2", "lora_targets": "nothing"}, "match no layer of the UNet2DConditionModel"),
    ],
)
def test_settings_that_cannot_be(
    objective: str, settings: dict[str, str], said_: str, options: Callable[..., TrainOptions], said: list[str]
) -> None:
    with pytest.raises(UsageError, match=said_):
        loop.train(objective, options(objective, settings=settings))


def test_an_optimiser_that_is_not_installed(
    options: Callable[..., TrainOptions], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    with pytest.raises(MissingError, match="pip install bitsandbytes"):
        loop.train("refl", options("refl", settings={"optimiser": "adamw8bit"}))


@pytest.mark.slow
def test_a_lora_is_no_start_for_whole_weights(
    options: Callable[..., TrainOptions], said: list[str], tmp_path: Path
) -> None:
    out = loop.train("refl", options("refl", "lora", {"lora_rank": "2"}))
    with pytest.raises(UsageError, match="is a LoRA"):
        loop.train("refl", options("refl", init=str(out)))
    again = loop.train("refl", options("refl", "again", {"lora_rank": "2"}, init=str(out)))
    assert again is not None
    assert out is not None
    assert not same(out, again)


def test_rewards_of_this_suite_must_have_a_gradient(tiny_suite: TinySuite, suite: Suite) -> None:
    for name in ("attribute_accuracy", "lpips"):
        with pytest.raises(UsageError, match=f"metric '{name}' has no gradient: train on one of .*pickscore"):
            loop.train("refl", TrainOptions("refl", suite="shapes", reward=name))


def test_a_checkpoint_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    old = tmp_path / ".made.old.tmp"
    old.mkdir()
    checkpoint.recover(tmp_path / "made")
    assert (tmp_path / "made").is_dir()
    assert not old.exists()

"""What makes two trainings the same one, and what a checkpoint says about itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bench.errors import UsageError
from bench.methods.checkpoints import find_checkpoint
from bench.models import weights
from bench.pipeline.trajectory import method_at
from bench.suite.load import load_suite
from bench.suite.metric_spec import MetricSpec
from bench.suite.schema import Suite
from bench.training import checkpoint
from bench.training.data import ShapesData, data_for
from bench.training.identity import difference, facts_of, still_to_do
from bench.training.options import TrainOptions
from bench.training.recipes import recipe_for

if TYPE_CHECKING:
    from conftest import TinySuite

REFL = TrainOptions("refl", preset="corrected")
REWARD = {"pickscore": 1.0}


def facts(suite: Suite, options: TrainOptions = REFL, reward: dict[str, float] = REWARD) -> dict[str, Any]:
    return facts_of(options, suite, reward, recipe_for(options, suite.label), ShapesData())


def with_other_weights(suite: Suite, folder: Path) -> Suite:
    """The same name for the model, of other content: a config that says one thing more."""
    copy = folder / "pipeline"
    shutil.copytree(suite.model.weights, copy)
    config = copy / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 9}))
    return suite.model_copy(update={"model": suite.model.model_copy(update={"weights": str(copy)})})


CHANGES: dict[str, Callable[[Suite, Path], Suite]] = {
    "sampler": lambda suite, _: suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"steps": 9})}),
    "resolution": lambda suite, _: suite.model_copy(update={"resolution": 32}),
    "model": with_other_weights,
    "scorers": lambda suite, _: suite.model_copy(
        update={"metrics": {**suite.metrics, "pickscore": MetricSpec(weights="shapes:pickscore")}}
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_suite_of_the_same_name_is_another_training(what: str, suite: Suite, tmp_path: Path) -> None:
    before, after = facts(suite), facts(CHANGES[what](suite, tmp_path))
    assert difference(before, after) == f"other {what}"
    out = tmp_path / "made"
    out.mkdir()
    (out / "training.json").write_text(json.dumps(before))
    assert not still_to_do(out, before)
    with pytest.raises(UsageError, match=rf"contains something else \(other {what}\)"):
        still_to_do(out, after)


def test_what_a_killed_training_left_goes_when_it_goes_on(
    suite: Suite, left_by_a_kill: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The training is not finished: its temporary files go before it continues."""
    logs = tmp_path / "made.log"
    (logs / "samples").mkdir(parents=True)
    left = [left_by_a_kill(logs / "state.pt.sha256"), left_by_a_kill(logs / "samples/step-000002.png")]
    for path in left:
        path.write_bytes(b"half")
    (logs / "log.csv").write_text("step\n")
    assert still_to_do(tmp_path / "made", facts(suite))
    assert not any(path.exists() for path in left)
    assert (logs / "log.csv").exists()


def test_other_weights_to_start_from_are_another_training(suite: Suite, tiny_suite: TinySuite, tmp_path: Path) -> None:
    shutil.copytree(tiny_suite.tuned, tmp_path / "tuned")
    options = replace(REFL, init=str(tmp_path / "tuned"))
    before = facts(suite, options)
    config = tmp_path / "tuned" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 9}))
    assert difference(before, facts(suite, options)) == "other start"
    assert difference(facts(suite), before) == "other start"


def test_a_preset_that_is_spelled_out_is_the_same_training(suite: Suite) -> None:
    assert difference(facts(suite, TrainOptions("refl")), facts(suite)) == ""
    assert difference(facts(suite), facts(suite, replace(REFL, seed=1))) == "other seed"
    assert difference(facts(suite), facts(suite, replace(REFL, steps=3))) == "other recipe"


def test_a_checkpoint_on_the_way_is_not_the_finished_one(suite: Suite) -> None:
    assert difference({**facts(suite), "step": 50}, facts(suite)) == "other step"


def test_settings_that_came_later_had_their_defaults(suite: Suite) -> None:
    """A training that an earlier version began goes on where the new settings say what that version did."""
    now = facts(suite)
    later = ("learn", "accumulate", "refl_terms", "fit", "order", "captions")
    old = {**now, "recipe": {key: value for key, value in now["recipe"].items() if key not in later}}
    assert difference(old, now) == ""
    assert difference(old, facts(suite, replace(REFL, settings={"learn": "norms"}))) == "other recipe"


def test_facts_of_an_older_version_are_another_training(suite: Suite) -> None:
    old = {key: value for key, value in facts(suite).items() if key != "inputs"}
    assert "another version" in difference({**old, "schema_version": 1}, facts(suite))


def test_facts_come_back_from_their_file(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps(facts(suite)))
    assert checkpoint.read_facts(tmp_path) == facts(suite)


def test_other_pictures_or_captions_are_other_data(suite: Suite, tmp_path: Path) -> None:
    def listing() -> str:
        return data_for(suite, str(tmp_path), True).listing()

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("black")
    first = listing()
    assert listing() == first
    (tmp_path / "a.txt").write_text("dark")
    second = listing()
    Image.new("RGB", (80, 8)).save(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("black")
    assert len({first, second, listing()}) == 3


def test_other_prompts_are_other_data(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    other = suite.model_copy(update={"prompts": str(tmp_path / "prompts.txt")})
    assert data_for(suite, None, False).listing() != data_for(other, None, False).listing()
    assert data_for(load_suite("shapes"), None, True).listing() == "shapes"


def test_what_the_start_was_trained_on_is_not_forgotten(suite: Suite, tiny_suite: TinySuite, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(tiny_suite.tuned, start)
    (start / "training.json").write_text('{"trained_on": ["hpsv2.1"], "trained_on_data": ["coco-train2017"]}')
    for init in (start, start / "diffusion_pytorch_model.safetensors"):
        said = facts(suite, replace(REFL, init=str(init)))
        assert (said["trained_on"], said["trained_on_data"]) == (["hpsv2.1", "pickscore"], ["coco-train2017"])
    assert (facts(suite)["trained_on"], facts(suite)["trained_on_data"]) == (["pickscore"], [])
    base = TrainOptions("base", init=str(start), data="mine/pictures")
    said = facts(suite, base, {})
    assert (said["trained_on"], said["trained_on_data"]) == (["hpsv2.1"], ["coco-train2017", "pictures"])
    captions_alone = replace(REFL, data="mine/pictures")
    assert facts(suite, captions_alone)["trained_on_data"] == []


def test_a_published_start_brings_its_rewards(
    suite: Suite, tiny_suite: TinySuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = find_checkpoint("ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet")
    assert published is not None
    monkeypatch.setattr(weights, "_from_hub", lambda name: tiny_suite.tuned)
    said = facts(suite, replace(REFL, init=published.weights))
    assert said["trained_on"] == sorted({*published.trained_on, "pickscore"})
    assert len(said["trained_on"]) > 1
    assert said["trained_on_data"] == ["coco-train"]


def test_the_clip_regularisers_metric_was_climbed_too(suite: Suite) -> None:
    options = TrainOptions("imagerefl", settings={"clip_weight": "0.1", "clip_metric": "clip_score"})
    assert facts(suite, options)["trained_on"] == ["clip_score", "pickscore"]
    assert facts(suite, TrainOptions("imagerefl"))["trained_on"] == ["pickscore"]


def test_an_evaluation_on_the_way_leaves_the_rewards_to_the_checkpoint(tiny_suite: TinySuite) -> None:
    method = method_at("refl", 2, tiny_suite.tuned, str(tiny_suite.toml))
    assert (method.name, method.trained_on) == ("refl-training[update=2]", ())

"""From options to a recipe."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.training.options import TrainOptions, parse_reward, reward_name
from bench.training.recipes import check_official, recipe_for


def test_options_win_over_the_recipe() -> None:
    recipe = recipe_for(TrainOptions("refl", steps=7, learning_rate=1e-6, lora_rank=4), None)
    assert (recipe.steps, recipe.learning_rate, recipe.lora_rank, recipe.batch_size) == (7, 1e-6, 4, 8)
    assert recipe_for(TrainOptions("refl"), "shapes").batch_size == 16


def test_the_shipped_checkpoints_recipes() -> None:
    """What the shipped `training.json` say; the embedded suite's figures were measured with them."""
    refl = recipe_for(TrainOptions("refl"), "shapes")
    assert (refl.steps, refl.learning_rate, refl.batch_size, refl.grad_steps) == (250, 3e-4, 16, (30, 39))
    image = recipe_for(TrainOptions("imagerefl"), "shapes")
    assert (image.steps, image.learning_rate, image.start_step, image.diffusion_weight) == (120, 2e-4, 30, 0.01)
    assert (image.optimiser, image.clip, image.weight_decay, image.double_update) == ("adamw", 1.0, 0.01, False)


def test_the_presets_differ_in_the_slips_of_the_official_code() -> None:
    official = recipe_for(TrainOptions("imagerefl", preset="official"), None)
    corrected = recipe_for(TrainOptions("imagerefl", preset="corrected"), "shapes")
    assert (official.double_update, official.off_by_one, official.clip) == (True, True, 0.0)
    assert (corrected.double_update, corrected.off_by_one, corrected.clip) == (False, False, 1.0)
    same = (
        "steps",
        "learning_rate",
        "batch_size",
        "accumulation",
        "optimiser",
        "start_step",
        "grad_steps",
        "precision",
    )
    assert all(getattr(official, name) == getattr(corrected, name) for name in same)
    assert not recipe_for(TrainOptions("refl", preset="official"), None).off_by_one, "from noise there is no slip"


def test_the_official_preset_repeats_how_the_official_code_reads_and_sums() -> None:
    official = recipe_for(TrainOptions("imagerefl", preset="official"), None)
    assert (official.accumulate, official.fit, official.order, official.captions, official.refl_terms) == (
        "sum", "squash", "shuffled", "first", True,
    )  # fmt: skip
    corrected = recipe_for(TrainOptions("imagerefl", preset="corrected"), None)
    assert (corrected.accumulate, corrected.fit, corrected.order, corrected.captions, corrected.refl_terms) == (
        "mean", "crop", "replacement", "any", False,
    )  # fmt: skip


@pytest.mark.parametrize("preset", ["official", "official-norms"])
def test_the_official_preset_does_not_train_on_the_evaluation_prompts(preset: str) -> None:
    with pytest.raises(UsageError, match="would train on the evaluation prompts of suite 'mine'; give --data"):
        check_official(TrainOptions("refl", preset=preset), "mine", None)
    check_official(TrainOptions("refl", preset=preset, data="captions"), "mine", None)
    check_official(TrainOptions("refl", preset=preset), "shapes", "shapes")
    check_official(TrainOptions("refl", preset="corrected"), "mine", None)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("grad_steps", "25-29", (25, 29)),
        ("grad_steps", "25", (25, 25)),
        ("checkpointing", "True", True),
        ("lora_targets", "to_q, to_k", ("to_q", "to_k")),
        ("ema", "0.99", 0.99),
        ("accumulation", "3", 3),
        ("schedule", "cosine", "cosine"),
    ],
)
def test_settings_are_read_as_their_kind(key: str, text: str, value: object) -> None:
    assert getattr(recipe_for(TrainOptions("refl", settings={key: text}), None), key) == value


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grad_step": "3"}, "Did you mean 'grad_steps'"),
        ({"grad_steps": "a-b"}, "must be a range like 30-39"),
        ({"checkpointing": "maybe"}, "must be true or false"),
        ({"accumulation": "1.5"}, "must be an integer"),
        ({"accumulation": "0"}, "accumulation must be at least 1"),
        ({"start_step": "-1"}, "start_step must be at least 0"),
        ({"learning_rate": "0"}, "learning_rate must be above 0"),
        ({"lora_alpha": "-4"}, "lora_alpha must be at least 0"),
        ({"diffusion_weight": "nan"}, "diffusion_weight must be at least 0"),
        ({"ema": "1"}, "ema must be in 0..1"),
        ({"guidance": "0.5"}, "guidance must be at least 1"),
        ({"optimiser": "adan"}, "Did you mean 'adam'"),
        ({"precision": "float8"}, "unknown precision"),
        ({"fit": "squashed"}, "Did you mean 'squash'"),
        ({"order": "random"}, "unknown order 'random'"),
        ({"captions": "last"}, "unknown captions 'last'"),
        ({"accumulate": "add"}, "unknown accumulate 'add'"),
        ({"reward_loss": "hinges"}, "Did you mean 'hinge'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe_for(TrainOptions("refl", settings=settings), None)


def test_a_setting_is_given_once() -> None:
    with pytest.raises(UsageError, match="steps is given twice"):
        recipe_for(TrainOptions("refl", steps=3, settings={"steps": "4"}), None)


def test_an_unknown_objective() -> None:
    with pytest.raises(UsageError, match="Did you mean 'draft'"):
        TrainOptions("drafts")


def test_an_unknown_preset() -> None:
    with pytest.raises(UsageError, match="Did you mean 'official'"):
        recipe_for(TrainOptions("refl", preset="oficial"), None)


def test_rewards_are_read_with_their_weights() -> None:
    assert parse_reward("pickscore") == {"pickscore": 1.0}
    assert parse_reward("hpsv2.1=1, pickscore=0.5") == {"hpsv2.1": 1.0, "pickscore": 0.5}
    assert reward_name({"pickscore": 1.0}) == "pickscore"
    assert reward_name({"hpsv2.1": 1.0, "pickscore": 0.5}) == "hpsv2.1-1+pickscore-0.5"


@pytest.mark.parametrize("text", ["", "=1", "pickscore=", "pickscore=much", "pickscore=0", "a=inf", "a,,b"])
def test_rewards_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="not a metric with a weight"):
        parse_reward(text)
    with pytest.raises(UsageError, match="names a twice"):
        parse_reward("a,a=2")

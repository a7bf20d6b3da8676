from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bench.errors import UsageError
from bench.registry.families import FAMILIES
from bench.suite.load import load_suite
from bench.suite.plan import Item, RunPlan, hash8, make_plan, same_pixels, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from bench.suite.schema import Sampler, Suite
from prompts import Prompt

PROMPTS = [Prompt("a", "a red circle"), Prompt("b", "a blue star")]
DIGESTS = {"shapes:pipeline": "p" * 64, "shapes:refl": "r" * 64, "shapes:imagerefl": "i" * 64}


@pytest.fixture(scope="module")
def shapes() -> Suite:
    return load_suite("shapes")


def plan(suite: Suite, method: str, prompts: list[Prompt] = PROMPTS, **settings: str) -> RunPlan:
    return make_plan(suite, [resolve_method(method, suite, settings)], prompts, DIGESTS)[0]


def test_items_are_prompts_times_samples(shapes: Suite) -> None:
    made = plan(shapes.override(samples=2), "base")
    assert made.items == (
        Item("a", "a red circle", 0),
        Item("a", "a red circle", 1),
        Item("b", "a blue star", 0),
        Item("b", "a blue star", 1),
    )
    assert made.missing({("a", 0), ("b", 1)}) == (made.items[1], made.items[2])
    assert made.name == f"base@{made.hash8}"


def test_the_identity_is_stable() -> None:
    """A changed hash makes all stored runs worthless: change this value only together with SAMPLING_VERSION."""
    suite = Suite.model_validate(
        {
            "name": "fixed",
            "model": {"weights": "shapes:pipeline"},
            "prompts": "shapes",
            "methods": {"combined": {"weights": "shapes:refl", "switch_step": 30}},
            "metrics": {"lpips": {}},
        }
    )
    made = plan(suite, "combined")
    assert set(made.identity) == {
        "sampling_version",
        "model",
        "tuned",
        "guidance",
        "schedule",
        "sampler",
        "seed",
        "resolution",
        "dtype",
        "prompts",
    }
    assert json.loads(json.dumps(made.identity)) == made.identity
    assert made.hash8 == hash8(json.loads(json.dumps(made.identity)))
    assert made.name == "combined@4166ad05"


@pytest.mark.parametrize(
    "change",
    [
        lambda suite: suite.override(seed=1),
        lambda suite: suite.model_copy(update={"guidance": 4.0}),
        lambda suite: suite.model_copy(update={"resolution": 128}),
        lambda suite: suite.model_copy(update={"dtype": "bfloat16"}),
        lambda suite: suite.model_copy(update={"sampler": Sampler(steps=41)}),
        lambda suite: suite.model_copy(update={"sampler": Sampler(scheduler="DDIMScheduler")}),
        lambda suite: suite.model_copy(update={"sampler": Sampler(options={"eta": 0.5})}),
        lambda suite: suite.override(limit=1),
    ],
)
def test_what_changes_pixels_changes_the_hash(shapes: Suite, change: Callable[[Suite], Suite]) -> None:
    assert plan(change(shapes), "combined").hash8 != plan(shapes, "combined").hash8


@pytest.mark.parametrize(
    "change",
    [
        lambda suite: suite.override(samples=9),
        lambda suite: suite.override(metrics=["lpips"]),
        lambda suite: suite.model_copy(update={"label": "other", "title": "other", "reference": None}),
        lambda suite: suite.override(limit=2),
    ],
)
def test_what_does_not_change_pixels_does_not(shapes: Suite, change: Callable[[Suite], Suite]) -> None:
    assert plan(change(shapes), "combined").hash8 == plan(shapes, "combined").hash8


def test_an_unused_side_is_not_in_the_identity(shapes: Suite) -> None:
    other = shapes.model_copy(update={"guidance": 9.0})
    assert plan(shapes, "refl").hash8 == plan(other, "refl").hash8
    assert plan(shapes, "base").hash8 != plan(other, "base").hash8
    assert plan(shapes, "base").identity["tuned"] is None
    assert plan(shapes, "refl").identity["guidance"] == {"tuned": 1.0}
    never = plan(shapes, "combined", switch_step="40")
    assert never.identity == plan(shapes, "base").identity
    assert plan(shapes, "combined", switch_step="0").identity == plan(shapes, "refl").identity


def test_other_weights_are_another_run(shapes: Suite) -> None:
    method = resolve_method("refl", shapes)
    first, second = (
        make_plan(shapes, [method], PROMPTS, DIGESTS | {"shapes:refl": digest * 64})[0].hash8 for digest in "xy"
    )
    assert first != second


def test_a_prompt_more_changes_the_hash_but_not_the_pixels(shapes: Suite) -> None:
    more = plan(shapes, "combined", [*PROMPTS, Prompt("c", "a green ring")])
    few = plan(shapes, "combined")
    assert more.hash8 != few.hash8
    assert same_pixels(more.identity, few.identity)
    assert not same_pixels(more.identity, plan(shapes, "combined", switch_step="20").identity)
    assert not same_pixels(more.identity, plan(shapes.override(seed=1), "combined").identity)


def test_the_order_of_prompts_and_their_tags_do_not_matter(shapes: Suite) -> None:
    tagged = [Prompt("b", "a blue star", ("tag",)), Prompt("a", "a red circle")]
    assert plan(shapes, "base", tagged).hash8 == plan(shapes, "base").hash8


def test_the_limit_cuts_the_prompts(shapes: Suite) -> None:
    made = plan(shapes.override(limit=1), "base")
    assert made.prompts == (PROMPTS[0],)
    assert made.hash8 == plan(shapes, "base", PROMPTS[:1]).hash8


def test_one_plan_per_method_in_order(shapes: Suite) -> None:
    methods = resolve_methods(["imagerefl", "base", "combined"], shapes, {"switch_step": "20"})
    plans = make_plan(shapes, methods, PROMPTS, DIGESTS)
    assert [made.method.name for made in plans] == ["imagerefl[switch_step=20]", "base", "combined[switch_step=20]"]
    assert len(make_plan(shapes, [*methods, *methods], PROMPTS, DIGESTS)) == 3


def test_only_weights_that_run_are_asked_for(shapes: Suite) -> None:
    methods = resolve_methods(["base", "combined", "refl"], shapes)
    assert weights_names(shapes, methods) == ["shapes:pipeline", "shapes:refl"]
    assert weights_names(shapes, methods[:1]) == ["shapes:pipeline"]
    assert weights_names(shapes, resolve_methods(["combined"], shapes, {"switch_step": "40"})) == ["shapes:pipeline"]


def test_nothing_to_do_is_a_mistake(shapes: Suite) -> None:
    with pytest.raises(UsageError, match="no prompts"):
        make_plan(shapes, [resolve_method("base", shapes)], [], DIGESTS)
    with pytest.raises(UsageError, match="no methods"):
        make_plan(shapes, [], PROMPTS, DIGESTS)


def test_what_a_lora_and_a_distilled_model_are_told_changes_the_pixels(shapes: Suite) -> None:
    half = plan(shapes, "refl", lora_scale="0.5")
    assert half.identity["tuned"] == f"{'r' * 64}*0.5"
    assert half.name.startswith("refl-lora_scale-0.5@")
    assert plan(shapes, "refl", lora_scale="1").identity == plan(shapes, "refl").identity
    told = shapes.model_copy(update={"model": shapes.model.model_copy(update={"embedded_guidance": 3.5})})
    assert plan(told, "base").identity == {**plan(shapes, "base").identity, "embedded_guidance": 3.5}
    with pytest.raises(UsageError, match="lora_scale of method .* must be above 0, got 0"):
        plan(shapes, "refl", lora_scale="0")


def test_scales_that_differ_in_the_seventh_digit_are_two_runs(shapes: Suite) -> None:
    first, second = (plan(shapes, "refl", lora_scale=text) for text in ("0.50000001", "0.50000002"))
    assert first.hash8 != second.hash8
    assert first.method.name != second.method.name
    assert len(resolve_methods(["refl"], shapes, {"lora_scale": "0.50000001,0.50000002"})) == 2


def test_a_family_of_a_plugin_is_part_of_the_identity(shapes: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes other images of the same folder; the identities of built-in families are what they were."""
    monkeypatch.setattr(FAMILIES, "_targets", {**FAMILIES._targets, "halved": "my_models_code:Halved"})
    halved = shapes.model_copy(update={"model": shapes.model.model_copy(update={"family": "halved"})})
    assert "family" not in plan(shapes, "base").identity
    assert plan(halved, "base").identity == {**plan(shapes, "base").identity, "family": "halved"}

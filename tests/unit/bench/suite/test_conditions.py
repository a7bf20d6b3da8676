"""Prompt conditions from a suite or a call to identities: only where they are set, and only where they act."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.generation.generate import actions_for
from bench.methods.conditions import conditions_of
from bench.suite.load import load_suite
from bench.suite.plan import RunPlan, make_plan, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt

PROMPTS = [Prompt("a", "a red circle")]
FACTS: dict[str, Any] = {
    "name": "fixed",
    "model": {"weights": "shapes:pipeline"},
    "prompts": "shapes",
    "methods": {"combined": {"weights": "shapes:refl", "switch_step": 30}},
    "metrics": {"lpips": {}},
}


def suite_with(method: dict[str, Any] | None = None, **more: Any) -> Suite:
    facts = json.loads(json.dumps(FACTS)) | more
    facts["methods"]["combined"] |= method or {}
    return Suite.model_validate(facts)


def plan(suite: Suite, method: str = "combined", **settings: str) -> RunPlan:
    resolved = resolve_method(method, suite, settings)
    digests = {name: f"{name}-digest" for name in weights_names(suite, [resolved])}
    return make_plan(suite, [resolved], PROMPTS, digests)[0]


def test_only_what_is_set_and_acts_is_in_the_identity() -> None:
    plain = plan(suite_with())
    assert "conditions" not in plain.identity
    negative = plan(suite_with(negative_prompt="bad"))
    # Combined generation runs its tuned side without guidance: there is no negative prompt to have.
    assert negative.identity["conditions"] == {"base": {"negative_prompt": "bad"}}
    both = plan(suite_with({"tuned_guidance": 3.0}, negative_prompt="bad"))
    assert set(both.identity["conditions"]) == {"base", "tuned"}
    assert plan(suite_with({"tuned_guidance": 3.0, "negative_prompt": "worse"}, negative_prompt="bad")).identity[
        "conditions"
    ]["tuned"] == {"negative_prompt": "worse"}
    skipped = plan(suite_with(clip_skip=1))
    assert skipped.identity["conditions"] == {"base": {"clip_skip": 1}, "tuned": {"clip_skip": 1}}
    assert len({one.hash8 for one in (plain, negative, both, skipped)}) == 4
    without = [plan(one, "refl", weights="x").hash8 for one in (suite_with(), suite_with(negative_prompt="bad"))]
    assert without[0] == without[1]


def test_embeddings_are_in_it_by_their_digest() -> None:
    suite = suite_with({"embeddings": {"word": "b.safetensors"}}, embeddings={"cat": "a.safetensors", "word": "x"})
    method = resolve_method("combined", suite)
    assert conditions_of(suite, method).embeddings == (("cat", "a.safetensors"), ("word", "b.safetensors"))
    assert {"a.safetensors", "b.safetensors"} <= set(weights_names(suite, [method]))
    found = plan(suite).identity["conditions"]["tuned"]
    assert found == {"embeddings": {"cat": "a.safetensors-digest", "word": "b.safetensors-digest"}}


def test_methods_share_the_steps_that_have_equal_conditions() -> None:
    """A condition of one method makes its networks others than those of a method without."""
    suite = suite_with({"negative_prompt": "bad"})
    plans = {name: plan(suite, name) for name in ("base", "combined")}
    first = {name: actions_for(one, 40)[0][0].network for name, one in plans.items()}
    assert first["base"] == "base"
    assert first["combined"].startswith("base|")
    shared = suite_with(negative_prompt="bad")
    names = {actions_for(plan(shared, name), 40)[0][0].network for name in ("base", "combined")}
    assert len(names) == 1


def test_settings_of_a_call() -> None:
    suite = suite_with()
    method = resolve_method("combined", suite, {"negative_prompt": "bad, ugly", "clip_skip": "2"})
    assert (method.negative_prompt, method.clip_skip) == ("bad, ugly", 2)
    assert method.name == "combined[negative_prompt=bad, ugly,clip_skip=2]"
    sweep = resolve_methods(["base"], suite, {"guidance_rescale": "0,0.5"})
    assert [one.guidance_rescale for one in sweep] == [0.0, 0.5]
    with pytest.raises(UsageError, match="guidance_rescale of method .* must be in 0..1, got 1.5"):
        resolve_method("base", suite, {"guidance_rescale": "1.5"})
    with pytest.raises(UsageError, match="clip_skip of method .* must be at least 1"):
        resolve_method("base", suite, {"clip_skip": "0"})


def test_manifests_of_runs_without_stay_what_they_were() -> None:
    suite = suite_with()
    names = ("negative_prompt", "guidance_rescale", "clip_skip", "embeddings")
    assert not any(name in suite.resolved() for name in names)
    assert not any(name in suite.resolved()["methods"]["combined"] for name in names)
    assert not any(name in resolve_method("combined", suite).to_dict() for name in names)
    asked = suite_with({"negative_prompt": ""}, guidance_rescale=0.5)
    assert asked.resolved()["methods"]["combined"]["negative_prompt"] == ""
    assert Suite.model_validate(asked.resolved()) == asked


def test_paths_of_embeddings_beside_a_suite(tmp_path: Path) -> None:
    (tmp_path / "cat.safetensors").write_bytes(b"")
    lines = ['prompts = "shapes"', "[model]", 'weights = "shapes:pipeline"', "[metrics.lpips]", "[embeddings]"]
    text = "\n".join([*lines, '"<cat>" = "cat.safetensors"'])
    (tmp_path / "x.toml").write_text(text)
    assert load_suite(tmp_path / "x.toml").embeddings == {"<cat>": str(tmp_path / "cat.safetensors")}

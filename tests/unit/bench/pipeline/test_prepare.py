"""What a method was trained on, before anything is made."""

from __future__ import annotations

from bench.pipeline.prepare import planned, resolved_methods
from bench.suite.load import load_suite
from bench.suite.schema import Suite


def trained_on(method: str, said: list[str] | None, weights: str = "shapes:refl") -> tuple[str, ...]:
    suite = load_suite("shapes")
    data = suite.model_dump()
    data["methods"][method] = {**data["methods"].get(method, {"like": "refl"}), "weights": weights, "trained_on": said}
    chosen = Suite.model_validate({**data, "limit": 1})
    (plan,) = planned(chosen, resolved_methods([method], chosen, None))
    return plan.method.trained_on


def test_a_renamed_method_is_trained_on_what_its_weights_say(said: list[str]) -> None:
    assert trained_on("mine", None) == ("pickscore",)
    assert not [line for line in said if "its weights say" in line]


def test_what_the_weights_say_counts_against_the_suite(said: list[str]) -> None:
    """A suite was copied and its checkpoint replaced: what it says of the old one would be marked for the new one."""
    assert trained_on("refl", ["hpsv2.1"]) == ("pickscore",)
    told = "the suite says that refl was trained on hpsv2.1, its weights say pickscore: that of the weights counts"
    assert told in said


def test_a_search_keeps_its_reward_beside_what_its_weights_say(said: list[str]) -> None:
    data = load_suite("shapes").model_dump()
    data["metrics"]["aesthetic"] = {}
    data["methods"]["best_of_n"] = {"weights": "shapes:refl", "schedule": "constant", "value": 1.0}
    chosen = Suite.model_validate({**data, "limit": 1})
    (plan,) = planned(chosen, resolved_methods(["best_of_n"], chosen, {"reward": "aesthetic"}))
    assert plan.method.trained_on == ("pickscore", "aesthetic")
    assert not [line for line in said if "its weights say" in line]

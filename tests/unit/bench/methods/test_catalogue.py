from __future__ import annotations

import json

import pytest

from bench.errors import MissingError, UsageError
from bench.formatting import is_safe_name
from bench.methods import Method, Schedule, get_method, method_names, register_method
from bench.methods.catalogue import METHODS
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method, resolve_methods
from bench.suite.schema import Suite


@pytest.fixture(scope="module")
def shapes() -> Suite:
    return load_suite("shapes")


def plain(**methods: dict[str, object]) -> Suite:
    return Suite.model_validate(
        {
            "name": "mine",
            "model": {"weights": "owner/model"},
            "prompts": "shapes",
            "guidance": 7.5,
            "methods": methods,
            "metrics": {"lpips": {}},
        }
    )


def test_the_catalogue_is_the_contract() -> None:
    expected = ["base", "refl", "draft", "dpo", "combined", "imagerefl", "aig", "scaled", "mixgrpo"]
    assert method_names()[: len(expected)] == expected
    weights = {name: get_method(name).schedule.weights(40) for name in expected}
    assert set(weights["base"]) == {0.0}
    assert set(weights["refl"]) == set(weights["draft"]) == set(weights["dpo"]) == {1.0}
    assert weights["combined"] == weights["imagerefl"] == (0.0,) * 30 + (1.0,) * 10
    assert weights["mixgrpo"] == (1.0,) * 30 + (0.0,) * 10
    assert weights["aig"] == tuple(i / 40 for i in range(40))
    assert set(weights["scaled"]) == {0.5}


def test_the_suite_gives_weights_and_guidance(shapes: Suite) -> None:
    combined = resolve_method("combined", shapes)
    assert (combined.name, combined.weights, combined.schedule.switch_step) == ("combined", "shapes:refl", 30)
    assert (combined.base_guidance, combined.tuned_guidance) == (shapes.guidance, 1.0)
    assert combined.trained_on == ("pickscore",)
    assert resolve_method("imagerefl", shapes).weights == "shapes:imagerefl"
    assert resolve_method("base", shapes).weights is None


def test_guidance_of_each_side() -> None:
    suite = plain(dpo={"weights": "w"}, aig={"weights": "w"}, refl={"weights": "w", "tuned_guidance": 2.0})
    assert resolve_method("dpo", suite).tuned_guidance == 7.5  # DPO keeps the model's own guidance
    assert (resolve_method("aig", suite).base_guidance, resolve_method("aig", suite).tuned_guidance) == (1.0, 1.0)
    assert resolve_method("refl", suite).tuned_guidance == 2.0
    assert resolve_method("base", suite).base_guidance == 7.5


def test_settings_win_over_the_suite_and_name_the_method(shapes: Suite) -> None:
    method = resolve_method("combined", shapes, {"switch_step": "20", "base_guidance": "5"})
    assert method.name == "combined[switch_step=20,base_guidance=5]"
    assert method.safe_name == "combined-switch_step-20-base_guidance-5"
    assert method.row_name == "combined"
    assert (method.schedule.switch_step, method.base_guidance) == (20, 5.0)
    assert method.to_dict()["settings"] == {"switch_step": "20", "base_guidance": "5"}


def test_a_setting_that_changes_nothing_is_the_same_run(shapes: Suite) -> None:
    assert resolve_method("combined", shapes, {"switch_step": "30"}) == resolve_method("combined", shapes)


def test_sweeps_are_written_out(shapes: Suite) -> None:
    methods = resolve_methods(["base", "combined", "aig"], shapes, {"switch_step": "0,20,30", "power": "1,1.5"})
    assert [method.name for method in methods] == [
        "base",
        "combined[switch_step=0]",
        "combined[switch_step=20]",
        "combined",
        "aig",
        "aig[power=1.5]",
    ]
    assert all(is_safe_name(method.safe_name) for method in methods)
    assert len({method.safe_name for method in methods}) == len(methods)


def test_a_setting_for_one_method_only(shapes: Suite) -> None:
    methods = resolve_methods(["combined", "imagerefl"], shapes, {"combined.switch_step": "20"})
    assert [method.name for method in methods] == ["combined[switch_step=20]", "imagerefl"]


def test_a_method_named_twice_runs_once(shapes: Suite) -> None:
    assert [method.name for method in resolve_methods(["base", "base"], shapes)] == ["base"]


@pytest.mark.parametrize(
    ("names", "settings", "words"),
    [
        (["refk"], {}, "unknown method 'refk'. Did you mean 'refl'. Known methods: aig, apg, autoguidance, base"),
        ([], {}, "no method was named. Known methods: aig, apg, autoguidance, base"),
        (
            ["combined"],
            {"swich_step": "3"},
            "method 'combined' has no setting 'swich_step'. Did you mean 'switch_step'",
        ),
        (["base", "refl"], {"power": "3"}, "none of the methods base, refl has no setting|base, refl has no setting"),
        (["base"], {"switch_step": "3"}, "method 'base' has no setting 'switch_step'. Settings: base_guidance"),
        (["combined"], {"switch_step": "41"}, r"switch step 41 is outside 0\.\.40 \(the suite takes 40 steps\)"),
        (["combined"], {"switch_step": "20,41"}, r"switch step 41 is outside 0\.\.40"),
        (["combined"], {"switch_step": "2.5"}, r"--set switch_step must be an integer, got '2\.5'"),
        (["combined"], {"switch_step": ","}, "--set switch_step has no value"),
        (["aig"], {"power": "0"}, "power must be above 0"),
        (["aig"], {"power": "x"}, "--set power must be a number, got 'x'"),
        (["aig"], {"power": "nan"}, "--set power must be a number, got 'nan'"),
        (["scaled"], {"value": "2"}, r"must be in 0\.\.1, got 2"),
        (["base"], {"base_guidance": "0.5"}, "base_guidance of method .* must be at least 1"),
    ],
)
def test_mistakes(shapes: Suite, names: list[str], settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve_methods(names, shapes, settings)


def test_one_method_is_no_sweep(shapes: Suite) -> None:
    with pytest.raises(UsageError, match="expands to 2 variants"):
        resolve_method("combined", shapes, {"switch_step": "10,20"})
    with pytest.raises(UsageError, match="no setting 'power'"):
        resolve_method("combined", shapes, {"power": "1"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refl", "the paper's authors published no ReFL checkpoint.*bench train refl --suite mine"),
        ("combined", "the paper's authors published no ReFL checkpoint.*bench train refl --suite mine"),
        ("imagerefl", "ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet.*bench train imagerefl --suite mine"),
        ("dpo", "mhdang/dpo-sd1.5-text2image-v1:unet"),
    ],
)
def test_absent_weights_say_how_to_get_them(name: str, words: str) -> None:
    with pytest.raises(MissingError, match=words) as caught:
        resolve_method(name, plain())
    assert "--set weights=PATH_OR_HUB_ID" in str(caught.value)
    assert caught.value.exit_code == 4


def test_weights_can_be_given_and_make_another_run() -> None:
    method = resolve_method("refl", plain(), {"weights": "/models/mine, v2"})
    assert method.weights == "/models/mine, v2"
    assert method.safe_name == "refl-weights-mine-v2"


def test_a_suite_adds_a_method_like_another() -> None:
    suite = plain(mine={"like": "combined", "weights": "w", "switch_step": 3, "title": "Mine"})
    method = resolve_method("mine", suite)
    assert (method.name, method.title, method.schedule) == ("mine", "Mine", Schedule("step", switch_step=3))
    other = plain(curve={"like": "refl", "weights": "w", "schedule": "power", "power": 2.0})
    assert resolve_method("curve", other).schedule.weights(40)[20] == 0.25


def test_a_suite_may_not_give_a_setting_that_the_schedule_lacks() -> None:
    with pytest.raises(UsageError, match="method 'refl' has no setting 'switch_step'"):
        resolve_method("refl", plain(refl={"weights": "w", "switch_step": 3}))


def test_a_user_adds_a_row(shapes: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS, "_targets", dict(METHODS._targets))
    register_method(Method("late", "Late", Schedule("sigmoid", centre=0.75, sharpness=20), weights="shapes:refl"))
    assert resolve_method("late", shapes, {"sharpness": "30"}).name == "late[sharpness=30]"
    with pytest.raises(UsageError, match="method 'base' is already defined by bench"):
        register_method(Method("base", "Mine", Schedule("linear")))


def test_a_method_becomes_json(shapes: Suite) -> None:
    data = json.loads(json.dumps(resolve_method("aig", shapes).to_dict()))
    assert data["schedule"] == {"kind": "power", "power": 1.0}
    assert data["weights"] == "shapes:refl"

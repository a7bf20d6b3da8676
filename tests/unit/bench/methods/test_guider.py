"""Guiders as settings of methods: what a call may change, what is refused, and what is in a run's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, MissingError, UsageError
from bench.generation.networks import actions_for
from bench.methods.guider import PLAIN, Guider
from bench.sampling.rules import Weaker
from bench.suite.load import load_suite
from bench.suite.plan import identity_of, make_plan, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from prompts import Prompt

PROMPTS = [Prompt("a", "a red circle")]


def suite_file(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "mine.toml"
    head = 'name = "mine"\nprompts = "shapes"\nguidance = 3.5\n[metrics.lpips]\nweights = "shapes:lpips"\n'
    file.write_text(head + text, encoding="utf-8")
    return load_suite(file)


def identity(suite: Any, name: str, **settings: str) -> dict[str, Any]:
    method = resolve_method(name, suite, settings)
    digests = {weights: f"digest of {weights}" for weights in weights_names(suite, [method])}
    return identity_of(suite, method, PROMPTS, digests)


def test_which_steps_are_guided() -> None:
    """The limits as in diffusers: int(start T) <= i < int(stop T)."""
    guider = Guider("interval", start=0.25, stop=0.8)
    assert [i for i in range(10) if guider.acts(i, 10)] == [2, 3, 4, 5, 6, 7]
    assert all(PLAIN.acts(i, 10) for i in range(10))


def test_gamma_rises_from_none_to_all_of_the_prompt() -> None:
    guider = Guider("cads", tau1=0.6, tau2=0.9, noise_scale=0.1, psi=1.0)
    assert [round(guider.gamma(i, 10), 6) for i in range(10)] == [0, 0, 0.333333, 0.666667, *[1.0] * 6]


def test_settings_name_the_run_and_are_in_its_identity() -> None:
    suite = load_suite("shapes")
    found = resolve_methods(["guidance_interval"], suite, {"start": "0.1,0.3", "base_guidance": "5"})
    assert [one.name for one in found] == [
        "guidance_interval[start=0.1,base_guidance=5]",
        "guidance_interval[start=0.3,base_guidance=5]",
    ]
    said = identity(suite, "guidance_interval", start="0.3")["guider"]
    assert said == {
        "kind": "interval",
        "start": 0.3,
        "stop": 0.8,
    }
    assert "guider" not in identity(suite, "base")
    weak = identity(suite, "autoguidance", weak="shapes:refl")
    assert weak["guider"]["weak"] == "digest of shapes:refl"
    assert resolve_method("apg", suite).to_dict()["guider"]["momentum"] == -0.5
    assert "guider" not in resolve_method("base", suite).to_dict()


def test_a_suite_gives_a_tuned_method_a_guider(tmp_path: Path) -> None:
    text = '[model]\nweights = "shapes:pipeline"\n[methods.late]\nlike = "combined"\nweights = "shapes:refl"\n'
    suite = suite_file(tmp_path, text + 'guider = "interval"\nstart = 0.0\nstop = 0.5\n')
    assert identity(suite, "late")["guider"] == {"kind": "interval", "start": 0.0, "stop": 0.5}
    assert suite.resolved()["methods"]["late"]["start"] == 0.0
    assert not {"tau1", "weak", "eta"} & suite.resolved()["methods"]["late"].keys()


def test_zero_init_is_for_velocities() -> None:
    """Predictions of 0 at first: by default where the family predicts velocities, not where it predicts noise."""
    assert resolve_method("cfg_zero_star", load_suite("sd35-pickapic")).guider.zero_init_steps == 1
    assert resolve_method("cfg_zero_star", load_suite("sd15-hpdv2")).guider.zero_init_steps == 0
    asked = resolve_method("cfg_zero_star", load_suite("sd15-hpdv2"), {"zero_init_steps": "2"})
    assert asked.guider.zero_init_steps == 2


@pytest.mark.parametrize(
    ("name", "suite", "settings", "error", "said"),
    [
        ("apg", "flux-hpdv2", {}, UsageError, "apg needs classifier-free guidance, and family 'flux' is guidance-dist"),
        ("guidance_interval", "flux-hpdv2", {}, UsageError, "guidance-distilled"),
        ("autoguidance", "shapes", {}, MissingError, "pass a weaker checkpoint with `--set weak="),
        ("apg", "shapes", {"base_guidance": "1"}, UsageError, "is a way of guidance, but runs without any"),
        ("guidance_interval", "shapes", {"start": "0.8", "stop": "0.8"}, UsageError, "no step of 40 lies in start"),
        ("guidance_interval", "shapes", {"start": "1.5"}, UsageError, "start of a guider must be in 0..1, got 1.5"),
        ("guidance_interval", "shapes", {"eta": "1"}, UsageError, "has no setting 'eta'"),
        ("cads", "shapes", {"tau1": "0.9"}, UsageError, "tau1 must be below tau2"),
        ("cads", "shapes", {"noise_scale": "-1"}, UsageError, "noise_scale of a guider must be at least 0, got -1"),
        ("cfg_zero_star", "shapes", {"zero_init_steps": "40"}, UsageError, "below the 40 steps"),
        ("cfg_zero_star", "shapes", {"zero_init_steps": "1.5"}, UsageError, "must be an integer"),
        ("autoguidance", "shapes", {"weak": "skip:blocks"}, UsageError, "must name a list of blocks and indices"),
        ("cads", "z_image-hpdv2", {}, UsageError, "cads is not supported for models of family 'z_image'"),
        ("cads", "qwen_image-hpdv2", {}, UsageError, "cads is not supported for models of family 'qwen_image'"),
        ("base", "shapes", {"start": "0.1"}, UsageError, "has no setting 'start'"),
    ],
)
def test_refused_in_one_sentence(
    name: str, suite: str, settings: dict[str, str], error: type[BenchError], said: str
) -> None:
    with pytest.raises(error) as caught:
        resolve_method(name, load_suite(suite), settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blocks_are_left_out_of_the_guided_sides_network(tmp_path: Path) -> None:
    """Whichever side it is; where both sides are guided there are two networks, and one weak one."""
    skip = "skip:mid_block.attentions.0.transformer_blocks:0"
    text = '[model]\nweights = "shapes:pipeline"\n[methods.strong]\nlike = "combined"\nweights = "shapes:refl"\n'
    suite = suite_file(tmp_path, f'{text}guider = "autoguidance"\nstart = 0.0\nstop = 1.0\nweak = "{skip}"\n')
    for base, tuned, guided in (("3", "1", "base"), ("1", "3", "d-shapes:refl")):
        method = resolve_method("strong", suite, {"base_guidance": base, "tuned_guidance": tuned})
        digests = {name: f"d-{name}" for name in weights_names(suite, [method])}
        (plan,) = make_plan(suite, [method], PROMPTS, digests)
        rules = [side.rule for action in actions_for(plan, suite.sampler.steps) for side in action if side.rule]
        assert set(rules) == {Weaker(f"{guided}|{skip}")}
    with pytest.raises(UsageError, match="blocks of one side's network, but both sides have guidance"):
        resolve_method("strong", suite, {"base_guidance": "3", "tuned_guidance": "3"})


def test_distilled_families_take_cads() -> None:
    """It needs no second prediction."""
    assert resolve_method("cads", load_suite("flux-hpdv2")).guider.kind == "cads"

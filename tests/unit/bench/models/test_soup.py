"""Averages of weights, against averages of state dicts made here; adapters against the sum of what they add."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.errors import BenchError, MissingError, UsageError
from bench.generation.generate import generate
from bench.generation.networks import add_networks
from bench.models.adapters.base_weights import fingerprint
from bench.models.sd import StableDiffusion
from bench.models.weights import digest_of
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from bench.suite.plan import identity_of, make_plan, weights_names
from bench.suite.resolve import resolve_method, resolve_methods
from prompts import Prompt
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite, tiny_unet

STEPS = 4
ITEMS = [("p1", "a red circle", 0), ("p2", "a large star", 0)]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    folder = tiny_pipeline(tmp_path / "pipeline")
    made = StableDiffusion(folder, tiny_suite("DDIMScheduler", STEPS))
    for name, seed in (("a", 5), ("b", 6)):
        tiny_unet(seed).save_pretrained(tmp_path / name)
        made.add_network(name, tmp_path / name)
    return made


def final(model: Any, network: str) -> torch.Tensor:
    actions = actions_of([1.0] * STEPS, ("base", 1.0), (network, 2.0))
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, ITEMS))
    return latents


def weights_of(model: Any, name: str) -> dict[str, torch.Tensor]:
    return dict(model.networks[name].module.state_dict())


@pytest.mark.slow
def test_shares_of_whole_networks(model: Any) -> None:
    base, a, b = weights_of(model, "base"), weights_of(model, "a"), weights_of(model, "b")
    before = fingerprint(model.network)
    model.add_soup("soup", [("a", 0.25), ("b", 0.5)])
    for key, value in weights_of(model, "soup").items():
        torch.testing.assert_close(value, 0.25 * base[key] + 0.25 * a[key] + 0.5 * b[key], rtol=1e-5, atol=1e-6)
    assert fingerprint(model.network) == before
    assert not torch.equal(final(model, "soup"), final(model, "a"))


@pytest.mark.slow
def test_the_ends_are_the_networks_themselves(model: Any) -> None:
    """A share of 1 is that network to the bit, one of 0 the base network."""
    model.add_soup("all", [("a", 1.0)])
    model.add_soup("none", [("a", 0.0)])
    assert torch.equal(final(model, "all"), final(model, "a"))
    assert torch.equal(final(model, "none"), final(model, "base"))


@pytest.mark.slow
def test_adapters_are_merged_first(model: Any, tmp_path: Path) -> None:
    """Half of a LoRA and half of a network: weights as computed by hand; the base network keeps its bits."""
    from safetensors.torch import save_file

    key = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(2, 16, generator=torch.Generator().manual_seed(1)), torch.full((16, 2), 0.3)
    file = tmp_path / "lora.safetensors"
    save_file({f"unet.{key}.lora_A.weight": down, f"unet.{key}.lora_B.weight": up}, str(file))
    model.add_network("lora", file)
    before = fingerprint(model.network)
    own, a = {name: value.clone() for name, value in weights_of(model, "a").items()}, weights_of(model, "a")
    from bench.models.adapters.base_weights import base_places

    base = {name: place.value.clone() for name, place in base_places(model.network).items()}
    model.add_soup("half", [("lora", 0.5), ("a", 0.5)])
    model.add_soup("whole", [("lora", 1.0)])
    made = weights_of(model, "half")
    expected = 0.5 * (base[f"{key}.weight"] + up @ down) + 0.5 * a[f"{key}.weight"]
    torch.testing.assert_close(made[f"{key}.weight"], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made["conv_in.weight"], 0.5 * base["conv_in.weight"] + 0.5 * a["conv_in.weight"])
    assert fingerprint(model.network) == before
    assert all(torch.equal(own[name], value) for name, value in weights_of(model, "a").items())
    difference = (final(model, "whole") - final(model, "lora")).abs().max()
    assert 0 <= float(difference) < 1e-4 < float((final(model, "whole") - final(model, "base")).abs().max())


def test_own_text_encoders_are_not_averaged(model: Any) -> None:
    model.networks["a"].vae = object()
    with pytest.raises(UsageError, match="a brings an autoencoder of its own, and only the denoising network"):
        model.add_soup("soup", [("a", 1.0)])


def test_settings_and_identity() -> None:
    suite, prompts = load_suite("shapes"), [Prompt("a", "a red circle")]
    method = resolve_method("soup", suite, {"soup": "shapes:refl,shapes:imagerefl", "ratios": "0.25,0.75"})
    assert method.name == "soup[soup=shapes:refl+shapes:imagerefl,ratios=0.25/0.75]"
    assert method.parts == (("shapes:refl", 0.25), ("shapes:imagerefl", 0.75))
    digests = {name: f"d-{name}" for name in weights_names(suite, [method])}
    identity = identity_of(suite, method, prompts, digests)
    assert identity["tuned"] == "soup d-shapes:refl*0.25+d-shapes:imagerefl*0.75"
    found = resolve_methods(["interpolated"], suite, {"weights": "shapes:refl", "ratio": "0,0.5,1"})
    assert [one.parts for one in found] == [(("shapes:refl", share),) for share in (0.0, 0.5, 1.0)]
    assert "ratio" not in resolve_method("refl", suite).to_dict()


def test_parts_read_otherwise_are_another_run_and_other_networks() -> None:
    """With another strength of their LoRAs or without their text encoders."""
    suite, prompts = load_suite("shapes"), [Prompt("a", "a red circle")]
    settings = [{}, {"lora_scale": "0.5"}, {"text_encoder": "ignore"}, {"lora_scale": "0.5", "text_encoder": "ignore"}]
    methods = [
        resolve_method("interpolated", suite, {"weights": "shapes:refl", "ratio": "0.5", **one}) for one in settings
    ]
    digests = {name: f"d-{name}" for name in weights_names(suite, methods)}
    plans = make_plan(suite, methods, prompts, digests)
    assert [plan.identity["tuned"] for plan in plans] == [
        "soup d-shapes:refl*0.5",
        "soup d-shapes:refl*0.5*0.5",
        "soup d-shapes:refl*0.5 without text encoders",
        "soup d-shapes:refl*0.5*0.5 without text encoders",
    ]
    assert len({plan.hash8 for plan in plans}) == 4
    parts: list[Any] = []
    soups: list[Any] = []
    model: Any = SimpleNamespace(
        add_network=lambda name, path, scale, ignore_text=False: parts.append((name, scale, ignore_text)),
        add_soup=lambda name, shares: soups.append((name, shares)),
    )
    for plan in plans:
        add_networks(model, plan, suite)
    assert len({name for name, *_ in parts}) == 4
    assert [(scale, ignored) for _, scale, ignored in parts] == [(1, False), (0.5, False), (1, True), (0.5, True)]
    tuned = [plan.identity["tuned"] for plan in plans]
    assert soups == [(name, [(part, 0.5)]) for name, (part, *_) in zip(tuned, parts, strict=True)]


@pytest.mark.parametrize(
    ("name", "settings", "error", "said"),
    [
        ("soup", {}, MissingError, "method 'soup' needs tuned weights"),
        ("soup", {"soup": "shapes:refl,shapes:refl"}, UsageError, "must name each checkpoint once"),
        ("soup", {"soup": "shapes:refl,x", "ratios": "1"}, UsageError, "1 ratios for a soup of 2 checkpoints"),
        ("refl", {"ratio": "0.5"}, UsageError, "has no setting 'ratio'"),
    ],
)
def test_refused(name: str, settings: dict[str, str], error: type[BenchError], said: str) -> None:
    with pytest.raises(error, match=said):
        resolve_method(name, load_suite("shapes"), settings)


@pytest.mark.slow
def test_a_run_of_a_soup(tmp_path: Path) -> None:
    """From names to pictures: the run of a soup of one checkpoint at ratio 1 has that checkpoint's pictures."""
    suite = load_suite("shapes")
    suite = suite.model_copy(update={"sampler": suite.sampler.model_copy(update={"steps": 2}), "samples": 1})
    names = ["refl", "soup", "interpolated"]
    settings = {"soup.soup": "shapes:refl", "interpolated.weights": "shapes:refl", "interpolated.ratio": "0.5"}
    methods = resolve_methods(names, suite, settings)
    prompts = [Prompt("a", "a red circle"), Prompt("b", "a blue star")]
    digests = {name: digest_of(name) for name in weights_names(suite, methods)}
    plans = make_plan(suite, methods, prompts, digests)
    stores = [RunStore(tmp_path / plan.name) for plan in plans]
    assert generate(plans, suite, stores) == 6
    pictures = [[row.sha256 for row in store.images()] for store in stores]
    assert pictures[0] == pictures[1] != pictures[2]

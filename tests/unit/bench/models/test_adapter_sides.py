"""Adapters of text encoders act on their own side; the base network and its encoders are never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.adapters.base_weights import base_places
from bench.models.adapters.install import install
from bench.models.adapters.names import base_modules
from bench.models.adapters.patches import patches_of
from bench.models.adapters.versions import read_otherwise
from bench.models.weights import digest
from bench.suite.resolve import resolve_method
from tests.unit.bench.models.adapter_forms import FORMS, KOHYA, PEFT, attention, form
from tests.unit.bench.models.adapter_world import World, prediction

MAKE = {form.name: form.make for form in FORMS}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    return {
        family: World(family, tmp_path_factory.mktemp(family)) for family in ("sd", "sdxl", "pixart", "sd3", "flux")
    }


def count_encodings(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that go through text encoders from now on."""
    seen: list[str] = []
    encode = type(model)._encode_text

    def counted(self: Any, side: Any, text: str) -> Any:
        seen.append(f"{side.adapter}: {text}")
        return encode(self, side, text)

    monkeypatch.setattr(type(model), "_encode_text", counted)
    return seen


@pytest.mark.slow
def test_prompts_are_encoded_once_for_each_side(
    worlds: dict[str, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds["sd"]
    text, _ = MAKE["with text encoders, kohya"](world, tmp_path / "text")
    plain, _ = form(KOHYA, pieces=attention)(world, tmp_path / "plain")
    model = world.model()
    for name, path in {"text": text, "plain": plain}.items():
        model.add_network(name, path)
    seen = count_encodings(model, monkeypatch)
    for _ in range(2):
        cond = model.encode(["a star", "a circle"])
    sides = sorted(line for line in seen if not line.endswith(": "))
    assert sides == ["None: a circle", "None: a star", "tuned1: a circle", "tuned1: a star"]
    assert torch.equal(prediction(model, "base"), world.before)
    assert cond.of("plain") is cond
    assert not torch.equal(cond.of("text").states["text"], cond.states["text"])
    assert torch.equal(cond.of("text").take([1, 0]).states["text"], cond.of("text").states["text"][[1, 0]])


@pytest.mark.slow
def test_what_is_said_of_text_encoders_can_be_left_out(
    worlds: dict[str, World], tmp_path: Path, said: list[str]
) -> None:
    world = worlds["sdxl"]
    text, _ = MAKE["with text encoders, diffusers"](world, tmp_path / "text")
    plain, _ = form(KOHYA, pieces=attention)(world, tmp_path / "plain")
    model = world.model()
    model.add_network("ignored", text, ignore_text=True)
    model.add_network("plain", plain)
    assert torch.equal(prediction(model, "ignored"), prediction(model, "plain"))
    assert [
        line for line in said if "text_encoder and text_encoder_2 is ignored, as text_encoder = 'ignore' asks" in line
    ]


@pytest.mark.slow
def test_encoders_are_the_same_to_the_bit(worlds: dict[str, World], tmp_path: Path) -> None:
    world = worlds["flux"]
    path, _ = MAKE["with text encoders, kohya"](world, tmp_path)
    model = world.model()
    encoders = {name: getattr(model.pipeline, name) for name in ("text_encoder", "text_encoder_2")}
    before = {
        name: {key: one.value.clone() for key, one in base_places(part).items()} for name, part in encoders.items()
    }
    model.add_network("x", path)
    prediction(model, "x")
    for name, part in encoders.items():
        for key, index in base_places(part).items():
            assert torch.equal(index.value, before[name][key]), key
        assert set(base_modules(part)) == {
            key.removesuffix(".weight") for key in before[name] if key.endswith(".weight")
        }


@pytest.mark.slow
def test_whole_parameters_switch_with_their_adapter(worlds: dict[str, World], tmp_path: Path) -> None:
    world = worlds["sd"]
    first, _ = MAKE["LoRA with modules_to_save, PEFT"](world, tmp_path / "a")
    second, _ = form(PEFT, pieces=attention)(world, tmp_path / "b")
    model = world.model()
    model.add_network("whole", first)
    whole = prediction(model, "whole")
    model.add_network("plain", second)
    alone = world.model()
    alone.add_network("plain", second)
    assert torch.equal(prediction(model, "plain"), prediction(alone, "plain"))
    for name, wanted in (("whole", whole), ("base", world.before), ("whole", whole)):
        assert torch.equal(prediction(model, name), wanted)
    held = patches_of(model.network)
    assert held is not None
    assert set(held.values("tuned1")) == {"conv_out.weight", "conv_out.bias"}


def test_a_loader_that_changes_the_base_network_is_caught(
    worlds: dict[str, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = form(KOHYA, pieces=attention)(worlds["sd"], tmp_path)

    def faulty(network: Any, adapter: str, change: Any) -> None:
        install(network, adapter, change)
        network.conv_in.weight.data[0, 0, 0, 0] += 1e-3

    monkeypatch.setattr("bench.models.lora.install", faulty)
    with pytest.raises(RuntimeError, match=r"loading changed the base network: conv_in.weight"):
        worlds["sd"].model().add_network("x", path)


OTHERWISE = (
    "kohya, ranks and alphas by layer", "kohya, alpha for some layers only", "LoRA with modules_to_save, PEFT",
    "LoRA with whole weights beside it", "DanceGRPO, FastVideo (lora_config.json)",
)  # fmt: skip
ALIKE = (
    "kohya, diffusers' names",
    "kohya, no alpha, ranks by layer",
    "PEFT",
    "diffusers",
    "PEFT, rank_pattern and alpha_pattern",
)


@pytest.mark.parametrize(("name", "otherwise"), [*((one, True) for one in OTHERWISE), *((one, False) for one in ALIKE)])
def test_only_mended_kinds_have_another_loader_version(
    worlds: dict[str, World], tmp_path: Path, name: str, otherwise: bool
) -> None:
    path, _ = MAKE[name](worlds["sd"], tmp_path)
    assert bool(read_otherwise(path)) == otherwise


def test_alphas_by_layer_were_right_for_transformers(worlds: dict[str, World], tmp_path: Path) -> None:
    path, _ = MAKE["kohya, ranks and alphas by layer"](worlds["flux"], tmp_path)
    assert not read_otherwise(path)


def test_unconverted_inits_have_another_loader_version(worlds: dict[str, World], tmp_path: Path) -> None:
    folder, _ = form(PEFT, pieces=attention)(worlds["sd"], tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": "pissa_niter_4"}))
    assert read_otherwise(folder)


def test_what_lies_beside_a_file_is_in_its_digest(worlds: dict[str, World], tmp_path: Path) -> None:
    folder, _ = MAKE["DanceGRPO, FastVideo (lora_config.json)"](worlds["sd"], tmp_path)
    file = folder / "pytorch_lora_weights.safetensors"
    before = digest(folder), digest(file)
    config = json.loads((folder / "lora_config.json").read_text())
    config["lora_params"]["lora_alpha"] = 16
    (folder / "lora_config.json").write_text(json.dumps(config))
    after = digest(folder), digest(file)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_the_option_is_in_the_identity_only_where_it_is_set() -> None:
    from bench.suite.load import load_suite
    from bench.suite.plan import identity_of

    suite = load_suite("shapes")
    digests = {suite.model.weights: "m" * 64, "shapes:refl": "t" * 64}
    plain = resolve_method("refl", suite, {"weights": "shapes:refl"})
    ignoring = resolve_method("refl", suite, {"weights": "shapes:refl", "text_encoder": "ignore"})
    assert identity_of(suite, plain, [], digests)["tuned"] == "t" * 64
    assert identity_of(suite, ignoring, [], digests)["tuned"] == "t" * 64 + " without text encoders"
    assert "text_encoder" not in plain.to_dict()
    assert ignoring.to_dict()["text_encoder"] == "ignore"

"""Runs that an older version made of weights which it read otherwise: each kind is known by its weights."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.models.old_runs import doubts
from bench.models.own_parts import own_parts
from bench.models.weights import digest_of
from bench.store.outdated import LOADER_VERSION
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.suite.plan import make_plan, weights_names
from bench.suite.resolve import resolve_method
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1"
KOHYA = f"lora_unet_{LAYER.replace('.', '_')}_"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("base") / "pipeline")


def factors(prefix: str = f"unet.{LAYER}.", layers: tuple[str, ...] = ("to_q", "to_k")) -> dict[str, torch.Tensor]:
    made = {f"{prefix}{layer}.lora_A.weight": torch.randn(2, 16) for layer in layers}
    return made | {f"{prefix}{layer}.lora_B.weight": torch.randn(16, 2) for layer in layers}


def kohya(*alphas: float) -> dict[str, torch.Tensor]:
    made = {}
    for layer in ("to_q", "to_k"):
        made[f"{KOHYA}{layer}.lora_down.weight"] = torch.randn(2, 16)
        made[f"{KOHYA}{layer}.lora_up.weight"] = torch.randn(16, 2)
    return made | {
        f"{KOHYA}{layer}.alpha": torch.tensor(alpha) for layer, alpha in zip(("to_q", "to_k"), alphas, strict=False)
    }


def file(tensors: dict[str, torch.Tensor], name: str = "x.safetensors", **beside: Any) -> Callable[[Path, Path], Path]:
    """The weights are the file; a configuration beside it by the name of its kind."""

    def make(folder: Path, base: Path) -> Path:
        inner = folder / "weights"
        inner.mkdir()
        save_file(tensors, inner / name)
        for kind, content in beside.items():
            (inner / f"{kind}.json").write_text(json.dumps(content))
        return inner / name

    return make


def within(make: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    """The weights are its folder."""
    return lambda folder, base: make(folder, base).parent


def full(change: Callable[[Path], None]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, base: Path) -> Path:
        made = Path(shutil.copytree(base, folder / "full"))
        tiny_unet(5).save_pretrained(made / "unet")
        change(made)
        return made

    return make


def other_vae(folder: Path) -> None:
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.5}))


def other_prediction(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "epsilon"}))


def consistency(folder: Path, base: Path) -> Path:
    tiny_unet(5).save_pretrained(folder / "lcm")
    config = folder / "lcm" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "time_cond_proj_dim": 8}))
    return folder / "lcm"


TRAINER = {"lora_params": {"lora_rank": 2, "lora_alpha": 8}}
PISSA = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "init_lora_weights": "pissa_niter_4", "target_modules": ["to_q"]}
IN_PEFT = factors(f"base_model.model.{LAYER}.")


def with_header(alpha: int) -> Callable[[Path, Path], Path]:
    """As diffusers' `save_lora_adapter` of a network writes it: settings in the header, without a prefix."""

    def make(folder: Path, base: Path) -> Path:
        tensors = {key.removeprefix("unet."): value for key, value in factors().items()}
        header = {"lora_adapter_metadata": json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": alpha})}
        save_file(tensors, folder / "x.safetensors", header)
        return folder / "x.safetensors"

    return make


READ_OTHERWISE = {
    "alphas by layer": (file(kohya(1.0, 2.0)), "alphas of x.safetensors, which differ by layer"),
    "alpha on some layers": (file(kohya(1.0)), "alphas of x.safetensors, which differ by layer"),
    "whole weights": (file(factors() | {"unet.conv_out.bias": torch.ones(4)}), "unet.conv_out.bias"),
    "lora_config.json, file": (file(factors(), lora_config=TRAINER), "alpha in lora_config.json"),
    "lora_config.json, folder": (
        within(file(factors(), "pytorch_lora_weights.safetensors", lora_config=TRAINER)),
        "alpha in lora_config.json",
    ),
    "unconverted": (within(file(IN_PEFT, "adapter_model.safetensors", adapter_config=PISSA)), "init_lora_weights"),
    "settings in the header, no prefix": (with_header(6), "alpha in the header of x.safetensors"),
    "own autoencoder": (full(other_vae), "left out the vae of"),
    "another parameterisation": (full(other_prediction), "refused today .*prediction_type"),
    "consistency model": (consistency, "with classifier-free guidance"),
}
READ_ALIKE = {
    "LoRA": file(factors()),
    "one alpha": file(kohya(4.0, 4.0)),
    "rank as alpha in the header": with_header(2),
    "rank as alpha": file(factors(), lora_config={"lora_params": {"lora_rank": 2, "lora_alpha": 2}}),
    "the base model's parts": full(lambda folder: None),
    "network": lambda folder, base: (tiny_unet(5).save_pretrained(folder / "unet"), folder / "unet")[1],
}


def suite_of(base: Path, **methods: Path) -> Suite:
    settings = {name: {"weights": str(path), "tuned_guidance": 2.0} for name, path in methods.items()}
    facts = {"name": "tiny", "model": {"weights": str(base)}, "prompts": "unused", "resolution": 32}
    return Suite.model_validate(facts | {"methods": settings, "metrics": {"lpips": {}}})


def old_run(results: Path, suite: Suite, name: str, created: str = "at ten", **provenance: Any) -> RunStore:
    """A run as version 1 wrote it: nothing in it says how weights were read."""
    method = resolve_method(name, suite)
    digests = {one: digest_of(one) for one in weights_names(suite, [method])}
    (plan,) = make_plan(suite, [method], [Prompt("a", "a star")], digests)
    store = RunStore.create(results, "tiny", method.safe_name, plan.hash8)
    facts = suite.resolved(), method.to_dict(), [{"id": "a", "text": "a star"}]
    manifest = Manifest("tiny", name, store.name, dict(plan.identity), *facts, suite.samples, status="complete")
    manifest.provenance = {"created": created, **provenance}
    store.write_manifest(manifest)
    return store


@pytest.mark.parametrize("kind", READ_OTHERWISE)
def test_a_mended_kind_is_known_by_its_weights(base: Path, tmp_path: Path, kind: str) -> None:
    make, words = READ_OTHERWISE[kind]
    suite = suite_of(base, refl=make(tmp_path, base))
    store = old_run(tmp_path, suite, "refl")
    (doubt,) = doubts([store]).values()
    assert doubt.certain
    assert re.search(words, doubt.why)
    new = old_run(tmp_path / "new", suite, "refl", loader_version=LOADER_VERSION)
    assert not doubts([new]), "a run that this version began"


@pytest.mark.parametrize("kind", READ_ALIKE)
def test_no_other_kind_is(base: Path, tmp_path: Path, kind: str) -> None:
    suite = suite_of(base, refl=READ_ALIKE[kind](tmp_path, base))
    assert not doubts([old_run(tmp_path, suite, "refl"), old_run(tmp_path, suite, "base")])


def test_a_base_model_of_consistency(base: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(base, tmp_path / "model"))
    shutil.rmtree(model / "unet")
    consistency(model, base).rename(model / "unet")
    (doubt,) = doubts([old_run(tmp_path, suite_of(model), "base")]).values()
    assert "with classifier-free guidance" in doubt.why


def test_the_company_of_whole_weights(base: Path, tmp_path: Path) -> None:
    """What ran on the base network in the same call; a whole tuned network alone did not."""
    (tmp_path / "a").mkdir()
    bad = READ_OTHERWISE["whole weights"][0](tmp_path, base)
    good, network = READ_ALIKE["LoRA"](tmp_path / "a", base), READ_ALIKE["network"](tmp_path, base)
    suite = suite_of(base, refl=bad, draft=good, dpo=network, spo=good)
    runs = {name: old_run(tmp_path, suite, name) for name in ("base", "refl", "draft", "dpo")}
    runs["spo"] = old_run(tmp_path, suite, "spo", "at eleven")
    found = doubts(list(runs.values()))
    assert found.keys() == {runs[name].path for name in ("base", "refl", "draft")}
    for name in ("base", "draft"):
        assert (
            f"in one call with {runs['refl'].name}, which put {bad} (unet.conv_out.bias)" in found[runs[name].path].why
        )
    assert doubts([runs["base"]]) == {runs["base"].path: found[runs["base"].path]}, "asked for alone"


def test_what_cannot_be_looked_at_is_not_certain(base: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    changed, gone = READ_ALIKE["LoRA"](tmp_path, base), READ_ALIKE["one alpha"](tmp_path / "gone", base)
    suite = suite_of(base, refl=changed, draft=gone)
    runs = [old_run(tmp_path, suite, name) for name in ("refl", "draft", "base")]
    save_file(kohya(1.0, 2.0), changed)
    gone.unlink()
    found = doubts(runs)
    assert not any(doubt.certain for doubt in found.values())
    assert f"its weights {changed} have changed since" in found[runs[0].path].why
    assert f"its weights {gone} are not on this machine" in found[runs[1].path].why
    assert f"the weights {gone} of {runs[1].name}, made with it, are not on this machine" in found[runs[2].path].why


def test_images_from_elsewhere_and_damaged_manifests_are_no_matter(tmp_path: Path) -> None:
    elsewhere = RunStore.create(tmp_path, "tiny", "mine", "0" * 8)
    elsewhere.write_manifest(Manifest("tiny", "mine", elsewhere.name, {"images": "x"}, {}, {}, [], 1))
    damaged = RunStore.create(tmp_path, "tiny", "base", "1" * 8)
    (damaged.path / "manifest.json").write_text("{")
    assert not doubts([elsewhere, damaged])


def test_looking_is_done_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(
        "bench.models.reading.own_parts", lambda path, *more: looks.append(path) or own_parts(path, *more)
    )
    suite = suite_of(base, refl=READ_ALIKE["the base model's parts"](tmp_path, base))
    store = old_run(tmp_path, suite, "refl")
    for _ in range(3):
        assert not doubts([store])
    assert len(looks) == 1

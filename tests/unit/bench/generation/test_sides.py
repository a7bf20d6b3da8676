"""Generation with a tuned pipeline that brings its own text encoder and autoencoder, and under prompt conditions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel

from bench.generation.generate import Settings, generate
from bench.models.reading import loader_versions
from bench.models.weights import digest_of
from bench.store.outdated import why_outdated
from bench.store.run_store import RunStore, find_runs
from bench.suite.plan import RunPlan, make_plan
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_unet

PROMPTS = [Prompt("p1", "a red circle"), Prompt("p2", "a large star")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_pipeline(folder / "pipeline")
    full = Path(shutil.copytree(folder / "pipeline", folder / "full"))
    tiny_unet(5).save_pretrained(full / "unet")
    torch.manual_seed(3)
    for name, kind in {"text_encoder": CLIPTextModel, "vae": AutoencoderKL}.items():
        part: Any = kind.from_pretrained(full / name)
        for value in part.parameters():
            value.data += 0.3 * torch.randn(value.shape)
        part.save_pretrained(full / name)
    return folder


def suite_of(weights: Path, base: str = "pipeline", **more: Any) -> Suite:
    full = str(weights / "full")
    methods = {
        "refl": {"weights": full, "tuned_guidance": 2.0},
        "combined": {"weights": full, "switch_step": 2},
        "mixgrpo": {"weights": full, "switch_step": 2},
        "scaled": {"weights": full},
    }
    facts = {
        "name": "tiny",
        "model": {"weights": str(weights / base)},
        "prompts": "unused",
        "samples": 2,
        "resolution": 32,
        "guidance": 2.0,
        "sampler": {"steps": 4},
        "methods": methods,
        "metrics": {"lpips": {}},
    }
    return Suite.model_validate(facts | more)


def plans_of(suite: Suite, methods: list[str], loaders: bool = True) -> list[RunPlan]:
    resolved = resolve_methods(methods, suite)
    names = [suite.model.weights, *{str(one.weights) for one in resolved if one.weights}]
    versions = loader_versions(suite, names) if loaders else {}
    return make_plan(suite, resolved, PROMPTS, {name: digest_of(name) for name in names}, versions)


def run(suite: Suite, results: Path, methods: list[str], loaders: bool = True) -> dict[str, dict[Any, str]]:
    """sha256 of each picture, by method."""
    plans = plans_of(suite, methods, loaders)
    stores = [RunStore.create(results, "tiny", plan.method.safe_name, plan.hash8) for plan in plans]
    generate(plans, suite, stores, Settings(batch_size=2))
    return {
        method: {row.key: row.sha256 for row in store.images()} for method, store in zip(methods, stores, strict=True)
    }


@pytest.mark.slow
def test_a_tuned_pipeline_makes_its_own_pictures(weights: Path, tmp_path: Path) -> None:
    together = run(suite_of(weights), tmp_path / "a", ["base", "refl", "combined", "mixgrpo", "scaled"])
    assert together["refl"] == run(suite_of(weights, "full"), tmp_path / "b", ["base"])["base"]
    assert together["base"] == run(suite_of(weights), tmp_path / "c", ["base"])["base"]
    for method in ("combined", "mixgrpo", "scaled"):
        assert together[method] == run(suite_of(weights), tmp_path / method, [method])[method]
    assert len({json.dumps(sorted(map(str, shas.values()))) for shas in together.values()}) == 5


@pytest.mark.slow
def test_which_autoencoder_decodes(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuned pipeline's where its network acts in the last step, wholly or in part; else the base's."""
    from bench.models.sd import StableDiffusion

    decoded: list[str] = []
    decoding = StableDiffusion.decoding
    monkeypatch.setattr(
        StableDiffusion,
        "decoding",
        lambda self, z, network="base": (
            decoded.append("tuned" if network != "base" else "base") or decoding(self, z, network)
        ),
    )
    expected = {"base": "base", "refl": "tuned", "combined": "tuned", "mixgrpo": "base", "scaled": "tuned"}
    for method, side in expected.items():
        decoded.clear()
        run(suite_of(weights), tmp_path / method, [method])
        assert set(decoded) == {side}, method


@pytest.mark.slow
def test_the_identity_says_how_it_was_read_and_old_runs_are_told(
    weights: Path, tmp_path: Path, said: list[str]
) -> None:
    suite = suite_of(weights)
    base, refl = plans_of(suite, ["base", "refl"])
    assert "loader_version" not in base.identity
    assert refl.identity["loader_version"] == 2
    (old,) = plans_of(suite, ["refl"], loaders=False)
    assert {**old.identity, "loader_version": 2} == refl.identity
    run(suite, tmp_path, ["refl"], loaders=False)
    said.clear()
    made = run(suite, tmp_path, ["refl"])
    assert len(made["refl"]) == 4
    assert any(f"{old.name} is outdated" in line for line in said)
    marked = {store.name: why_outdated(store) for store in find_runs(tmp_path)}
    assert marked[refl.name] is None
    assert str(marked[old.name]).endswith(f": {refl.name} takes its place")
    assert not any("taken over" in line for line in said)


def test_a_tuned_pipeline_with_the_base_models_parts_keeps_its_identity(weights: Path, tmp_path: Path) -> None:
    same = Path(shutil.copytree(weights / "pipeline", tmp_path / "same"))
    tiny_unet(5).save_pretrained(same / "unet")
    assert loader_versions(suite_of(weights), [str(weights / "pipeline"), str(same)]) == {}


@pytest.mark.slow
def test_prompt_conditions_change_the_pictures_of_those_methods_alone(weights: Path, tmp_path: Path) -> None:
    suite = suite_of(weights)
    plain = run(suite, tmp_path / "a", ["base", "refl"])
    asked = suite.model_copy(
        update={
            "methods": {**suite.methods, "refl": suite.methods["refl"].model_copy(update={"negative_prompt": "a star"})}
        }
    )
    other = run(asked, tmp_path / "b", ["base", "refl"])
    assert other["base"] == plain["base"]
    assert set(other["refl"].values()).isdisjoint(plain["refl"].values())
    alone = run(suite_of(weights, "full", negative_prompt="a star"), tmp_path / "c", ["base"])
    assert other["refl"] == alone["base"]

"""A LoRA fused into the weights: fewer operations, nearly the same values, and a base network that keeps its bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from bench.generation.generate import Settings, generate
from bench.models.adapters.base_weights import fingerprint
from bench.models.adapters.merge import fuse, merged
from bench.models.base import Network
from bench.models.loading import quiet
from bench.models.networks import Networks
from bench.models.reading import to_fuse
from bench.models.sd import StableDiffusion
from bench.models.weights import digest_of
from bench.store.run_store import RunStore
from bench.suite.plan import RunPlan, make_plan
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite
from prompts import Prompt
from tests.unit.bench.models.families import tiny_network
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite, tiny_unet

PROMPTS = [Prompt("p1", "a red circle"), Prompt("p2", "a large star")]
QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KINDS = {
    "lora": LoraConfig(r=2, target_modules=["to_q", "conv1"], init_lora_weights=False),
    "dora": LoraConfig(r=2, target_modules=["to_q"], use_dora=True, init_lora_weights=False),
    "loha": LoHaConfig(r=2, target_modules=["to_k"], init_weights=False),
    "lokr": LoKrConfig(r=2, target_modules=["to_k"], init_weights=False),
    "oft": OFTConfig(r=0, oft_block_size=2, target_modules=["to_k"], init_weights=False),
}


class Operations(TorchDispatchMode):
    """Counts what torch runs."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def run_once(module: Any) -> tuple[torch.Tensor, int]:
    """The network's output, and how many operations it took."""
    latents = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    with torch.inference_mode(), Operations() as operations:
        output = module(latents, torch.tensor(5), encoder_hidden_states=torch.ones(1, 3, 16)).sample
    return output, operations.count


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fused_adapter_costs_nothing_and_leaves_the_base_network(kind: str) -> None:
    torch.manual_seed(3)
    network = tiny_network("sd")
    bare = run_once(network)
    networks = {"base": Network(network)}
    ready = Networks(network, torch.device("cpu"), networks)
    with quiet():
        network.add_adapter(KINDS[kind], "mine")
    networks["tuned"], networks["fused"] = Network(network, "mine"), Network(network, "fused")
    before = fingerprint(network)
    fuse(network, "mine", "fused")
    ready.loaded(networks["fused"])
    found = {name: run_once(ready.ready(name)) for name in ("fused", "base", "tuned", "fused", "base")}
    assert fingerprint(network) == before
    again = merged(network, "mine")
    assert torch.equal(run_once(ready.ready("fused"))[0], found["fused"][0])
    assert all(torch.equal(value, again[name]) for name, value in merged(network, "mine").items())
    assert torch.equal(found["base"][0], bare[0])
    assert found["base"][1] == found["fused"][1] < found["tuned"][1]
    assert found["base"][1] == bare[1] or kind in ("loha", "lokr", "oft")  # PEFT converts their input, even unused
    moved = float((found["tuned"][0] - bare[0]).abs().max())
    assert float((found["fused"][0] - found["tuned"][0]).abs().max()) < 1e-3 * moved


def lora_file(path: Path, key: str = QUERY, size: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    down, up = torch.randn(2, 16, generator=torch.Generator().manual_seed(1)), torch.full((16, 2), size)
    save_file({f"unet.{key}.lora_A.weight": down, f"unet.{key}.lora_B.weight": up}, str(path))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_pipeline(folder / "base")
    lora_file(folder / "lora.safetensors")
    tiny_unet(5).save_pretrained(folder / "whole")
    return folder


def suite_of(weights: Path, tuned: str = "lora.safetensors", **more: Any) -> Suite:
    methods = {name: {"weights": str(weights / tuned)} for name in ("refl", "combined", "scaled")}
    methods |= {"combined": methods["combined"] | {"switch_step": 2}}
    facts: dict[str, Any] = {
        "name": "tiny",
        "model": {"family": "sd", "weights": str(weights / "base")},
        "prompts": "shapes",
        "samples": 2,
        "sampler": {"scheduler": "DDIMScheduler", "steps": 3},
        "resolution": 32,
        "guidance": 3.0,
        "methods": methods,
        "metrics": {"lpips": {}},
    }
    return Suite.model_validate(facts | more)


def plans_of(suite: Suite, methods: list[str]) -> list[RunPlan]:
    resolved = resolve_methods(methods, suite)
    names = [suite.model.weights, *{str(one.weights) for one in resolved if one.weights}]
    return make_plan(suite, resolved, PROMPTS, {name: digest_of(name) for name in names}, {}, to_fuse(suite, names))


def test_only_a_schedule_of_the_tuned_network_alone_is_fused(weights: Path) -> None:
    """The identities of all other runs stay what they were."""
    methods = ["base", "refl", "combined", "scaled"]
    plain, fused = plans_of(suite_of(weights), methods), plans_of(suite_of(weights, fuse_lora=True), methods)
    assert [plan.identity.get("fused") for plan in fused] == [None, True, None, None]
    assert [a.hash8 == b.hash8 for a, b in zip(plain, fused, strict=True)] == [True, False, True, True]
    assert plain[1].identity | {"fused": True} == fused[1].identity
    whole = [plans_of(suite_of(weights, "whole", fuse_lora=on), ["refl"])[0] for on in (False, True)]
    assert whole[0].identity == whole[1].identity
    (sharp,) = plans_of(
        suite_of(
            weights,
            fuse_lora=True,
            methods={"refl": {"weights": str(weights / "lora.safetensors"), "precision": "int8"}},
        ),
        ["refl"],
    )
    assert "fused" not in sharp.identity
    assert "fuse_lora" not in suite_of(weights).resolved()
    assert suite_of(weights, fuse_lora=True).resolved()["fuse_lora"] is True


@pytest.mark.slow
def test_which_weights_are_adapters(weights: Path, tmp_path: Path) -> None:
    """In all the places where loading finds one."""
    suite = suite_of(weights, fuse_lora=True)
    places = ("a/pytorch_lora_weights.safetensors", "b/lora/adapter_model.safetensors", "c/mine.safetensors")
    files = [lora_file(tmp_path / place) for place in (*places, "d/checkpoint-50/pytorch_lora_weights.safetensors")]
    folders = [str(tmp_path / name) for name in "abcd"]
    names = [*map(str, files), *folders]
    assert to_fuse(suite, [*names, str(weights / "whole"), str(weights / "base")]) == set(names)
    assert to_fuse(suite_of(weights), names) == frozenset()
    for folder in folders:
        model = StableDiffusion(weights / "base", tiny_suite("DDIMScheduler", 3))
        model.add_network("tuned", Path(folder))
        assert model.networks["tuned"].adapter is not None


def pictures(suite: Suite, results: Path, methods: list[str]) -> dict[str, dict[Any, bytes]]:
    """The files of each method's pictures, made in one call."""
    plans = plans_of(suite, methods)
    stores = [RunStore.create(results, "tiny", plan.method.safe_name, plan.hash8) for plan in plans]
    generate(plans, suite, stores, Settings(batch_size=2))
    return {
        method: {row.key: (store.path / row.path).read_bytes() for row in store.images()}
        for method, store in zip(methods, stores, strict=True)
    }


@pytest.mark.slow
def test_a_fused_run_beside_others_changes_none_of_them(weights: Path, tmp_path: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    methods = ["base", "refl", "combined"]
    conditions = {"negative_prompt": "a blue square"}
    plain = pictures(suite_of(weights, **conditions), tmp_path / "a", methods)
    fused = pictures(suite_of(weights, fuse_lora=True, **conditions), tmp_path / "b", methods)
    alone = pictures(suite_of(weights, fuse_lora=True, **conditions), tmp_path / "c", ["refl"])
    assert (fused["base"], fused["combined"]) == (plain["base"], plain["combined"])
    assert fused["refl"] == alone["refl"]
    assert plain["refl"] != plain["base"]
    for key, picture in fused["refl"].items():
        made, wanted = (np.asarray(Image.open(io.BytesIO(one)), dtype=int) for one in (picture, plain["refl"][key]))
        assert np.abs(made - wanted).max() <= 1


@pytest.mark.slow
def test_a_weak_network_of_a_fused_one(weights: Path, tmp_path: Path) -> None:
    """Autoguidance leaves blocks out of the network that is guided: the fused one."""
    guider = {
        "tuned_guidance": 2.0,
        "guider": "autoguidance",
        "start": 0.0,
        "stop": 1.0,
        "weak": "skip:mid_block.attentions.0.transformer_blocks:0",
    }
    found = {}
    for fused in (False, True):
        methods = {"refl": {"weights": str(weights / "lora.safetensors"), **guider}}
        suite = suite_of(weights, fuse_lora=fused, methods=methods)
        (plan,) = plans_of(suite, ["refl"])
        model: Any = StableDiffusion(weights / "base", suite)
        from bench.generation.networks import actions_for, add_networks

        add_networks(model, plan, suite)
        action = actions_for(plan, 3)[0]
        names = [action[0].network, action[0].rule.weak]  # type: ignore[union-attr]
        assert [("|fused" in name) is fused for name in names] == [True, True]
        cond = model.encode(["a star"])
        found[fused] = [model.predict(name, torch.ones(1, 4, 8, 8), torch.tensor(5), cond, 1.0) for name in names]
    for a, b in zip(found[False], found[True], strict=True):
        assert float((a - b).abs().max()) < 1e-5 * float(a.abs().max())

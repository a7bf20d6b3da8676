"""The ready suites as they are, from model and prompts to checkpoints.

A hub serves small weights under the real names, revisions and layouts; only the size of the pictures and the number of
prompts are changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from bench.methods.checkpoints import repository
from bench.pipeline import run as pipeline
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from tests.hub.server import Hub
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.tiny import RESOLUTION, tiny_unet

LORA = LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)


def files_in(folder: Path, under: str = "") -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {under + path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def publish(hub: Hub, suite: Suite, folder: Path) -> None:
    """The suite's model at its revision, its prompts, and each checkpoint in the form that its name asks for."""
    family = suite.model.family
    name, _, revision = suite.model.weights.partition("@")
    with torch.random.fork_rng(devices=[]):
        hub.add(name, family_pipeline(family, folder / "base"), commit=revision)
        for seed, weights in enumerate([told.weights for told in suite.methods.values() if told.weights], start=10):
            path = folder / str(seed)
            network = tiny_unet(seed) if family == "sd" else tiny_network(family, seed)
            inner, pin = weights.partition(":")[2], weights.partition("@")[2].partition(":")[0]
            if inner:
                network.save_pretrained(path)
                hub.add(repository(weights), files_in(path, "" if inner.endswith(".safetensors") else f"{inner}/"))
            else:
                network.add_adapter(LORA, "x")
                state = get_peft_model_state_dict(network, adapter_name="x")
                path.mkdir()
                LORA.save_pretrained(str(path))
                named = {f"base_model.model.{key}": value.contiguous() for key, value in state.items()}
                save_file(named, path / "adapter_model.safetensors")
                hub.add(repository(weights), path, **({"commit": pin} if pin else {}))
    prompts = [{"prompt": f"a red circle {k}", "rank": [1]} for k in range(400)]
    hub.add("datasets/ymhao/HPDv2", {"test.json": json.dumps(prompts).encode()})


@pytest.mark.parametrize(
    "name",
    [
        "sd15-hpdv2",
        "sdxl-hpdv2",
        "sd35-pickapic",
        "pixart-hpdv2",
        "flux-hpdv2",
        "flux2-hpdv2",
        "z_image-hpdv2",
        "qwen_image-hpdv2",
        "sana-hpdv2",
    ],
)
def test_a_ready_suite(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Any, name: str) -> None:
    monkeypatch.setenv("BENCH_PROMPTS", str(tmp_path / "by-hand"))
    suite = load_suite(name)
    (tmp_path / "published").mkdir()
    publish(hub, suite, tmp_path / "published")
    small = suite.model_copy(update={"resolution": RESOLUTION, "limit": 1, "samples": 1})
    small = small.override(metrics=["attribute_accuracy"])
    if suite.prompts == "pickapic-test":  # put in place by hand, and known by its sha256
        (tmp_path / "one.txt").write_text("a red circle\n")
        small = small.override(prompts=str(tmp_path / "one.txt"))
    methods = ["base", *(method for method, told in suite.methods.items() if told.weights)]
    stores = pipeline.run(small, methods, results=tmp_path / "results")
    assert [store.manifest().method for store in stores] == methods
    assert len(set(pixels(tmp_path / "results").values())) == len(methods)
    ids = {row.prompt_id for store in stores for row in store.images()}
    assert ids == ({"p0001"} if name == "sd35-pickapic" else {"hpdv2-test-0001"})
    hub.asked.clear()
    pipeline.run(small, methods, results=tmp_path / "results")
    assert hub.asked == []

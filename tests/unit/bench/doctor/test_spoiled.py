"""Runs whose base network an older version may have changed are named, and no others."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from bench.doctor.spoiled import spoiled_runs
from bench.store.records import Manifest
from bench.store.run_store import RunStore


def run(results: Path, name: str, created: str, weights: str | None = None, **identity: object) -> None:
    store = RunStore.create(results, "shapes", name, f"{abs(hash(name)) % 16**8:08x}")
    method, tuned = {"weights": weights}, None if weights is None else "t" * 64
    facts = {"model": "m" * 64, "tuned": tuned, **identity}
    store.write_manifest(
        Manifest("shapes", name, store.name, facts, {}, method, [], 1, provenance={"created": created})
    )


def adapter(path: Path, *more: str) -> str:
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    keys = [f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", *more]
    save_file({key: torch.zeros(2, 2) for key in keys}, path)
    return str(path)


def test_the_company_of_a_file_with_whole_parameters(tmp_path: Path) -> None:
    bad = adapter(tmp_path / "bad.safetensors", "unet.conv_out.weight")
    good = adapter(tmp_path / "good.safetensors")
    results = tmp_path / "results"
    run(results, "base", "at ten")
    run(results, "refl", "at ten", bad)
    run(results, "draft", "at ten", good)
    run(results, "dpo", "at eleven", good)
    run(results, "aig", "at eleven", bad, loader_version=2)
    run(results, "gone", "at noon", str(tmp_path / "gone.safetensors"))
    found = {finding.subject.partition("@")[0]: finding for finding in spoiled_runs(results)}
    assert set(found) == {"base", "refl", "draft", "gone"}
    for name in ("base", "refl", "draft"):
        assert found[name].mark == "suspect"
        assert "put" in found[name].state
        assert "unet.conv_out.weight" in found[name].state
        assert found[name].fix.startswith("bench rm ")
        assert not found[name].needed
    assert found["gone"].state.endswith("are not here: whether they spoiled its base is not known")
    assert not list(spoiled_runs(tmp_path / "empty"))

"""FirstBlockCache on a small FLUX.1: each image as diffusers' own hook and pipeline make it alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.hooks import FirstBlockCacheConfig
from torch import Tensor

from bench.errors import UsageError
from bench.models.block_cache import check_block_cache
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.sampling.guided_steps import with_block_cache
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import initial_noise
from bench.sampling.tree import actions_of, build_tree
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.tiny import tiny_suite

STEPS = 10
ITEMS = [("p1", "a red circle", 0), ("p1", "a red circle", 1), ("p2", "a large star", 0)]
THRESHOLD = 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline whose transformer has two blocks of each kind."""
    made = family_pipeline("flux", tmp_path_factory.mktemp("flux") / "pipeline")
    torch.manual_seed(3)
    with quiet():
        FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=8,
            pooled_projection_dim=8,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ).save_pretrained(made / "transformer")
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    suite = tiny_suite("FlowMatchEulerDiscreteScheduler", STEPS)
    suite.model.family = "flux"
    return load_model(folder, suite)


def ours(model: Any, threshold: float | None, items: Any = ITEMS, guidance: float = 1.0) -> tuple[Tensor, list[int]]:
    """Final latents, and how many rows each call of the last block had."""
    rows: list[int] = []
    last = model.network.single_transformer_blocks[-1].proj_out
    hook = last.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    actions = with_block_cache(actions_of([0.0] * STEPS, ("base", guidance)), threshold)
    executed: Counter[str] = Counter()
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, items), executed)
    hook.remove()
    assert executed["run"] == STEPS * len(items) * (2 if guidance > 1 else 1)  # as if the whole network ran
    return latents, rows


@torch.no_grad()
def diffusers_alone(folder: Path, model: Any, threshold: float, item: tuple[str, str, int]) -> Tensor:
    with quiet():
        pipeline = FluxPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    states, pooled, _ = pipeline.encode_prompt(item[1])
    result = pipeline(
        prompt_embeds=states,
        pooled_prompt_embeds=pooled,
        latents=initial_noise(7, [item[0]], [item[2]], model.latents_shape),
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        height=model.resolution,
        width=model.resolution,
        output_type="latent",
    )
    return torch.as_tensor(result.images)


@pytest.mark.slow
def test_each_image_equals_diffusers_hook_alone(folder: Path, model: Any) -> None:
    whole, rows = ours(model, THRESHOLD)
    plain, all_rows = ours(model, None)
    assert all_rows == [3] * STEPS
    assert {0 < count < 3 for count in rows} == {True, False}  # images decide for themselves at some step
    assert sum(rows) < 0.8 * sum(all_rows)
    assert not torch.equal(whole, plain)
    counts = []
    for index, item in enumerate(ITEMS):
        alone, single = ours(model, THRESHOLD, [item])
        counts.append(len(single))
        assert torch.equal(alone, diffusers_alone(folder, model, THRESHOLD, item))
        assert float((alone[0] - whole[index]).abs().max()) <= 1e-5 * float(whole.abs().max())
    assert sum(counts) == sum(rows)


@pytest.mark.slow
def test_the_limits_of_the_threshold(model: Any) -> None:
    plain, _ = ours(model, None)
    assert torch.equal(ours(model, 0.0)[0], plain)
    _, rows = ours(model, 100.0)
    assert rows == [3]  # the first step, and never again
    assert torch.equal(ours(model, None)[0], plain)  # nothing is left on the blocks


@pytest.mark.slow
def test_branches_keep_their_own_blocks(model: Any) -> None:
    """A trunk that forks: each branch is what it is alone."""
    first = with_block_cache(actions_of([0.0] * STEPS, ("base", 1.0)), THRESHOLD)
    second = (*first[:5], *(tuple(dataclasses.replace(side, threshold=0.5) for side in one) for one in first[5:]))
    batch = as_batch(model, 7, ITEMS)
    both = {names[0]: latents for names, latents in run_tree(model, build_tree({"a": first, "b": second}), batch)}
    for name, actions in (("a", first), ("b", second)):
        ((_, alone),) = run_tree(model, build_tree({name: actions}), batch)
        assert torch.equal(both[name], alone)


@pytest.mark.slow
def test_both_sides_of_true_guidance_have_their_own_blocks(folder: Path) -> None:
    """Two passes a step: an image decides in each of them, and the limits hold."""
    suite = tiny_suite("FlowMatchEulerDiscreteScheduler", STEPS)
    suite.model.family, suite.model.true_cfg = "flux", True
    model = load_model(folder, suite)
    plain, _ = ours(model, None, guidance=2.0)
    assert torch.equal(ours(model, 0.0, guidance=2.0)[0], plain)
    assert ours(model, 100.0, guidance=2.0)[1] == [3, 3]
    assert len(ours(model, 0.5, guidance=2.0)[1]) < 2 * STEPS


def test_what_cannot_leave_out_blocks_is_refused() -> None:
    found = resolve_method("first_block_cache", load_suite("flux-hpdv2"), {"threshold": "0.1"})
    assert (found.threshold, found.name) == (0.1, "first_block_cache[threshold=0.1]")
    assert found.to_dict()["threshold"] == 0.1
    for name, settings, told in (
        ("flux-hpdv2", {"threshold": "-1"}, "must be a number of at least 0, got -1"),
        ("shapes", {}, "threshold is for FLUX.1, not for models of family 'sd'"),
    ):
        with pytest.raises(UsageError, match=told):
            resolve_method("first_block_cache", load_suite(name), settings)
    compiled = load_suite("flux-hpdv2").model_copy(update={"compile": True})
    with pytest.raises(UsageError, match="does not go with compiled blocks"):
        resolve_method("first_block_cache", compiled)
    with pytest.raises(UsageError, match="the network is a Linear"):
        check_block_cache(torch.nn.Linear(2, 2))

"""TaylorSeer on small transformers, against diffusers' own hooks in its own pipelines."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.hooks import TaylorSeerCacheConfig

from bench.errors import UsageError
from bench.models.load import load_model
from bench.models.loading import quiet
from bench.models.taylor_cache import check_taylor_cache
from bench.sampling.guided_steps import with_taylor
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.rules import Taylor
from bench.sampling.tree import actions_of, build_tree
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_method
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.test_families import FLOW, ITEMS, STEPS, diffusers_result, suite_for

FAMILIES = ("flux", "flux2", "qwen_image")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("taylor")
    return {family: family_pipeline(family, root / family) for family in FAMILIES}


def ours(model: Any, interval: int | None, guidance: float, order: int = 1, items: Any = ITEMS) -> torch.Tensor:
    actions = with_taylor(actions_of([0.0] * STEPS, ("base", guidance)), interval, order, 1)
    ((_, latents),) = run_tree(model, build_tree({"run": actions}), as_batch(model, 7, items))
    return latents


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_diffusers_hooks(folders: dict[str, Path], family: str) -> None:
    """Full steps 0 and 2, between them the last outputs, behind them the straight line through both."""
    model = load_model(folders[family], suite_for(family, FLOW, {}))
    guidance = 1.0 if family == "flux" else 5.0
    with quiet():
        network = diffusers.DiffusionPipeline.from_pretrained(str(folders[family])).transformer
    network.enable_cache(
        TaylorSeerCacheConfig(
            cache_interval=2, disable_cache_before_step=1, max_order=1, taylor_factors_dtype=torch.float32
        )
    )
    expected, _ = diffusers_result(folders[family], (family, FLOW, {}), 3.5 if family == "flux" else guidance, network)
    latents = ours(model, 2, guidance)
    assert torch.equal(model._unscaled(latents), expected)  # type: ignore[attr-defined]
    assert not torch.equal(latents, ours(model, None, guidance))
    assert not torch.equal(latents, ours(model, 2, guidance, order=0))
    assert torch.equal(ours(model, 1, guidance), ours(model, None, guidance))  # all steps are full
    alone = ours(model, 2, guidance, items=ITEMS[1:2])
    assert float((alone[0] - latents[1]).abs().max()) <= 1e-4 * float(latents.abs().max())


def test_which_steps_are_full() -> None:
    """As diffusers counts them; a network that comes back after another begins anew."""

    def of(weights: list[float], interval: int, warmup: int) -> list[tuple[int, int | None]]:
        actions = with_taylor(actions_of(weights, ("base", 1.0), ("tuned", 1.0)), interval, 2, warmup)
        return [(action[0].taylor.offset, action[0].taylor.gap) for action in actions if action[0].taylor]

    assert of([0.0] * 8, 3, 2) == [(0, None), (0, 1), (1, None), (0, 2), (1, None), (2, None), (0, 3), (1, None)]
    again = of([0.0, 0.0, 1.0, 0.0, 0.0], 4, 1)
    assert again == [(0, None), (1, None), (0, None), (0, None), (1, None)]
    plain = actions_of([0.0] * 3, ("base", 1.0))
    assert with_taylor(plain, None, 1, 1) == plain


@pytest.mark.slow
def test_branches_and_networks_that_come_back(folders: dict[str, Path], tmp_path: Path) -> None:
    """Each branch of a fork is what it is alone, and nothing of an earlier stretch is left in a later one."""
    model = load_model(folders["flux"], suite_for("flux", FLOW, {}))
    first = with_taylor(actions_of([0.0] * STEPS, ("base", 1.0)), 2, 1, 1)
    second = (*first[:3], tuple(dataclasses.replace(one, taylor=Taylor(1, 0, 1)) for one in first[3]))
    batch = as_batch(model, 7, ITEMS)
    both = {names[0]: latents for names, latents in run_tree(model, build_tree({"a": first, "b": second}), batch)}
    for name, actions in (("a", first), ("b", second)):
        ((_, alone),) = run_tree(model, build_tree({name: actions}), batch)
        assert torch.equal(both[name], alone)
    anew = [Taylor(1, 0, None), Taylor(1, 0, 1), Taylor(1, 0, None), Taylor(1, 1, None)]
    flat = [dataclasses.replace(one, order=0) for one in anew]
    found = []
    for steps in (anew, flat):
        actions = tuple((dataclasses.replace(first[0][0], taylor=step),) for step in steps)
        ((_, latents),) = run_tree(model, build_tree({"run": actions}), batch)
        found.append(latents)
    assert torch.equal(*found)  # from one full step there is nothing to extrapolate by


def test_what_cannot_be_extrapolated_is_refused() -> None:
    found = resolve_method("taylorseer", load_suite("flux-hpdv2"), {"taylor_interval": "4"})
    assert (found.taylor_interval, found.taylor_order, found.taylor_warmup) == (4, 1, 3)
    for name, method, settings, told in (
        ("flux-hpdv2", "taylorseer", {"taylor_order": "-1"}, "taylor_order of .* must be at least 0, got -1"),
        ("flux-hpdv2", "taylorseer", {"taylor_warmup": "0"}, "taylor_warmup of .* must be at least 1, got 0"),
        ("shapes", "taylorseer", {}, "for families flux, flux2, qwen_image, not for 'sd'"),
    ):
        with pytest.raises(UsageError, match=told):
            resolve_method(method, load_suite(name), settings)
    suite = load_suite("flux-hpdv2").model_dump(mode="json", exclude_unset=True)
    for own, told in (
        ({"like": "base", "taylor_interval": 4}, "needs taylor_order as well"),
        ({"like": "taylorseer", "threshold": 0.1}, "give threshold or taylor_interval, not both"),
    ):
        with pytest.raises(UsageError, match=told):
            resolve_method("mine", load_suite("flux-hpdv2").model_validate({**suite, "methods": {"mine": own}}))
    with pytest.raises(UsageError, match="the network is a Linear"):
        check_taylor_cache(torch.nn.Linear(2, 2))

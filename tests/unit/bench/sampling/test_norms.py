"""Ratios of norms: of the steps that evaluate both networks, as computed by hand, at no evaluation more."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.load import load_model
from bench.sampling.loop import Batch, as_batch, run_tree
from bench.sampling.noise import initial_noise
from bench.sampling.tree import actions_of, build_tree
from tests.tolerance import assert_close
from tests.unit.bench.models.families import FLOW, family_pipeline, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

STEPS = 4
ITEMS = [("p1", "a red circle", 0), ("p1", "a red circle", 1), ("p2", "a large star", 0)]
WEIGHTS = {"base": [0.0] * STEPS, "combined": [0.0, 0.0, 1.0, 1.0], "aig": [i / STEPS for i in range(STEPS)]}
WEIGHTS |= {"mixed": [0.0, 0.5, 1.0, 0.25]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("norms")
    tiny_network("sd3", 5).save_pretrained(folder / "tuned")
    suite = tiny_suite(FLOW, STEPS)
    suite.model.family = "sd3"
    loaded: Any = load_model(family_pipeline("sd3", folder / "base"), suite)
    loaded.add_network("tuned", folder / "tuned")
    return loaded


def run(model: Any, batch: Batch, guidance: float = 1.0) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    runs = {name: actions_of(weights, ("base", guidance), ("tuned", 1.0)) for name, weights in WEIGHTS.items()}
    executed: Counter[str] = Counter()
    leaves = run_tree(model, build_tree(runs), batch, executed)
    return {name: latents for names, latents in leaves for name in names}, executed


@torch.inference_mode()
def by_hand(model: Any, batch: Batch, weights: list[float], guidance: float) -> dict[int, torch.Tensor]:
    scheduler = model.new_scheduler()
    z = initial_noise(7, batch.prompt_ids, batch.samples, model.latents_shape)
    found = {}
    for index, (t, w) in enumerate(zip(scheduler.timesteps, weights, strict=True)):
        base = model.predict("base", z, t, batch.cond, guidance)
        tuned = model.predict("tuned", z, t, batch.cond, 1.0)
        if 0.0 < w < 1.0:
            found[index] = torch.stack([a.norm() / b.norm() for a, b in zip(tuned, base, strict=True)])
        z = scheduler.step((1 - w) * base + w * tuned, t, z).prev_sample
    return found


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_ratios_are_those_of_the_steps_that_mix(model: Any, guidance: float) -> None:
    plain = as_batch(model, 7, ITEMS)
    noted = dataclasses.replace(plain, norms={})
    before, evaluations = run(model, plain, guidance)
    after, with_norms = run(model, noted, guidance)
    assert evaluations == with_norms
    assert all(torch.equal(before[name], after[name]) for name in WEIGHTS)
    assert noted.norms is not None
    assert set(noted.norms) == {"aig", "mixed"}
    for name, steps in {"aig": (1, 2, 3), "mixed": (1, 3)}.items():
        norms, expected = noted.norms[name], by_hand(model, plain, WEIGHTS[name], guidance)
        assert norms.steps == steps == tuple(expected)
        assert_close(norms.ratios, torch.stack(list(expected.values())), 1e-4)
        assert float((norms.ratios - 1).abs().max()) > 1e-3


def test_a_longer_prediction_is_a_ratio_above_one(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = type(model).predict

    def longer(self: Any, network: str, *given: Any) -> torch.Tensor:
        return predict(self, "base", *given) * (1.5 if network == "tuned" else 1.0)

    monkeypatch.setattr(type(model), "predict", longer)
    batch = dataclasses.replace(as_batch(model, 7, ITEMS), norms={})
    run(model, batch)
    assert batch.norms is not None
    assert_close(batch.norms["aig"].ratios, torch.full((3, 3), 1.5), 1e-5)


def test_nothing_waits_for_the_values(model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A step asks no value of a ratio: on a device that would make it wait."""
    asked: list[str] = []
    for name in ("item", "tolist", "cpu", "__float__", "__bool__"):
        original = getattr(torch.Tensor, name)

        def counted(self: torch.Tensor, *given: Any, _name: str = name, _original: Any = original) -> Any:
            if self.shape == (len(ITEMS),) and self.dtype == torch.float32:
                asked.append(_name)
            return _original(self, *given)

        monkeypatch.setattr(torch.Tensor, name, counted)
    run(model, dataclasses.replace(as_batch(model, 7, ITEMS), norms={}))
    assert asked == []
    torch.ones(len(ITEMS)).tolist()
    assert asked == ["tolist"]  # a planted one is seen

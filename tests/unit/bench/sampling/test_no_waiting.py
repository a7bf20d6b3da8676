"""In a denoising step the host never waits for a CUDA device; a wait that is planted is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.base import Conditioning
from bench.models.load import load_model
from bench.sampling.loop import Batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.families import family_pipeline
from tests.unit.bench.models.tiny import tiny_suite
from tests.unit.bench.sampling.device_waits import CUDA, Waits, counting, fake_cuda, on_cuda

STEPS = 4
ITEMS = [("p1", "a red circle", 0), ("p2", "a large star", 1)]
SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {},
    "DDIMScheduler": {"clip_sample": False},
    "EulerDiscreteScheduler": {},
    "EulerAncestralDiscreteScheduler": {"rescale_betas_zero_snr": False},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++", "rescale_betas_zero_snr": False},
    "HeunDiscreteScheduler": {},
}
FAMILIES = {"sd": "DDPMScheduler", "sdxl": "DDPMScheduler", "sd3": "FlowMatchEulerDiscreteScheduler"}


def waits_of(family: str, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Any = None) -> Waits:
    """What waits in the steps of a tree with a fork, on a device that is not there."""
    suite = tiny_suite(scheduler, STEPS, options=SCHEDULERS.get(scheduler, {}))
    suite.model.family = family
    model: Any = load_model(family_pipeline(family, tmp_path / family), suite, "cpu")
    cond = model.encode([text for _, text, _ in ITEMS])
    tree = build_tree(
        {
            "base": actions_of([0.0] * STEPS, ("base", 3.0)),
            "weak": actions_of([0.0] * 2 + [1.0] * 2, ("base", 3.0), ("base", 1.0)),
        }
    )
    with counting(monkeypatch) as (waits, fake):
        on_cuda(model, fake)
        states, empty = ({k: fake_cuda(v, fake) for k, v in one.items()} for one in (cond.states, cond.empty))
        batch = Batch(7, ("p1", "p2"), (0, 1), Conditioning(states, empty))
        if plant is not None:
            plant(model)
        with waits:
            found = list(run_tree(model, tree, batch))
    assert [names for names, _ in found] == [("base",), ("weak",)]
    assert all(latents.device == CUDA for _, latents in found)
    return waits


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_step_waits(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of("sd", scheduler, tmp_path, monkeypatch).found == []


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_no_step_of_a_family_waits(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of(family, FAMILIES[family], tmp_path, monkeypatch).found == []


def timesteps_on_the_device(model: Any) -> None:
    """As it was: the scheduler looks up its timestep by comparing it on the device."""
    plain = model.new_scheduler

    def new_scheduler() -> Any:
        scheduler = plain()
        scheduler.timesteps = scheduler.timesteps.to(CUDA)
        return scheduler

    model.new_scheduler = new_scheduler


def reading_a_value(model: Any) -> None:
    plain = model.predict

    def predict(*args: Any) -> Any:
        made = plain(*args)
        float(made.mean())
        return made

    model.predict = predict


def copying_in(model: Any) -> None:
    plain = model.predict

    def predict(*args: Any) -> Any:
        return plain(*args) + torch.ones(1).to(CUDA)

    model.predict = predict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "least"), [(timesteps_on_the_device, STEPS), (reading_a_value, STEPS + 2), (copying_in, STEPS + 2)]
)
def test_a_planted_wait_is_counted(plant: Any, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(waits_of("sd", "DDIMScheduler", tmp_path, monkeypatch, plant).found) >= least


@pytest.mark.slow
def test_generators_that_are_drawn_from_in_the_step_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the noise drawn ahead each step copies what it draws."""
    monkeypatch.setattr("bench.sampling.noise.StepGenerators.draw", lambda *_: None)
    assert len(waits_of("sd", "DDPMScheduler", tmp_path, monkeypatch).found) >= STEPS

"""x0 and noise of every kind of prediction, and noise levels of every scheduler, against diffusers' own arithmetic."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from bench.errors import UsageError
from bench.models.loading import quiet
from bench.models.parameterisation import check_scheduler, kind_of, mix_at, model_input, random_mix, to_latents
from tests.tolerance import FLOAT32, assert_close

SCHEDULERS = [
    ("DDPMScheduler", "epsilon"),
    ("DDPMScheduler", "v_prediction"),
    ("DDPMScheduler", "sample"),
    ("DDIMScheduler", "v_prediction"),
    ("EulerDiscreteScheduler", "epsilon"),
    ("EulerDiscreteScheduler", "v_prediction"),
    ("DPMSolverMultistepScheduler", "epsilon"),
    ("UniPCMultistepScheduler", "epsilon"),
    ("FlowMatchEulerDiscreteScheduler", "flow"),
]


def scheduler_of(name: str, kind: str) -> Any:
    settings: dict[str, Any] = {} if kind == "flow" else {"prediction_type": kind, "beta_schedule": "scaled_linear"}
    if name in ("DDPMScheduler", "DDIMScheduler"):
        settings["clip_sample"] = False
    with quiet():
        scheduler = getattr(diffusers, name)(**settings)
    with quiet():  # diffusers' schedulers and numpy 2 do not agree on `copy`
        scheduler.set_timesteps(20)
    return scheduler


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)


@pytest.mark.parametrize(("name", "kind"), SCHEDULERS)
@pytest.mark.parametrize("index", [1, 10, 19])
def test_an_exact_prediction_gives_back_signal_and_noise(name: str, kind: str, index: int) -> None:
    scheduler = scheduler_of(name, kind)
    assert kind_of(scheduler) == kind
    clean, eps = batch()
    mix = mix_at(scheduler, index)
    z = mix.noised(clean, eps)
    prediction = mix.target(clean, eps)
    # Undoing the mixture divides by the smaller of its two shares, which magnifies the rounding.
    magnified = FLOAT32 / float(min(mix.signal.min(), mix.noise.min()))
    assert_close(mix.clean_of(prediction, z), clean, magnified)
    assert_close(mix.eps_of(prediction, z), eps, magnified)
    assert_close(mix.clean_of(mix.moved(prediction, 0.5 * eps), z), clean + 0.5 * eps, magnified)


@pytest.mark.parametrize(("name", "kind"), SCHEDULERS)
def test_levels_are_those_of_the_scheduler(name: str, kind: str) -> None:
    """Latents noised here are what the scheduler's own `add_noise` (or `scale_noise`) makes, at its own scale."""
    scheduler = scheduler_of(name, kind)
    clean, eps = batch()
    index = 12
    times = scheduler.timesteps[index : index + 1]
    own = scheduler.scale_noise(clean, times, eps) if kind == "flow" else scheduler.add_noise(clean, eps, times)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)
    z = mix_at(scheduler, index).noised(clean, eps)
    assert_close(to_latents(scheduler, z, index), own)
    assert_close(model_input(scheduler, own, index), z)


@pytest.mark.parametrize(("name", "kind"), [row for row in SCHEDULERS if row[0][:4] in ("DDPM", "DDIM", "Eule")])
def test_x0_is_the_schedulers_own(name: str, kind: str) -> None:
    scheduler = scheduler_of(name, kind)
    latents, prediction = batch()
    index = 12
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)
    z = model_input(scheduler, latents, index)
    own = scheduler.step(prediction, scheduler.timesteps[index], latents).pred_original_sample
    assert_close(mix_at(scheduler, index).clean_of(prediction, z), own)


@pytest.mark.parametrize(("name", "kind"), [("DDPMScheduler", "epsilon"), ("FlowMatchEulerDiscreteScheduler", "flow")])
def test_random_levels_cover_the_training_times(name: str, kind: str) -> None:
    mix, times = random_mix(scheduler_of(name, kind), 4000, 4, torch.Generator().manual_seed(0))
    assert mix.signal.shape == (4000, 1, 1, 1)
    assert 0 <= float(times.min()) < 50
    assert 950 < float(times.max()) <= 1000
    if kind == "flow":
        assert_close(mix.noise.flatten() * 1000, times, 1e-6)
        assert float(times.median()) == pytest.approx(500, abs=25)
    else:
        assert float(times.float().mean()) == pytest.approx(499.5, abs=20)


def test_an_unknown_kind_is_refused() -> None:
    scheduler = scheduler_of("DDPMScheduler", "epsilon")
    scheduler.register_to_config(prediction_type="magic")
    with pytest.raises(UsageError, match="magic"):
        kind_of(scheduler)
    with pytest.raises(UsageError, match="the prediction type 'epsilon' of EDMEulerScheduler is not supported"):
        kind_of(diffusers.EDMEulerScheduler())


def test_second_order_schedulers_are_refused() -> None:
    with pytest.raises(UsageError, match="HeunDiscreteScheduler evaluates the network more than once per step"):
        check_scheduler(scheduler_of("HeunDiscreteScheduler", "epsilon"))
    with pytest.raises(UsageError, match="PNDMScheduler evaluates the network more than once per step"):
        check_scheduler(scheduler_of("PNDMScheduler", "epsilon"))
    check_scheduler(scheduler_of("EulerDiscreteScheduler", "epsilon"))

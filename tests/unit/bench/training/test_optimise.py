"""One update an iteration; the official preset's two; accumulation, clipping, schedules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn

from bench.training.optimise import OFFICIAL_SCALE, Optimiser, own_device
from bench.training.recipes import TrainRecipe
from tests.tolerance import assert_close

RECIPE = TrainRecipe(steps=10, learning_rate=0.1, batch_size=1, weight_decay=0.0, clip=0.0, optimiser="adam")


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0]))


def test_accumulated_batches_are_averaged() -> None:
    one, two = weight(), weight()
    optimiser = Optimiser.of([one], replace(RECIPE, accumulation=2), "cpu")
    optimiser.backward((one * torch.tensor([1.0, 3.0])).sum())
    optimiser.backward((one * torch.tensor([3.0, 5.0])).sum())
    assert one.grad is not None
    assert_close(one.grad, torch.tensor([2.0, 4.0]))
    assert optimiser.update() == pytest.approx(20**0.5)
    plain = torch.optim.Adam([two], lr=0.1)
    (two * torch.tensor([2.0, 4.0])).sum().backward()
    plain.step()
    assert_close(one, two)


def test_accumulated_batches_are_summed_where_the_recipe_says_so() -> None:
    """Adam would not see a constant factor but for its epsilon, which is what tiny gradients feel: sums go further."""
    one, two, mean = weight(), weight(), weight()
    optimiser = Optimiser.of([one], replace(RECIPE, accumulation=2, accumulate="sum"), "cpu")
    averaged = Optimiser.of([mean], replace(RECIPE, accumulation=2), "cpu")
    for slope in ([1.0, 3.0], [3.0, 5.0]):
        optimiser.backward((one * 1e-8 * torch.tensor(slope)).sum())
        averaged.backward((mean * 1e-8 * torch.tensor(slope)).sum())
    assert one.grad is not None
    assert_close(one.grad, 1e-8 * torch.tensor([4.0, 8.0]))
    plain = torch.optim.Adam([two], lr=0.1)
    (two * 1e-8 * torch.tensor([4.0, 8.0])).sum().backward()
    plain.step()
    assert optimiser.update() == pytest.approx(2 * averaged.update())
    assert_close(one, two)
    assert (one - weight()).abs().sum() > 1.1 * (mean - weight()).abs().sum()


def test_the_official_preset_updates_twice_first_on_scaled_gradients() -> None:
    one, two = weight(), weight()
    optimiser = Optimiser.of([one], replace(RECIPE, double_update=True), "cpu")
    plain = torch.optim.Adam([two], lr=0.1)
    for slope in (1.0, 2.0):
        optimiser.backward((one * torch.tensor([slope, -slope])).sum())
        optimiser.update()
        gradient = torch.tensor([slope, -slope])
        two.grad = gradient * OFFICIAL_SCALE
        plain.step()
        two.grad = gradient
        plain.step()
    assert_close(one, two)
    assert optimiser.inner.optimizer.state[one]["step"] == 4


def test_clipping_limits_the_step_and_tells_the_norm_before() -> None:
    one = weight()
    optimiser = Optimiser.of([one], replace(RECIPE, clip=1.0, optimiser="adamw"), "cpu")
    optimiser.inner.optimizer.param_groups[0]["betas"] = (0.0, 0.0)
    optimiser.backward((one * torch.tensor([30.0, 40.0])).sum())
    assert optimiser.update() == pytest.approx(50.0)


def test_schedules_of_diffusers() -> None:
    one = weight()
    optimiser = Optimiser.of([one], replace(RECIPE, schedule="constant_with_warmup", warmup=4), "cpu")
    rates = []
    for _ in range(6):
        rates.append(optimiser.learning_rate)
        optimiser.backward(one.sum())
        optimiser.update()
    assert rates == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.1])


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    one = weight()
    optimiser = Optimiser.of([one], RECIPE, "cpu")
    optimiser.backward((one * float("inf")).sum())
    assert not torch.isfinite(torch.tensor(optimiser.update()))
    assert_close(one, torch.tensor([1.0, -2.0]))


def test_an_overflow_under_loss_scaling_changes_nothing_in_the_official_preset_either() -> None:
    one = weight()
    optimiser = Optimiser.of([one], replace(RECIPE, double_update=True), "cpu")
    scaler = optimiser.accelerator.scaler = torch.amp.GradScaler("cpu")
    optimiser.inner = AcceleratedOptimizer(optimiser.inner.optimizer, device_placement=False, scaler=scaler)
    optimiser.backward((one * float("inf")).sum())
    optimiser.update()
    assert_close(one, torch.tensor([1.0, -2.0]))
    optimiser.backward(one.sum())
    optimiser.update()
    assert float(one.detach()[0]) < 1.0, "the next update is made"


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert (own_device("cuda"), own_device("cuda:1"), own_device("cpu")) == ("cuda:3", "cuda:1", "cpu")

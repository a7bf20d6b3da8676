"""The noise of steps: diffusers' own numbers, drawn once for all branches, ahead where there is a thread for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.utils.torch_utils import randn_tensor

from bench.models.sd import StableDiffusion
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.noise import MOST_KEPT, StepNoise, generators, know_step_noise
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite

OF = (7, ("p1", "p2"), (0, 3))
SHAPE = (2, 4, 8, 8)
CPU = torch.device("cpu")


def scheduler_module() -> Any:
    from diffusers.schedulers import scheduling_ddpm

    know_step_noise(DDPMScheduler())
    return scheduling_ddpm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("most", [0, MOST_KEPT])
def test_the_numbers_are_diffusers_own(most: int, dtype: torch.dtype) -> None:
    """Of a first draw, of a second in the same step, and of any other generator."""
    module, noise = scheduler_module(), StepNoise(partial(generators, *OF), CPU, most)
    plain = generators(*OF, 3)
    wanted = [randn_tensor(SHAPE, generator=plain, device=CPU, dtype=dtype) for _ in range(3)]
    for _ in range(2):  # a second branch
        given = noise.of_call(2, more=True)
        found = [module.randn_tensor(SHAPE, generator=given, device=CPU, dtype=dtype) for _ in range(3)]
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert torch.equal(module.randn_tensor(SHAPE, generator=generators(*OF, 3), device=CPU, dtype=dtype), wanted[0])
    assert noise.draws == (1 if most else 2)


def test_the_module_is_told_once() -> None:
    module = scheduler_module()
    before = module.randn_tensor
    assert scheduler_module().randn_tensor is before


def test_another_shape_is_drawn_anew() -> None:
    noise = StepNoise(partial(generators, *OF), CPU, MOST_KEPT)
    first = noise.take(0, SHAPE, torch.float32)
    other = noise.take(0, (2, 2, 4, 4), torch.float32)
    assert other.shape == (2, 2, 4, 4)
    assert torch.equal(noise.take(0, SHAPE, torch.float32), first)


def test_a_thread_draws_the_next_step_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    noise = StepNoise(partial(generators, *OF), CPU, 0)
    noise._pool = ThreadPoolExecutor(1)
    wanted = StepNoise(partial(generators, *OF), CPU, 0)
    for call in range(3):
        noise.of_call(call, more=call < 2)
        if call:
            assert list(noise._ahead) == [2]  # the first step shows which shape is wanted
        assert torch.equal(noise.take(call, SHAPE, torch.float32), wanted.take(call, SHAPE, torch.float32))
    assert noise.draws == 3
    noise.close()


def test_all_branches_share_the_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = StableDiffusion(tiny_pipeline(tmp_path / "pipeline"), tiny_suite("DDPMScheduler", 4))
    made: list[StepNoise] = []
    real = StepNoise.__init__

    def seen(self: StepNoise, *args: Any) -> None:
        made.append(self)
        real(self, *args)

    monkeypatch.setattr(StepNoise, "__init__", seen)
    runs = {
        "base": actions_of([0.0] * 4, ("base", 3.0)),
        "late": actions_of([0.0, 0.0, 0.0, 1.0], ("base", 3.0), ("base", 1.0)),
        "early": actions_of([0.0, 1.0, 1.0, 1.0], ("base", 3.0), ("base", 1.0)),
    }
    batch = as_batch(model, 7, [("p1", "a star", 0), ("p2", "a circle", 0)])
    together = {name: z for names, z in run_tree(model, build_tree(runs), batch) for name in names}
    assert made[0].draws == 4  # once a step, where the three trajectories have 10 among them
    for name, actions in runs.items():
        ((_, alone),) = run_tree(model, build_tree({name: actions}), batch)
        assert torch.equal(together[name], alone)

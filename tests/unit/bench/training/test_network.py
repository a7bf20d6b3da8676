"""What learns: a LoRA that starts as nothing, averaged weights, checkpointed gradients, other precisions."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.base import BASE
from bench.models.sd import StableDiffusion
from bench.training.network import checkpoint_decoder, make_trainable
from bench.training.optimise import Optimiser
from bench.training.recipes import TrainRecipe
from bench.training.rollout import TUNED
from bench.training.steps import Trainer, imagerefl_step, refl_step
from tests.tolerance import assert_close
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite
from tests.unit.bench.training.worlds import RECIPE, STEPS, Brightness, SmallShapes, draws, gradient, relative_error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("network") / "pipeline")


def model_of(folder: Path, dtype: str = "float32") -> Any:
    return StableDiffusion.load(folder, tiny_suite("DDPMScheduler", STEPS, dtype=dtype))


def trainer_of(model: Any, recipe: TrainRecipe) -> Trainer:
    return Trainer(model, Brightness(), SmallShapes(), recipe, tiny_suite("DDPMScheduler", STEPS), clip=Brightness())


def predictions(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    latents = torch.randn((1, *model.latents_shape), generator=torch.Generator().manual_seed(0))
    cond = model.encode(["a red circle"])
    with torch.no_grad():
        base, tuned = (model.predict(name, latents, torch.tensor(500), cond, 1.0) for name in (BASE, TUNED))
    return base, tuned


@pytest.mark.slow
def test_a_lora_starts_as_nothing_and_only_it_learns(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder)
    recipe = replace(RECIPE, lora_rank=2, lora_alpha=4.0, kl_weight=1.0)
    trainable = make_trainable(model, recipe, None)
    assert all("lora_" in name for name in trainable.parameters)
    assert 0 < trainable.count < sum(p.numel() for p in model.unet.parameters()) / 5
    base, tuned = predictions(model)
    assert torch.equal(base, tuned)
    before = {name: value.clone() for name, value in model.unet.state_dict().items() if "lora_" not in name}
    optimiser = Optimiser.of(trainable.values(), recipe, "cpu")
    for number in (1, 2):
        optimiser.backward(imagerefl_step(trainer_of(model, recipe), draws(number)).loss)
        assert optimiser.update() > 0
    base, tuned = predictions(model)
    assert not torch.equal(base, tuned)
    after = model.unet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    trainable.write(tmp_path / "lora")
    fresh = model_of(folder)
    fresh.add_network(TUNED, tmp_path / "lora")
    for ours, theirs in zip((base, tuned), predictions(fresh), strict=True):
        assert_close(theirs, ours)


@pytest.mark.slow
def test_writing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """The digest of a checkpoint names a run: nothing in it may depend on the process or the folder."""
    shutil.copytree(folder, tmp_path / "elsewhere")
    for rank in (2, 0):
        for name, where in (("a", folder), ("b", tmp_path / "elsewhere")):
            recipe = replace(RECIPE, lora_rank=rank)
            make_trainable(model_of(where), recipe, None).write(tmp_path / f"{name}{rank}")
        files = list((tmp_path / f"a{rank}").iterdir())
        assert len(files) > 1
        for path in files:
            assert path.read_bytes() == (tmp_path / f"b{rank}" / path.name).read_bytes()


def test_averaged_weights_are_what_is_written(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder)
    trainable = make_trainable(model, replace(RECIPE, ema=0.5), None)
    start = [value.detach().clone() for value in trainable.values()]
    for _ in range(2):
        with torch.no_grad():
            for value in trainable.values():
                value.add_(1.0)
        trainable.update_average()
    moved = [value.detach().clone() for value in trainable.values()]
    trainable.write(tmp_path / "average")
    assert all(torch.equal(a, b) for a, b in zip(moved, trainable.values(), strict=True)), "they are put back"
    model.add_network("written", tmp_path / "average")
    written = list(model.networks["written"].module.parameters())
    # diffusers' average takes the first update whole, and the second with decay min(0.5, 2 / 11)
    for value, before in zip(written, start, strict=True):
        assert_close(value, before + 2 - 2 / 11, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("step", [refl_step, imagerefl_step])
def test_checkpointing_changes_no_gradient(folder: Path, step: Any) -> None:
    found = []
    for checkpointing in (False, True):
        model = model_of(folder)
        recipe = replace(RECIPE, checkpointing=checkpointing)
        make_trainable(model, recipe, None)
        trainer = trainer_of(model, recipe)
        found.append(gradient(trainer, step(trainer, draws()).loss))
    assert relative_error(found[1], found[0]) < 1e-5


def test_a_decoder_that_computes_again_changes_no_bit(folder: Path) -> None:
    found, kept = [], []
    for again in (False, True):
        model = model_of(folder)
        if again:
            checkpoint_decoder(model)
        latents = torch.randn((2, *model.latents_shape), generator=torch.Generator().manual_seed(0), requires_grad=True)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            pixels = model.decode_pixels(latents)
        (pixels * torch.linspace(0, 1, pixels.shape[-1])).mean().backward()
        found.append(latents.grad)
        kept.append(sum(sizes))
    assert found[0] is not None
    assert torch.equal(found[0], found[1])
    assert kept[1] < 0.5 * kept[0], "fewer activations are kept"


@pytest.mark.slow
def test_bfloat16_has_about_the_same_gradient(folder: Path) -> None:
    """Casts of the steps without gradient must not be taken for the step with gradient (autocast's cache)."""
    found = []
    for precision in ("float32", "bfloat16"):
        model = model_of(folder)
        recipe = replace(RECIPE, precision=precision)
        trainable = make_trainable(model, recipe, None)
        optimiser = Optimiser.of(trainable.values(), recipe, "cpu")
        trainer = trainer_of(model, recipe)
        with optimiser.accelerator.autocast():
            loss = refl_step(trainer, draws()).loss
        found.append(gradient(trainer, loss))
    assert 0 < relative_error(found[1], found[0]) < 0.2


def test_a_lora_learns_on_half_precision_weights(folder: Path) -> None:
    model = model_of(folder, "bfloat16")
    recipe = replace(RECIPE, lora_rank=2, precision="bfloat16")
    trainable = make_trainable(model, recipe, None)
    assert all(value.dtype == torch.float32 for value in trainable.values())
    optimiser = Optimiser.of(trainable.values(), recipe, "cpu")
    with optimiser.accelerator.autocast():
        optimiser.backward(imagerefl_step(trainer_of(model, recipe), draws()).loss)
    assert optimiser.update() > 0


def test_the_base_network_is_copied_only_where_it_is_asked_for(folder: Path) -> None:
    for weights, copied in (({}, False), ({"kl_weight": 1.0}, True), ({"l2_weight": 1.0}, True)):
        model = model_of(folder)
        make_trainable(model, replace(RECIPE, **weights), None)
        assert (model.networks[TUNED].module is not model.networks[BASE].module) == copied


def test_captions_seen_in_training_are_not_kept_for_ever(folder: Path) -> None:
    model = model_of(folder)
    model.encode(["a red circle", "a star"])
    model.forget(most=5)
    assert len(model.text.known) == 2
    model.forget(most=1)
    assert len(model.text.known) == 0
    model.encode(["a star"])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rank", [0, 2])
def test_an_update_on_a_gpu(folder: Path, precision: str, rank: int) -> None:
    dtype = precision if rank else "float32"
    model = StableDiffusion.load(folder, tiny_suite("DDPMScheduler", STEPS, dtype=dtype), "cuda")
    recipe = replace(RECIPE, precision=precision, lora_rank=rank)
    trainable = make_trainable(model, recipe, None)
    optimiser = Optimiser.of(trainable.values(), recipe, "cuda")
    before = [value.detach().clone() for value in trainable.values()]
    norms = []
    while not any(map(math.isfinite, norms)) and len(norms) < 20:  # a loss scaler may begin too high
        with optimiser.accelerator.autocast():
            loss = imagerefl_step(trainer_of(model, recipe), draws()).loss
        optimiser.backward(loss)
        norms.append(optimiser.update())
    assert 0 < norms[-1] < math.inf
    assert any(not torch.equal(a, b) for a, b in zip(before, trainable.values(), strict=True))

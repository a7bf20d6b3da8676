"""Which weights learn: names of the recipe, counted on a published architecture and watched in an update."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import nn

from bench.errors import UsageError
from bench.models.sd import StableDiffusion
from bench.training.network import make_trainable
from bench.training.optimise import Optimiser
from bench.training.options import TrainOptions
from bench.training.parameters import learning
from bench.training.recipes import LEARN, recipe_for
from bench.training.steps import Trainer, refl_step
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite
from tests.unit.bench.training.worlds import RECIPE, STEPS, Brightness, SmallShapes, draws


def counts(module: nn.Module, learn: str) -> tuple[int, int]:
    """(tensors, values) that learn."""
    chosen = learning(module, dict(module.named_parameters()), learn)
    return len(chosen), sum(value.numel() for value in chosen.values())


def test_what_learns_in_stable_diffusion() -> None:
    """200,320 values is what the official trainer was measured to train with torch 2.7 and bfloat16 autocast."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8
        )
    assert counts(unet, "all") == (686, 859_520_964)
    assert counts(unet, "norms") == (218, 200_320)
    assert counts(unet, "attention") == (160, 93_536_640)
    assert counts(unet, "cross_attention") == (80, 43_962_560)


def test_a_network_without_cross_attention_says_so() -> None:
    with torch.device("meta"):
        flux = FluxTransformer2DModel(
            num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=8,
            pooled_projection_dim=8, in_channels=4, axes_dims_rope=(2, 2, 4),
        )  # fmt: skip
    chosen = learning(flux, dict(flux.named_parameters()), "norms")
    assert chosen
    assert all(".linear." not in name for name in chosen), "linear layers of adaptive normalisation are no norms"
    assert counts(flux, "attention")[0] > 0
    with pytest.raises(UsageError, match="has no cross-attention; use learn=attention"):
        learning(flux, dict(flux.named_parameters()), "cross_attention")
    with pytest.raises(UsageError, match="matches no weights of the Linear"):
        learning(nn.Linear(2, 2), {}, "norms")


@pytest.mark.slow
@pytest.mark.parametrize("learn", LEARN)
def test_an_update_moves_what_learns_and_nothing_else(learn: str, tmp_path: Path) -> None:
    suite = tiny_suite("DDPMScheduler", STEPS)
    model = StableDiffusion.load(tiny_pipeline(tmp_path), suite)
    recipe = replace(RECIPE, learn=learn)
    trainable = make_trainable(model, recipe, None)
    before = {name: value.detach().clone() for name, value in trainable.module.named_parameters()}
    optimiser = Optimiser.of(trainable.values(), recipe, "cpu")
    optimiser.backward(refl_step(Trainer(model, Brightness(), SmallShapes(), recipe, suite), draws()).loss)
    optimiser.update()
    moved = {
        name for name, value in trainable.module.named_parameters() if not torch.equal(value.detach(), before[name])
    }
    assert moved <= set(trainable.parameters)
    assert len(moved) > 0.7 * len(trainable.parameters)


def test_learn_is_of_the_networks_own_weights() -> None:
    with pytest.raises(UsageError, match="with --lora-rank only the LoRA learns"):
        recipe_for(TrainOptions("refl", lora_rank=2, settings={"learn": "norms"}), None)
    with pytest.raises(UsageError, match="unknown learn 'norm'.*Did you mean 'norms'"):
        recipe_for(TrainOptions("refl", settings={"learn": "norm"}), None)
    assert recipe_for(TrainOptions("refl", preset="official"), None).learn == "all"
    assert recipe_for(TrainOptions("refl", preset="official-norms"), None).learn == "norms"

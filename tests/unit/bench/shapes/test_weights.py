"""What the shipped weights of the embedded world must be able to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

import metrics
from bench.models import weights
from bench.shapes.build.data import pictures, to_signed
from bench.shapes.captions import caption, parse, random_caption
from bench.shapes.world import COLOURS

FOLDER = weights.resolve("shapes:pipeline").parent
SCORERS = {"pickscore": "pickscore", "hpsv2.1": "hpsv2", "image_reward": "image_reward"}


def test_weights_are_small_and_safe() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 46e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".gz"}, "no pickles, no code"


@pytest.mark.slow
def test_autoencoder_reconstructs_at_28_db() -> None:
    vae = AutoencoderKL.from_pretrained(FOLDER / "pipeline" / "vae").eval()
    _, images = pictures(64, np.random.default_rng(0))
    with torch.no_grad():
        decoded = vae.decode(vae.encode(to_signed(images)).latent_dist.mean).sample.clamp(-1, 1)
    error = (decoded - to_signed(images)).square().mean(dim=(1, 2, 3)) / 4.0
    assert float((-10.0 * error.log10()).mean()) >= 28.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORERS)
def test_scorers_prefer_the_true_caption(name: str) -> None:
    scorer = metrics.load(name, weights=str(weights.resolve(f"shapes:{SCORERS[name]}")), label="shapes")
    rng = np.random.default_rng(1)
    scenes, images = pictures(120, rng)
    true = [{**parse(random_caption(scene, rng)), "colour": scene.colour} for scene in scenes]
    wrong = [{**named, "colour": COLOURS[(COLOURS.index(named["colour"]) + 2) % 6]} for named in true]
    frames = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    difference = scorer.score(frames, [caption(n) for n in true]) - scorer.score(frames, [caption(n) for n in wrong])
    assert float((difference > 0).float().mean()) >= 0.8


@pytest.mark.parametrize("objective", ["refl", "imagerefl"])
def test_three_training_seeds_are_shipped(objective: str) -> None:
    """The same recipe, other seeds, other weights: what holds for one training says little of the method."""
    names = [objective, f"{objective}-seed1", f"{objective}-seed2"]
    facts = [json.loads((FOLDER / name / "training.json").read_text()) for name in names]
    assert [one["seed"] for one in facts] == [0, 1, 2]
    kept = ("steps", "learning_rate", "batch_size", "start_step", "grad_steps", "diffusion_weight", "weight_decay")
    assert all(one["recipe"][key] == facts[0]["recipe"][key] for one in facts for key in kept)
    assert all(weights.trained_on(f"shapes:{name}") == (("pickscore",), ()) for name in names)
    assert len({weights.digest_of(f"shapes:{name}") for name in names}) == 3

"""Copies what was built into the package: half precision, safetensors, a genuine diffusers pipeline folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

SEEDS = (0, 1, 2)
"""Seeds of the shipped trainings: what holds for one training says little of the method."""


def replicate(objective: str, seed: int) -> str:
    """The folder of a training's checkpoint: `refl` for seed 0, `refl-seed1`, ..."""
    return objective if seed == 0 else f"{objective}-seed{seed}"


COPIED = (
    *("lpips", "dreamsim", "inception", "pickscore", "hpsv2", "image_reward"),
    *(replicate(objective, seed) for objective in ("refl", "imagerefl") for seed in SEEDS),
)
SHIPPED = (".safetensors", ".json", ".txt", ".gz")
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDPMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export(work: Path, weights: Path) -> None:
    """Copy every part that exists in `work` to `weights`."""
    pipeline = weights / "pipeline"
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        if (work / part).is_dir():
            copy_part(work / part, pipeline / part)
    if (pipeline / "scheduler").is_dir():
        DDPMScheduler.from_pretrained(pipeline / "scheduler")  # an unreadable configuration must not be shipped
    pipeline.mkdir(parents=True, exist_ok=True)
    (pipeline / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    for part in COPIED:
        if (work / part).is_dir():
            copy_part(work / part, weights / part)
    total = sum(path.stat().st_size for path in weights.rglob("*") if path.is_file())
    print(f"shipped weights: {total / 1e6:.1f} MB")


def copy_part(source: Path, target: Path) -> None:
    """Replace `target` by the shipped files of `source`, floating-point tensors in half precision."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.suffix == ".safetensors":
            state = {k: v.half() if v.dtype == torch.float32 else v for k, v in load_file(path).items()}
            save_file(state, target / path.name, metadata={"format": "pt"})
        elif path.suffix in SHIPPED:
            shutil.copyfile(path, target / path.name)
